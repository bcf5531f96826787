"""Whatever tables somebody maps, a night ends: audit, publish, page, pages, terminal."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from contracts.tables import (
    NO_MODEL,
    PUBLISHED,
    QUARANTINE,
    RECONCILIATION,
    USER_FEATURES,
    USER_SCORES,
)
from contracts.tasks import BY_BASE_RATE, BY_MODEL, TASKS, Task, enabled_tasks
from contracts.training import untrained
from flows import analysts, publish, show, steps, tasks
from flows.analysts import query
from flows.audit import audit_scores, raise_if_failed
from flows.learning import score_fingerprint
from flows.night import Night, StageReport
from flows.pages.app import make_app
from flows.receipts import Fingerprint
from flows.releases import Release, branch_of, now
from flows.sample import USERS as USERS_SHOWN
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


@dataclass(frozen=True)
class Followed:
    """All that the last steps see of a mapping's tables, but for counts of their rows."""

    tasks: tuple[str, ...]
    switched_off: tuple[tuple[str, str], ...]


def what_follows(night: Night) -> Followed:
    return Followed(
        tuple(task.name for task in night.tasks), tuple(sorted(night.switched_off.items()))
    )


SETS = tuple(
    frozenset(mapped)
    for size in range(1, len(CLEAN_TABLES) + 1)
    for mapped in itertools.combinations([table.name for table in CLEAN_TABLES], size)
)
"""Every set of tables that a mapping may fill, the smallest first."""


def ways() -> dict[Followed, list[frozenset[str]]]:
    """What may follow from a mapping, with all sets of tables that it follows from."""
    found: dict[Followed, list[frozenset[str]]] = {}
    for tables in SETS:
        on = enabled_tasks(tables)
        off = {
            task.name: "no source for " + ", ".join(sorted(set(task.needs) - tables))
            for task in TASKS
            if task not in on
        }
        like = Followed(tuple(task.name for task in on), tuple(sorted(off.items())))
        found.setdefault(like, []).append(tables)
    return found


class Made(Night):
    """A night whose data, training and scores are made up."""

    users: Sequence[str] = USERS

    def write_scores(self, tasks: Sequence[Task], base_rates: Sequence[Task] = ()) -> WrittenDay:
        """Scores of all users for these tasks, and for others what everybody gets."""
        there = {c.name for t in tasks for c in t.score_columns()}
        there |= {c.name for t in base_rates for c in t.score_columns()[:-1]}  # nobody is ranked
        row = {c.name: _value(c) if c.name in there else None for c in USER_SCORES.columns}
        row |= {task.method: BY_MODEL for task in tasks}
        row |= {task.method: BY_BASE_RATE for task in base_rates}
        row |= {"as_of": self.as_of, "model_id": "m1", "release_id": "made"}
        row |= {"retrospective": False}
        return self.write(USER_SCORES, [row | {"user_key": key} for key in self.users])

    def write_features(self) -> WrittenDay:
        row = {c.name: None if c.nullable else _value(c) for c in USER_FEATURES.columns}
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
        about = {c.name: None if c.nullable else _value(c) for c in QUARANTINE.columns}
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
        made, n = Fingerprint("code", "config", "inputs"), written.rows
        outputs = {day: {USER_FEATURES.name: about}}
        self.note("user_features", {day: made}, outputs, n, n, time.monotonic(), 1, print)
        self.planner.forget("user_features")

    def commit(self, tasks: Sequence[Task]) -> dict[str, Any]:
        """All of it in the lake, the scores on a branch: what a scoring says."""
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

    def fetch(self, model_id: str) -> Path:
        return Path(model_id)


def heard(patch: pytest.MonkeyPatch) -> list[str]:
    """What the steps say from now on; Prefect and MLflow are not there."""
    lines: list[str] = []
    for module in (publish, steps):
        patch.setattr(module, "say", lines.append)
        patch.setattr(module, "warn", lambda problem, event: lines.append(f"{event}: {problem}"))
        patch.setattr(module, "Registry", MadeRegistry)
    patch.setattr(tasks, "warn", lambda problem, event: lines.append(f"{event}: {problem}"))
    patch.setattr(publish, "announce", lambda release_id, as_of: None)
    patch.setattr(steps, "create_markdown_artifact", lambda text, **told: lines.append(text))
    return lines


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return heard(monkeypatch)


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


