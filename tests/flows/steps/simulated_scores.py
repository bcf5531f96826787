"""The last steps of nights on made-up scores, for whatever tables somebody maps."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from contracts.clean_tables import CLEAN_TABLES
from contracts.table import Column, Table
from contracts.tables import (
    QUARANTINE,
    RECONCILIATION,
    RELEASED_TABLES,
    USER_FEATURES,
    USER_SCORES,
    released_named,
)
from contracts.tasks import BY_BASE_RATE, BY_MODEL, TASKS, Task, enabled_tasks, lacking
from flows.cli import run_end
from flows.engine.accounting import Work
from flows.engine.run import Run
from flows.release import duckdb_views
from flows.release.releases import branch_of
from flows.report.sample import USERS as USERS_SHOWN
from flows.server.pages.app import make_app
from flows.settings import read_settings
from flows.state.receipts import Fingerprint
from flows.steps import candidate, prefect_tasks, publish, scoring
from flows.steps import tasks as steps
from flows.steps.candidate import Candidate, Written
from jobs.mapping.sources import SourceMapping, read_mapping
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema
from tests.conftest import REPOSITORY
from tests.flows.lakes import FakeRegistry

FIRST = date(2025, 3, 1)


USERS = [f"{n:032x}" for n in range(3)]


@dataclass(frozen=True)
class Outcome:
    """All that the last steps see of a mapping's tables, but for counts of their rows."""

    tasks: tuple[str, ...]
    switched_off: tuple[tuple[str, str], ...]


def outcome_of(night: Run) -> Outcome:
    return Outcome(
        tuple(task.name for task in night.context.tasks),
        tuple(sorted(night.context.switched_off.items())),
    )


_OF_TASKS = [t.name for t in CLEAN_TABLES if t.name not in ("impressions", "blocks")]
SETS = tuple(
    frozenset(mapped)
    for size in range(1, len(_OF_TASKS) + 1)
    for mapped in itertools.combinations(_OF_TASKS, size)
)
"""Every set of tables that a mapping may fill, the smallest first, but for those that only
recommendations ask about."""


def whole(tables: frozenset[str]) -> frozenset[str]:
    """Tables, and all of their fields that tasks ask about."""
    return tables | {field for task in TASKS for field in task.needs_fields}


def sets_by_outcome() -> dict[Outcome, list[frozenset[str]]]:
    """What may follow from a mapping, with all sets of tables that it follows from."""
    by_outcome: dict[Outcome, list[frozenset[str]]] = {}
    for tables in SETS:
        mapped = whole(tables)
        on = enabled_tasks(mapped)
        off = {
            task.name: f"no source for {', '.join(lacking(task, mapped))}"
            for task in TASKS
            if task not in on
        }
        like = Outcome(tuple(task.name for task in on), tuple(sorted(off.items())))
        by_outcome.setdefault(like, []).append(tables)
    return by_outcome


