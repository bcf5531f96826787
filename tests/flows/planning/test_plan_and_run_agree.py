"""What a plan says of a run is what the run does, for every kind of run, over random homes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.tables import LANDED
from contracts.training import untrained
from flows.engine.fingerprints import decide, landing_stage
from flows.engine.run import Run
from flows.engine.run_days import RunDays
from flows.monitor import recommendation_outcomes, scoreboard
from flows.planning import stage_list
from flows.planning.planner import planned
from flows.planning.stage_list import Entry, StageDays
from flows.release.releases import Release, Releases, now
from flows.settings import NightjarSettings, read_settings
from flows.state.receipts import Fingerprint, Receipt
from flows.steps import runner
from flows.steps.process_stages import PROCESS_STAGES
from jobs.stage import Engine
from jobs.stages import job_named
from tests.flows.planning.mappings import log_of_views

START, N_DAYS = date(2025, 1, 1), 40
STAGES = ("user_features", "labels", "examples", "score", "recommendations")
KINDS = ("night", "no_train", "backfill", "replay")
ENGINES: tuple[Engine, ...] = ("one-pass", "per-day")
GOODS = """
[sources.goods]
files = "goods.csv"
format = "csv"
columns = ["item", "time"]
landed_on = "to_date(time)"
[sources.goods.tables.items]
item_id = "item"
occurred_at = "time"
"""
MAPPING = log_of_views("log/{day}.csv") + GOODS


@dataclass
class Executed:
    """Stands in for everything that computes: writes receipts alone, and remembers of what."""

    rng: random.Random
    unchanged: float
    """How often what is computed again comes out as it was."""
    stage_days: set[tuple[str, date | None]] = field(default_factory=set)

    def write(self, night: Run, stage: str, day: date, of: Fingerprint, outputs: Any) -> None:
        at = datetime(2025, 6, 1, tzinfo=UTC)
        night.receipts.write([Receipt(stage, day, of, outputs, 1, 1, 0.1, 1, None, "x", at)])
        night.fingerprints.invalidate(stage)
        self.stage_days.add((stage, day if day != date.min else None))

    def table(self, night: Run, stage: str, day: date, table: str) -> dict[str, Any]:
        receipt = night.receipts.get(stage, day)
        if receipt is not None and self.rng.random() < self.unchanged:
            return dict(receipt.outputs[table])
        digest = f"{self.rng.getrandbits(64):x}"
        return {"digest": digest, "rows": 1, "snapshot": 1, "first": day.isoformat()}

    def land(self, night: Run, source_name: str) -> None:
        (source,) = (s for s in night.mapping.sources if s.name == source_name)
        stage = landing_stage(source)
        for decision in night.days.land_decisions(source):
            if decision.reuse:
                continue
            whole = decision.day == date.min
            known = [day for day in night.receipts.days(stage) if day != date.min]
            days = (
                [*(known or (START, START + timedelta(days=3))), date.min]
                if whole
                else [decision.day]
            )
            for day in days:
                output = self.table(night, stage, day, LANDED.name)
                if day == date.min:
                    output = {"digest": "", "rows": 0, "snapshot": 1, "first": None}
                self.write(night, stage, day, decision.fingerprint, {LANDED.name: output})

    def compute(
        self,
        night: Run,
        name: str,
        days: Sequence[date],
        engine: str | None = None,
        force: Collection[date] = (),
        sample: int = 0,
    ) -> None:
        job = job_named(name)
        for decision in night.fingerprints.decisions(job, days, force):
            if not decision.reuse:
                outputs = {
                    table.name: self.table(night, name, decision.day, table.name)
                    for table in job.writes
                }
                self.write(night, name, decision.day, decision.fingerprint, outputs)

    def process(self, night: Run, entry: StageDays, before: Mapping[str, Any]) -> None:
        model_id = entry.model(night.days) if entry.model is not None else None
        for day in entry.days(night.days):
            fingerprint = PROCESS_STAGES[entry.stage].fingerprint(night.days, day, model_id)
            receipt = night.receipts.get(entry.stage, day)
            if decide(entry.stage, day, fingerprint, receipt, day in entry.force).reuse:
                continue
            self.write(night, entry.stage, day, fingerprint, self.said(night, entry, day, model_id))

    def said(self, night: Run, entry: StageDays, day: date, model_id: str | None) -> Any:
        if entry.stage == "train":
            number = self.rng.getrandbits(16)
            gate = {"decision": self.rng.choice(["promote", "keep"]), "reasons": ["so"]}
            return untrained({}, "", "") | {"model_id": f"m{number}", "gate": gate}
        if entry.stage == "score":
            common = {"release_id": f"r{day}", "snapshot": 1, "path": f"{day}", "rows": 1}
            return common | {"model_id": model_id, "tasks": ["view_7d", "churn_28d"]}
        if entry.stage in ("rank", "recommendations"):
            common = {"release_id": f"r{day}", "snapshot": 1, "path": f"{day}", "rows": 1}
            return common | {"ranker": f"of {day}", "surfaces": {"ads": {}}}
        if entry.stage == "rec_retrieved":
            return {entry.stage: self.table(night, entry.stage, day, entry.stage)}
        return {entry.stage: {"digest": "d", "rows": 1, "snapshot": 1}}


class Task:
    """A task of Prefect's, done at once."""

    def __init__(self, function: Any):
        self._function = function

    def __call__(self, *given: Any) -> None:
        self._function(*given)

    submit = __call__


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NightjarSettings:
    """Of an empty home, forty days of a log, and a list of goods."""
    monkeypatch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "raw/log").mkdir(parents=True)
    (tmp_path / "raw/goods.csv").write_text("item,time\nx,2025-01-01T00:00:00Z\n")
    for n in range(N_DAYS):
        (tmp_path / f"raw/log/{START + timedelta(days=n)}.csv").write_text(
            f"id,user,item,time\n{n}"
        )
    known = read_settings(home=tmp_path / "home", source=tmp_path / "m.toml", raw=tmp_path / "raw")
    fewer = {"example_spacing_days": 7, "example_max_days": 3, "min_history_days": 3}
    fewer |= {"surfaces": {"ads": {"horizon_days": 5, "learn_every_days": 6}}}
    return known.model_copy(update=fewer | {"chunk_days": 4})