def nights_in(folder: Path, patch: pytest.MonkeyPatch) -> NightOf:
    """Nights on the market's mapping, or on what is left of it with fewer tables, in one home."""
    (folder / "raw").mkdir()
    path = REPOSITORY / "infra/sources/market.toml"
    patch.setenv("NIGHTJAR_HOME", str(folder / "home"))
    patch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    settings, whole = read_settings(source=path, raw=folder / "raw"), read_mapping(path)
    first = Made(settings, FIRST)

    def made(n: int, tables: frozenset[str]) -> Made:
        night = first if n == 0 else Made(settings, FIRST + timedelta(days=n))
        night.mapping = only(whole, tables)
        return night

    return made


@pytest.fixture
def night_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NightOf:
    return nights_in(tmp_path, monkeypatch)


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


def test_what_follows_from_the_511_sets_of_tables_is_64_things(night_of: NightOf) -> None:
    """Whether users, posts and follows are mapped changes no task and no reason: only counts."""
    known = ways()
    assert (len(SETS), len(known)) == (511, 64)
    assert sum(map(len, known.values())) == 511
    assert {f.tasks for f in known} == {
        tuple(task.name for task in enabled_tasks(tables)) for tables in SETS
    }
    for like, sets in known.items():
        told_apart = {tables - {"users", "posts", "follows"} for tables in sets}
        assert len(told_apart) == 1
        for tables in sets:
            assert what_follows(night_of(0, tables)) == like, sorted(tables)


def learnt_of(night: Night, n: int) -> list[Task]:
    """All tasks, or on every other night a part of them: not each has enough history."""
    return list(night.tasks) if n % 2 == 0 else list(night.tasks)[::2]


def test_whatever_is_mapped_can_be_shown(
    tmp_path: Path, night_of: NightOf, monkeypatch, said: list[str]
) -> None:
    """Audit, page with its findings, and terminal, for a set of each of the 64 things that follow."""
    monkeypatch.setattr(analysts, "_comment", lambda *told: None)  # takes longer than all the rest
    night_of(0, SETS[-1]).commit_data()
    features = night_of(0, SETS[-1]).write_features()
    for n, sets in enumerate(ways().values()):
        night = night_of(0, random.Random(n).choice(sets))
        learnt = learnt_of(night, n)
        scores = night.write_scores(learnt)
        counts, dropped = (
            night.write(table, rows)
            for table, rows in ((RECONCILIATION, night.counts()), (QUARANTINE, night.dropped()))
        )
        files = {USER_SCORES: scores, USER_FEATURES: features, RECONCILIATION: counts}
        show_files(night, files | {QUARANTINE: dropped})
        names = [task.name for task in learnt]
        audited = audit_scores(scores.files, features.files, FIRST, names)
        raise_if_failed(audited)
        done = steps.report.fn(
            night,
            trained(tmp_path, learnt, [task for task in night.tasks if task not in learnt]),
            {"model_id": "m1", "tasks": names, "rows": len(USERS)},
            audited,
            Release("made", FIRST, "m1", "f", {}, "run", now()),
        )
        check_shown(night, done, learnt)


def test_whatever_is_mapped_ends_a_night(
    tmp_path: Path, night_of: NightOf, monkeypatch, said: list[str]
) -> None:
    """With all that publishes, and the analysts' pages. Of the 64 things that may follow a sample
    of eight; `make bench-mappings` does it with all 511 sets."""
    chosen = random.Random(7).sample(list(ways().values()), 8)
    sets = [random.Random(n).choice(alike) for n, alike in enumerate(chosen)]
    end_nights(tmp_path, night_of, monkeypatch, sets)


def end_nights(
    folder: Path, night_of: NightOf, patch: pytest.MonkeyPatch, sets: Sequence[frozenset[str]]
) -> None:
    """A night for each of the sets, one after the other in one home: each is compared with the
    release before, of other tasks."""
    patch.setattr(analysts, "_comment", lambda *told: None)  # takes longer than all the rest
    for n, tables in enumerate(sets):
        night = night_of(n, tables)
        learnt = learnt_of(night, n)
        done = end(night, learnt, folder)
        check_shown(night, done, learnt)
        paths = ["/", f"/users/{USERS[0]}", f"/tasks/{TASKS[n % len(TASKS)].name}"]
        assert statuses(night, paths) == dict.fromkeys(paths, 200), sorted(tables)