class SimulatedNight(Run):
    """A night whose data, training and scores are made up."""

    users: Sequence[str] = USERS

    def write_scores(self, tasks: Sequence[Task], base_rates: Sequence[Task] = ()) -> WrittenDay:
        """Scores of all users for these tasks, and for others what everybody gets."""
        columns = {c.name for t in tasks for c in t.score_columns()}
        columns |= {c.name for t in base_rates for c in t.score_columns()[:-1]}  # nobody is ranked
        row = {c.name: some_value(c) if c.name in columns else None for c in USER_SCORES.columns}
        row |= {task.method: BY_MODEL for task in tasks}
        row |= {task.method: BY_BASE_RATE for task in base_rates}
        row |= {"as_of": self.as_of, "model_id": "m1", "release_id": "made"}
        row |= {"retrospective": False}
        return self.write(USER_SCORES, [row | {"user_key": key} for key in self.users])

    def write_features(self) -> WrittenDay:
        row = {c.name: None if c.nullable else some_value(c) for c in USER_FEATURES.columns}
        rows = [row | {"user_key": key, "as_of": self.as_of} for key in self.users]
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

    def dropped(self) -> list[dict[str, Any]]:
        """The rows of the day before that were dropped, one of each table."""
        about = {c.name: None if c.nullable else some_value(c) for c in QUARANTINE.columns}
        return [
            about | {name: row[name] for name in ("table_name", "source", "landed_on")}
            | {"reason": "stars: not 1 to 5"}
            for row in self.counts()
        ]  # fmt: skip

    def commit_data(self) -> None:
        """Features and what became of the rows in the lake, as the stages before leave them."""
        day = self.as_of
        written = self.write_features()
        snapshot = self.lake.commit(USER_FEATURES, {day: written})
        for table, rows in ((RECONCILIATION, self.counts()), (QUARANTINE, self.dropped())):
            self.lake.replace_rows(table, rows, [day - timedelta(days=1)], {})
        about = {"digest": str(day), "rows": written.rows, "snapshot": snapshot}
        fingerprint, n = Fingerprint("code", "config", "inputs"), written.rows
        outputs = {day: {USER_FEATURES.name: about}}
        self.note(Work("user_features", {day: fingerprint}, n, n, 0.1, 1), outputs, print)
        self.fingerprints.invalidate("user_features")

    def commit(self, tasks: Sequence[Task]) -> Candidate:
        """All of it in the lake, the scores on a branch."""
        day, release = self.as_of, f"{self.as_of:%Y%m%d}-made"
        self.commit_data()
        branch = branch_of(release)
        self.lake.branch(USER_SCORES, branch)
        snapshot = self.lake.commit(USER_SCORES, {day: self.write_scores(tasks)}, branch=branch)
        outputs = {
            "release_id": release,
            "model_id": "m1",
            "snapshot": snapshot,
            "tasks": [task.name for task in tasks],
            "rows": len(self.users),
            "path": self.lake.files(USER_SCORES, day, snapshot=snapshot)[0].path,
        }
        fingerprint = Fingerprint("code", "config", "inputs")
        self.note(Work("score", {day: fingerprint}, 3, 3, 0.1, 1), {day: outputs}, print)
        return Candidate((Written(released_named(USER_SCORES.name), snapshot, outputs),))


NightOf = Callable[[int, frozenset[str]], SimulatedNight]


def some_value(column: Column) -> Any:
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
    """The report of a training of `tasks`."""
    values = {"auc": 0.7}
    gain = {"gain": 0.01, "low": -0.01, "high": 0.03}
    measured = {
        "main": "auc",
        "model": values,
        "network": values,
        "network_shares": [0.4],
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
        "tasks": {task.name: measured for task in tasks},
        "skipped": {task.name: "100 rows, too few" for task in skipped},
        "gate": {"decision": "promote", "against": "the constant", "reasons": ["it is the first"]},
        "config": {},
        "splits": {},
        "rows": {},
    }


class SimulatedRegistry(FakeRegistry):
    def __init__(self, settings: object):
        pass

    def fetch(self, model_id: str) -> Path:
        return Path(model_id)


def steps_without_servers(patch: pytest.MonkeyPatch) -> list[str]:
    """What the steps say from now on; Prefect and MLflow are not there."""
    lines: list[str] = []
    for module in (publish, steps, candidate, scoring):
        patch.setattr(module, "say", lines.append)
    for module in (publish, steps):
        patch.setattr(module, "warn", lambda problem, event: lines.append(f"{event}: {problem}"))
    for module in (publish, steps, scoring):
        patch.setattr(module, "Registry", SimulatedRegistry)
    patch.setattr(prefect_tasks, "warn", lambda problem, event: lines.append(f"{event}: {problem}"))
    patch.setattr(publish, "announce", lambda release_id, as_of: None)
    patch.setattr(steps, "create_markdown_artifact", lambda text, **arguments: lines.append(text))
    return lines