def night_of(settings: NightjarSettings, as_of: date) -> Run:
    night = Run(settings, as_of)
    night.look_at_files()
    return night


def some_run(
    rng: random.Random, settings: NightjarSettings, kind: str
) -> tuple[Run, tuple[Entry, ...]]:
    """A night, a night without training, a backfill or a replay, and what it goes through."""
    day = START + timedelta(days=rng.randrange(12, N_DAYS + 1))
    night = night_of(settings.model_copy(update={"no_train": kind == "no_train"}), day)
    current = Releases(night.engine).current()
    if kind == "backfill":
        first = rng.randrange(5, 12)
        days = [START + timedelta(days=n) for n in range(first, first + rng.randrange(1, 10))]
        stages = rng.sample(STAGES, rng.randrange(1, 4)) if current else ["examples"]
        engine: Engine = rng.choice(ENGINES)
        force = rng.random() < 0.3
        return night, stage_list.backfill(night.context, days, stages, engine, force, current)
    if kind == "replay":
        dropped_on = night.receipts.days("land_log")
        lost = {"engagements": sorted(rng.sample(dropped_on, min(3, len(dropped_on))))}
        return night, stage_list.replay(night.context, lost, current)
    return night, stage_list.nightly(night.context)


def some_release(night: Run) -> None:
    """What was scored last is published."""
    days = night.receipts.days("score")
    receipt = night.receipts.get("score", days[-1]) if days else None
    if receipt is not None:
        model_id, release_id = receipt.outputs["model_id"], f"r{days[-1]}"
        snapshots = {"user_scores": 1}
        Releases(night.engine).publish(
            Release(release_id, days[-1], model_id, release_id, snapshots, "x", now(), days, None)
        )


