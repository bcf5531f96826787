"""Whatever tables somebody maps, a night ends: audit, publish, page, pages, terminal."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from contracts.clean_tables import CLEAN_TABLES
from contracts.table import Column, Table
from contracts.tables import NO_MODEL, PUBLISHED, RECONCILIATION, USER_FEATURES, USER_SCORES
from contracts.tasks import BY_MODEL, TASKS, Task, enabled_tasks
from contracts.training import untrained
from flows import analysts, publish, show, steps
from flows.audit import audit_scores, raise_if_failed
from flows.findings import Findings
from flows.night import Night, StageReport
from flows.pages.app import make_app
from flows.receipts import Fingerprint
from flows.releases import Release, branch_of, now
from flows.settings import read_settings
from jobs.io import WrittenDay
from jobs.schema import arrow_schema
from jobs.sources import SourceMapping, read_mapping
from tests.conftest import REPOSITORY
from tests.flows.conftest import QUIET
from tests.flows.lakes import FakeRegistry

pytestmark = QUIET
FIRST = date(2025, 3, 1)
USERS = [f"{n:032x}" for n in range(3)]


def task_sets() -> list[tuple[frozenset[str], tuple[str, ...]]]:
    """Every set of tasks that some mapping switches on, with the smallest such mapping."""
    names = [table.name for table in CLEAN_TABLES]
    found: dict[tuple[str, ...], frozenset[str]] = {}
    for size in range(1, len(names) + 1):
        for mapped in itertools.combinations(names, size):
            on = tuple(task.name for task in enabled_tasks(frozenset(mapped)))
            found.setdefault(on, frozenset(mapped))
    return [(mapped, on) for on, mapped in found.items()]


class Made(Night):
    """A night whose data, training and scores are made up."""

    def write_scores(self, tasks: Sequence[Task]) -> WrittenDay:
        """Scores of all users for these tasks."""
        learnt = {column.name for task in tasks for column in task.score_columns()}
        row = {c.name: _value(c) if c.name in learnt else None for c in USER_SCORES.columns}
        row |= {task.method: BY_MODEL for task in tasks}
        row |= {"as_of": self.as_of, "model_id": "m1", "release_id": "made"}
        row |= {"retrospective": False}
        return self.write(USER_SCORES, [row | {"user_key": key} for key in USERS])

    def write_features(self) -> WrittenDay:
        row = {c.name: None if c.nullable else _value(c) for c in USER_FEATURES.columns}
        rows = [row | {"user_key": key, "as_of": self.as_of} for key in USERS]
        return self.write(USER_FEATURES, rows)

    def counts(self) -> list[dict[str, Any]]:
        """What became of the rows of the day before, table by table."""
        n = {"n_in": 10, "n_clean": 8, "n_duplicate": 1, "n_quarantined": 1, "n_erased": 0}
        landed = {"landed_on": self.as_of - timedelta(days=1)}
        return [
            landed | {"table_name": name, "source": f"source_of_{name}"} | n
            for name in sorted(self.mapping.mapped_tables)
        ]

    def write(self, table: Table, rows: list[dict[str, Any]]) -> WrittenDay:
        path = Path(self.lake.staging(self.run_id, table.name)) / f"{uuid4().hex}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(table)), path)
        return WrittenDay(self.as_of, len(rows), "", (str(path),))

    def commit(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """All of it in the lake, the scores on a branch: what a scoring says."""
        day, release = self.as_of, f"{self.as_of:%Y%m%d}-made"
        self.lake.commit(USER_FEATURES, {day: self.write_features()})
        for row in self.counts():
            of = {"table_name": row["table_name"]}
            self.lake.replace_rows(RECONCILIATION, [row], [row["landed_on"]], of)
        branch = branch_of(release)
        self.lake.branch(USER_SCORES, branch)
        snapshot = self.lake.commit(USER_SCORES, {day: self.write_scores(tasks)}, branch=branch)
        outputs = {
            "release_id": release,
            "model_id": "m1",
            "snapshot": snapshot,
            "tasks": [task.name for task in tasks],
            "rows": len(USERS),
            "path": self.lake.files(USER_SCORES, day, snapshot=snapshot)[0].path,
        }
        made = Fingerprint("code", "config", "inputs")
        self.note("score", {day: made}, {day: outputs}, 3, 3, time.monotonic(), 1, print)
        return outputs


NightOf = Callable[[int, frozenset[str]], Made]


def _value(column: Column) -> Any:
    if column.name.endswith("_top"):
        return "b"
    if column.type.startswith("array<"):
        return {"string": ["a", "b"], "float": [0.25, 0.5]}.get(column.type[6:-1], [])
    if column.type == "string":
        return column.values[0] if column.values else "x"
    if column.type == "date":
        return FIRST
    if column.type == "timestamp":
        return None
    if column.type == "boolean":
        return False
    number = max(column.minimum or 0, 1 if column.type in ("int", "bigint") else 0.25)
    return int(number) if column.type in ("int", "bigint") else float(number)


def trained(folder: Path, tasks: Sequence[Task], skipped: Sequence[Task]) -> dict[str, Any]:
    """What a training says that learnt `tasks`."""
    values = {"auc": 0.7}
    gain = {"gain": 0.01, "low": -0.01, "high": 0.03}
    found = {
        "main": "auc",
        "model": values,
        "twin": values,
        "constant": {"auc": 0.5},
        "gain_over_twin": gain,
        "test_rows": 100,
        "segments": {"active": {"rows": 50, "model": 0.7, "twin": 0.6}},
    }
    return {
        "model_id": "m1",
        "run_id": "",
        "folder": str(folder),
        "tasks": {task.name: found for task in tasks},
        "skipped": {task.name: "100 rows, too few" for task in skipped},
        "gate": {"decision": "promote", "against": "the constant", "reasons": ["it is the first"]},
        "config": {},
        "splits": {},
        "rows": {},
    }


class MadeRegistry(FakeRegistry):
    def __init__(self, settings: object):
        pass


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the steps say; Prefect and MLflow are not there."""
    lines: list[str] = []
    for module in (publish, steps):
        monkeypatch.setattr(module, "say", lines.append)
        monkeypatch.setattr(module, "Registry", MadeRegistry)
    monkeypatch.setattr(steps, "create_markdown_artifact", lambda text, **told: lines.append(text))
    return lines