def end(night: SimulatedNight, learnt: Sequence[Task], folder: Path) -> dict[str, Any]:
    """The night's last steps."""
    written = night.commit(learnt)
    report = trained(folder, learnt, [task for task in night.context.tasks if task not in learnt])
    audited = publish.audit.fn(night, written, [night.as_of])
    release = publish.publish.fn(night, written, [night.as_of])
    done: dict[str, Any] = steps.report.fn(night, report, written.scored, audited, release)
    return done


def only(mapping: SourceMapping, tables: frozenset[str]) -> SourceMapping:
    """The mapping as far as it fills these tables."""
    sources = [
        replace(s, tables=tuple(t for t in s.tables if t.table in tables)) for s in mapping.sources
    ]
    return replace(mapping, sources=tuple(s for s in sources if s.tables))


def nights_in(folder: Path, patch: pytest.MonkeyPatch) -> NightOf:
    """Nights on the market's mapping, or on what is left of it with fewer tables, in one home."""
    (folder / "raw").mkdir()
    path = REPOSITORY / "infra/sources/market.toml"
    patch.setenv("NIGHTJAR_HOME", str(folder / "home"))
    patch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    settings, whole = read_settings(source=path, raw=folder / "raw"), read_mapping(path)
    first = SimulatedNight(settings, FIRST)

    def night_over(n: int, tables: frozenset[str]) -> SimulatedNight:
        night = first if n == 0 else SimulatedNight(settings, FIRST + timedelta(days=n))
        night.context = replace(night.context, mapping=only(whole, tables))
        return night

    return night_over


def trained_tasks(night: Run, n: int) -> list[Task]:
    """All tasks, or on every other night a part of them: not each has enough history."""
    return list(night.context.tasks) if n % 2 == 0 else list(night.context.tasks)[::2]


def finish_nights(
    folder: Path, night_of: NightOf, patch: pytest.MonkeyPatch, sets: Sequence[frozenset[str]]
) -> None:
    """A night for each of the sets, one after the other in one home: each is compared with the
    release before, of other tasks."""
    patch.setattr(
        duckdb_views, "_comment", lambda *arguments: None
    )  # takes longer than all the rest
    for n, tables in enumerate(sets):
        night = night_of(n, tables)
        learnt = trained_tasks(night, n)
        done = end(night, learnt, folder)
        check_shown(night, done, learnt)
        paths = ["/", f"/users/{USERS[0]}", f"/tasks/{TASKS[n % len(TASKS)].name}"]
        assert statuses(night, paths) == dict.fromkeys(paths, 200), sorted(tables)


def show_files(night: SimulatedNight, files: dict[Table, WrittenDay]) -> None:
    """Let analysts see these files."""
    duckdb_views.build_database(
        night.settings.home_folder.analysts_file,
        "made",
        FIRST,
        {table: files[table].files if table in files else () for table in RELEASED_TABLES},
    )


def check_shown(night: SimulatedNight, done: dict[str, Any], learnt: Sequence[Task]) -> None:
    """What page and terminal must show."""
    page = done["report"].read_text()
    for task in TASKS:
        assert f"<li>{task.name}: " in page or task in learnt, task.name
    assert done["sample"][0] == ["user", *(task.name for task in learnt[:8])]
    n = min(len(night.users), USERS_SHOWN)
    assert [row[1:] for row in done["sample"][1]] == [tuple(map(shown, learnt[:8]))] * n
    assert done["tonight"].rows_in == 10 * len(night.mapping.mapped_tables)
    out = Console(file=io.StringIO(), width=200)
    outcome = {"as_of": night.as_of, "recomputed": 1, "release_id": "made"} | done
    run_end.demo(out, night.settings, outcome, {})
    run_end.run(out, outcome)
    run_end.parts(out, outcome)


def statuses(night: SimulatedNight, paths: Sequence[str]) -> dict[str, int]:
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