def some_change(rng: random.Random, settings: NightjarSettings, what: str) -> NightjarSettings:
    """A raw file is another, or a setting."""
    assert settings.raw is not None
    log = settings.raw / f"log/{START + timedelta(days=rng.randrange(N_DAYS))}.csv"
    early = settings.raw / f"log/{START + timedelta(days=rng.randrange(5))}.csv"
    if what in ("log", "early log"):
        file = log if what == "log" else early
        file.write_text(f"id,user,item,time\n{rng.random()}")
    elif what == "goods":
        (settings.raw / "goods.csv").write_text(f"item,time\n{rng.random()}")
    elif what == "settings":
        return settings.model_copy(update={"settle_days": rng.randrange(3)})
    return settings


def some_course(rng: random.Random) -> list[tuple[str, str]]:
    """What changes, and what is then run. The first night finds nothing; then each kind of run
    follows a change that concerns every one, and which moves no day; the last two follow any."""
    kinds = rng.sample(KINDS, len(KINDS))
    changes = ("log", "goods", "settings", "nothing")
    return [
        ("nothing", "night"),
        *(("early log", kind) for kind in kinds),
        *((rng.choice(changes), rng.choice(KINDS)) for _ in range(2)),
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unchanged", [0.0, 0.5])
def test_a_run_does_what_its_plan_says(
    settings: NightjarSettings, monkeypatch: pytest.MonkeyPatch, seed: int, unchanged: float
) -> None:
    """Where everything that is computed again comes out another, exactly that; where some of it
    comes out as it was, or on which days a file's rows land is not known before it is read, what
    depends on that alone may be spared, and nothing else is done."""
    rng = random.Random(f"{seed}-{unchanged}")
    monkeypatch.setattr(RunDays, "check_history", lambda days: None)
    monkeypatch.setattr(
        scoreboard,
        "_published",
        lambda context, state: {str(day) for day in state.receipts.days("score")},
    )
    monkeypatch.setattr(
        recommendation_outcomes,
        "_published",
        lambda context, state: {str(day) for day in state.receipts.days("rank")},
    )
    for check in stage_list.Check:
        monkeypatch.setitem(runner.CHECKS, check, lambda night: None)  # type: ignore[misc]
    monkeypatch.setattr(runner, "together", list)
    busy: Counter[str] = Counter()  # runs that had something to do, by kind
    exact: Counter[str] = Counter()  # those of them whose plan knew every day
    for change, kind in some_course(rng):
        settings = some_change(rng, settings, change)
        executed = Executed(rng, unchanged)
        monkeypatch.setattr(runner.tasks, "land", Task(executed.land))
        monkeypatch.setattr(runner.tasks, "compute", Task(executed.compute))
        for name, stage in PROCESS_STAGES.items():
            stands_in = replace(stage, execute=executed.process)
            monkeypatch.setitem(PROCESS_STAGES, name, stands_in)  # type: ignore[misc]
        night, entries = some_run(rng, settings, kind)
        plan = planned(night.days, entries, PROCESS_STAGES, {"command": "some"})
        again = planned(night.days, entries, PROCESS_STAGES, {"command": "some"})
        assert again == plan
        runner.execute(night, entries)
        todo = {(p.stage, p.day) for p in plan.todo}
        unknown = {p.stage for p in plan.todo if p.day is None}
        done = {(stage, None if stage in unknown else day) for stage, day in executed.stage_days}
        todo = {(stage, None if stage in unknown else day) for stage, day in todo}
        assert done <= todo
        if not unchanged and not unknown:
            assert done == todo
            exact[kind] += bool(done)
        rest = planned(night.days, entries, PROCESS_STAGES, {"command": "some"})
        assert [(p.stage, p.day, p.reason) for p in rest.todo if p.reason != "forced"] == []
        some_release(night)
        night.engine.dispose()
        busy[kind] += bool(done)
    assert [kind for kind in KINDS if not busy[kind]] == []
    assert unchanged or [kind for kind in KINDS if not exact[kind]] == []