def end(night: Made, learnt: Sequence[Task], folder: Path) -> dict[str, Any]:
    """The night's last steps."""
    scored = night.commit(learnt)
    told = trained(folder, learnt, [task for task in night.tasks if task not in learnt])
    audited = publish.audit.fn(night, scored, [night.as_of])
    release = publish.publish.fn(night, scored, [night.as_of])
    done: dict[str, Any] = steps.report.fn(night, told, scored, audited, release)
    return done


def only(mapping: SourceMapping, tables: frozenset[str]) -> SourceMapping:
    """The mapping as far as it fills these tables."""
    sources = [
        replace(s, tables=tuple(t for t in s.tables if t.table in tables)) for s in mapping.sources
    ]
    return replace(mapping, sources=tuple(s for s in sources if s.tables))


@pytest.fixture
def night_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NightOf:
    """Nights on the market's mapping, or on what is left of it with fewer tables, in one home."""
    (tmp_path / "raw").mkdir()
    path = REPOSITORY / "infra/sources/market.toml"
    monkeypatch.setenv("NIGHTJAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    settings, whole = read_settings(source=path, raw=tmp_path / "raw"), read_mapping(path)
    first = Made(settings, FIRST)

    def made(n: int, tables: frozenset[str]) -> Made:
        night = first if n == 0 else Made(settings, FIRST + timedelta(days=n))
        night.mapping = only(whole, tables)
        return night

    return made


def test_a_run_says_of_each_table_what_became_of_its_rows() -> None:
    """No line of a cleaning says only how many came out: what is missing was dropped for a reason."""
    became = {"clean": 1_200, "duplicate": 3, "quarantined": 0, "erased": 0}
    cleaned = StageReport("clean_orders", 2, 1, 1_203, 1_200, 2.0, {"input moved": 1}, became)
    erased = replace(cleaned, rows_in=1_204, became=became | {"erased": 1}, recomputed=2)
    landed = StageReport("land_log", 1, 1, 10, 10, 2.0, {"never computed": 1})
    reused = StageReport("clean_users", 2, 0)
    lines: list[str] = []
    night: Any = SimpleNamespace(stages=[])
    for report in (cleaned, erased, landed, reused):
        Night._done(night, report, lines.append)
    assert lines == [
        "clean_orders: 1,203 rows in, 1,200 clean, 3 duplicate, 0 quarantined, 2.0 s, 602 rows/s; "
        "1 day reused; input moved (1)",
        "clean_orders: 1,204 rows in, 1,200 clean, 3 duplicate, 0 quarantined, 1 erased, 2.0 s, "
        "602 rows/s; input moved (1)",
        "land_log: 10 rows in, 10 out, 2.0 s, 5 rows/s; never computed (1)",
        "clean_users: reused, nothing changed",
    ]
    assert night.stages == [cleaned, erased, landed, reused]


def test_every_set_of_tasks_can_be_shown(
    tmp_path: Path, night_of: NightOf, monkeypatch, said: list[str]
) -> None:
    """Audit, page, terminal and analysts' pages; what a release is does not depend on tasks."""
    monkeypatch.setattr(steps, "find", lambda *told: Findings())
    monkeypatch.setattr(analysts, "_comment", lambda *told: None)  # takes longer than all the rest
    sets = task_sets()
    assert len(sets) == 32
    by_name = {task.name: task for task in TASKS}
    for n, (tables, names) in enumerate(sets):
        night = night_of(0, tables)
        assert tuple(task.name for task in night.tasks) == names
        tasks = [by_name[name] for name in names]
        learnt = tasks if n % 2 == 0 else tasks[::2]  # not each has enough history
        scores, features = night.write_scores(learnt), night.write_features()
        counts = night.write(RECONCILIATION, night.counts())
        files = {USER_SCORES: scores, USER_FEATURES: features, RECONCILIATION: counts}
        show_files(night, files)
        learnt_names = [task.name for task in learnt]
        audited = audit_scores(scores.files, features.files, FIRST, learnt_names)
        raise_if_failed(audited)
        done = steps.report.fn(
            night,
            trained(tmp_path, learnt, [task for task in tasks if task not in learnt]),
            {"model_id": "m1", "tasks": learnt_names, "rows": len(USERS)},
            audited,
            Release("made", FIRST, "m1", "f", {}, "run", now()),
        )
        check_shown(night, done, learnt)
        if n % 4 == 0:  # the analysts' pages take longer than all the rest
            paths = ["/", f"/users/{USERS[0]}", f"/tasks/{TASKS[n % len(TASKS)].name}"]
            assert statuses(night, paths) == dict.fromkeys(paths, 200), names


def test_a_night_without_a_model_can_be_shown(
    tmp_path: Path, night_of: NightOf, monkeypatch, said: list[str]
) -> None:
    night = night_of(0, frozenset({"items"}))
    scores, features = night.write_scores(()), night.write_features()
    said_of_ids = {"null_like_ids": ["item_id 3 ? unknown"]}
    counts = night.write(RECONCILIATION, [row | said_of_ids for row in night.counts()])
    files = {USER_SCORES: scores, USER_FEATURES: features, RECONCILIATION: counts}
    show_files(night, files)
    told = untrained({task.name: "too few days" for task in night.tasks}, "no days", str(tmp_path))
    scored = {"model_id": NO_MODEL, "tasks": [], "rows": len(USERS)}
    release = Release("made", FIRST, NO_MODEL, "f", {}, "run", now())
    monkeypatch.setattr(steps, "find", lambda *told: Findings())
    done = steps.report.fn(night, told, scored, (), release)
    check_shown(night, done, ())
    page = done["report"].read_text()
    assert "items from source_of_items: 3 rows have the item_id" in page
    assert (
        "Nobody is scored as of 2025-03-01: this release has features and labels, and 3 users "
        "without a score."
    ) in page
    assert "Nothing was trained tonight." in page
    assert statuses(night, ["/"]) == {"/": 200}


def show_files(night: Made, files: dict[Table, WrittenDay]) -> None:
    """Let analysts see these files."""
    analysts.build_database(
        night.settings.folder / "nightjar.duckdb",
        "made",
        FIRST,
        {table: files[table].files if table in files else () for table in PUBLISHED},
    )


def test_tasks_may_come_and_go_from_release_to_release(
    tmp_path: Path, night_of: NightOf, said: list[str]
) -> None:
    """The same with all that publishes: each night is compared with the one before it."""
    every = frozenset(table.name for table in CLEAN_TABLES)
    for n, tables in enumerate(({"items"}, every, {"items", "reviews"})):
        night = night_of(n, frozenset(tables))
        done = end(night, night.tasks, tmp_path)
        check_shown(night, done, night.tasks)
        paths = ["/", f"/users/{USERS[0]}", "/tasks/interests_30d"]
        assert statuses(night, paths) == dict.fromkeys(paths, 200)


def check_shown(night: Made, done: dict[str, Any], learnt: Sequence[Task]) -> None:
    """What page and terminal must show."""
    page = done["report"].read_text()
    for task in TASKS:
        assert f"<li>{task.name}: " in page or task in learnt, task.name
    assert done["sample"][0] == ["user", *(task.name for task in learnt[:8])]
    assert [row[1:] for row in done["sample"][1]] == [tuple(map(shown, learnt[:8]))] * 3
    assert done["tonight"].rows_in == 10 * len(night.mapping.mapped_tables)
    out = Console(file=io.StringIO(), width=200)
    told = {"as_of": night.as_of, "recomputed": 1, "release_id": "made"} | done
    show.summary(out, night.settings, told, {})
    show.released(out, told)


def statuses(night: Made, paths: Sequence[str]) -> dict[str, int]:
    """What the pages answer."""

    async def asked() -> dict[str, int]:
        transport = httpx.ASGITransport(make_app(night.settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return {path: (await client.get(path)).status_code for path in paths}

    return asyncio.run(asked())


def shown(task: Task) -> Any:
    """What a sample shows of a task where every probability is 0.25."""
    return {
        "interests_30d": "b",
        "sentiment_next_30d": "negative",
        "next_rating_90d": 1.0,
    }.get(task.name, 0.25)