@pytest.fixture
def told_to_score(night_of: NightOf, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What scoring is told of each day. It does as it is told with model `m1`, which itself
    withholds `churn_28d`, or as `unfit` every task."""
    told: list[dict[str, Any]] = []
    settings = night_of(0, SETS[-1]).settings

    def run_models(what: str, spec: Any, folder: Path, say: Any) -> dict[str, Any]:
        (day,) = spec["days"]
        told.append(day)
        night = Made(settings, date.fromisoformat(day["as_of"]), "made-scores")
        known = [t for t in TASKS if t.name in ("purchase_7d", "churn_28d", "view_7d")]
        own = {"m1": ["churn_28d"], "unfit": [t.name for t in known]}.get(day["model"], [])
        held = day["withheld"] | dict.fromkeys(own, "it loses to the constant")
        by_rate = day["failed_tasks"] == "base_rate"
        rates = [t for t in known if t.name in held and by_rate]
        learnt = [t for t in known if t.name not in held and day["model"] is not None]
        path = night.write_scores(learnt, rates).files[0]
        scored = {"tasks": [t.name for t in learnt], "base_rates": [t.name for t in rates]}
        about = {"rows": len(USERS), "path": path, "paths": [path], "model_id": day["model"]}
        return {"days": [about | scored | {"withheld": held if day["model"] else {}}]}

    monkeypatch.setattr(publish, "run_models", run_models)
    return told


def gated(night: Made, report: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The night from its gate to its end: what scoring said, and what is shown."""
    night.commit_data()
    made = Fingerprint("code", "config", "inputs")
    night.note("train", {night.as_of: made}, {night.as_of: report}, 1, 1, 0.0, 1, print)
    scored = publish.score.fn(night, steps.gate.fn(night, report), [night.as_of])
    audited = publish.audit.fn(night, scored, [night.as_of])
    release = publish.publish.fn(night, scored, [night.as_of])
    return scored, steps.report.fn(night, report, scored, audited, release)


def methods(night: Made) -> dict[str, Any]:
    """Where analysts read that the newest scores come from."""
    names = ("purchase_7d", "churn_28d", "view_7d")
    columns = ", ".join(f"any_value(method_{n}), count(score_{n}{_SUFFIX[n]})" for n in names)
    row = query(night.settings.folder / "nightjar.duckdb", f"SELECT {columns} FROM newest_scores")
    return {n: row[1][0][2 * i : 2 * i + 2] for i, n in enumerate(names)}


_SUFFIX = {"purchase_7d": "", "churn_28d": "", "view_7d": "_expected"}


@pytest.mark.parametrize("how", ["null", "base_rate"])
def test_a_task_that_is_not_fit_is_said_in_table_and_report(
    tmp_path: Path, night_of: NightOf, said: list[str], told_to_score, how: Any
) -> None:
    """The model's own, and one that the next night finds while it keeps the champion."""
    by_name = {task.name: task for task in TASKS}
    learnt = [by_name[name] for name in ("purchase_7d", "churn_28d", "view_7d")]
    instead = "; its base rate stands in" if how == "base_rate" else ""
    nothing: tuple[Any, int] = ("base rate", 3) if how == "base_rate" else (None, 0)
    lines = [
        f"its scores are not fit to be published: it loses to the constant{instead}",
        f"its scores are not fit to be published: it ranks worse, as of 2025-03-02{instead}",
    ]

    first = night_of(0, SETS[-1])
    first.settings = first.settings.model_copy(update={"failed_tasks": how})
    scored, done = gated(first, trained(tmp_path, learnt, ()))
    assert (told_to_score[0]["withheld"], scored["tasks"]) == ({}, ["purchase_7d", "view_7d"])
    assert methods(first) == {
        "purchase_7d": ("model", 3), "churn_28d": nothing, "view_7d": ("model", 3),
    }  # fmt: skip
    page = done["report"].read_text()
    assert f"<li>churn_28d: {lines[0]}</li>" in page
    assert done["switched_off"]["churn_28d"] == lines[0]
    assert "<li>purchase_7d: " not in page
    also = ", and the base rate of everybody for 1 more" if how == "base_rate" else ""
    assert f"3 users have scores for 2 tasks{also} as of 2025-03-01, made by model m1." in page

    later = night_of(1, SETS[-1])
    later.settings = first.settings
    verdict = {"decision": "keep", "against": "the champion", "reasons": ["it is no better"]}
    verdict["champion_withheld"] = {"purchase_7d": "it ranks worse"}
    report = trained(tmp_path, learnt, ()) | {"model_id": "m2", "champion": "m1", "gate": verdict}
    scored, done = gated(later, report)
    held = {"purchase_7d": "it ranks worse, as of 2025-03-02"}
    assert (told_to_score[1]["withheld"], scored["tasks"]) == (held, ["view_7d"])
    assert methods(later) == {
        "purchase_7d": nothing, "churn_28d": nothing, "view_7d": ("model", 3),
    }  # fmt: skip
    page = done["report"].read_text()
    for name, line in zip(("churn_28d", "purchase_7d"), lines, strict=True):
        assert f"<li>{name}: {line}</li>" in page
        assert done["switched_off"][name] == line
    assert (
        "nightjar.alert.task-withheld: champion m1 is not fit for all that it published, and these "
        "scores are not published any more: purchase_7d: it ranks worse"
    ) in said
    assert score_fingerprint(later, "m1", FIRST) != score_fingerprint(first, "m1", FIRST)


@pytest.mark.parametrize("how", ["null", "base_rate"])
def test_a_night_from_a_gate_that_says_stop_ends(
    tmp_path: Path, night_of: NightOf, said: list[str], told_to_score, how: Any
) -> None:
    night = night_of(0, SETS[-1])
    night.settings = night.settings.model_copy(update={"failed_tasks": how})
    learnt = [t for t in TASKS if t.name in ("purchase_7d", "churn_28d", "view_7d")]
    verdict = {"decision": "stop", "against": "the constant", "reasons": ["no task is fit"]}
    report = trained(tmp_path, learnt, ()) | {"model_id": "unfit", "gate": verdict}
    scored, done = gated(night, report)
    assert scored["tasks"] == []
    page = done["report"].read_text()
    if how == "null":
        assert set(methods(night).values()) == {(None, 0)}
        assert "gate: nobody is scored, for there is no model: no task is fit" in said
        assert (
            "Nobody is scored as of 2025-03-01: this release has features and labels, and 3 users "
            "without a score."
        ) in page
    else:
        assert set(methods(night).values()) == {("base rate", 3)}
        assert "gate: only base rates of model unfit are published: no task is fit" in said
        assert (
            "Nobody is scored as of 2025-03-01: 3 users have the base rate of everybody for 3 "
            "tasks, from model unfit."
        ) in page
        why = "its scores are not fit to be published: it loses to the constant"
        assert f"<li>churn_28d: {why}; its base rate stands in</li>" in page
    paths = ["/", f"/users/{USERS[0]}", "/tasks/churn_28d", "/tasks/view_7d"]
    assert statuses(night, paths) == dict.fromkeys(paths, 200)


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
    night.commit_data()
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
        if n:
            night.users = [f"{k:032x}" for k in range(60)]  # enough for drift to say something
        done = end(night, night.tasks, tmp_path)
        check_shown(night, done, night.tasks)
        page = done["report"].read_text()
        assert ("<h2>Drift</h2>" in page) == (n == 2)  # the first two are too few users
        assert "lies elsewhere" not in page  # what is not scored any more has not drifted
        paths = ["/", f"/users/{USERS[0]}", "/tasks/interests_30d"]
        assert statuses(night, paths) == dict.fromkeys(paths, 200)


def check_shown(night: Made, done: dict[str, Any], learnt: Sequence[Task]) -> None:
    """What page and terminal must show."""
    page = done["report"].read_text()
    for task in TASKS:
        assert f"<li>{task.name}: " in page or task in learnt, task.name
    assert done["sample"][0] == ["user", *(task.name for task in learnt[:8])]
    n = min(len(night.users), USERS_SHOWN)
    assert [row[1:] for row in done["sample"][1]] == [tuple(map(shown, learnt[:8]))] * n
    assert done["tonight"].rows_in == 10 * len(night.mapping.mapped_tables)
    out = Console(file=io.StringIO(), width=200)
    told = {"as_of": night.as_of, "recomputed": 1, "release_id": "made"} | done
    show.summary(out, night.settings, told, {})
    show.released(out, told)
    show.night(out, told)


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
