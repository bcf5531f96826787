"""What each kind of run does, as one list in its order: a plan prints it, a run executes it.

Which days a stage has is often known only when its turn comes, for what lands decides it: so an
entry holds a function of the run, which the plan asks about what it expects, and the run about what
is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from contracts.clean_tables import CLEAN_TABLES
from contracts.tables import NO_MODEL, ON_BRANCH
from contracts.tile_tables import TILES
from flows.engine.fingerprints import landing_stage
from flows.engine.run import Run
from flows.learning.gate import model_of_night
from flows.monitor.scoreboard import due
from flows.release.releases import Release
from jobs.mapping.sources import Source, SourceMapping
from jobs.stage import Engine

Days = Callable[[Run], Sequence[date]]
"""The days of an entry, asked when its turn comes."""


class Check(StrEnum):
    """What must hold before a run goes on."""

    mapping = "mapping"
    """Every expression of the mapping can be computed."""
    history = "history"
    """Some task can be trained, or was before."""
    limits = "limits"
    """Cleaning dropped no more rows than it may."""
    gate = "gate"
    """Which model scores: the challenger if it passes, else the champion."""


@dataclass(frozen=True)
class StageDays:
    """Days of a stage that a run brings up to date: what nothing has changed of is reused."""

    stage: str
    days: Days
    engine: Engine | None = None
    """How Spark computes several days; None: in one pass."""
    force: frozenset[date] = frozenset()
    """Days that are computed even if nothing has changed."""
    chunk_days: int | None = None
    """Of those that are to be computed, so many go at once, in order, each chunk from the state as
    of its first day; None: all at once, from whatever state there is."""
    model: Callable[[Run], str | None] | None = None
    """The model to score with; None while it is not known."""


@dataclass(frozen=True)
class Landing:
    """The files of a source that a run lands: new ones, and those that have changed."""

    source: Source

    @property
    def stage(self) -> str:
        return landing_stage(self.source)


@dataclass(frozen=True)
class SideBySide:
    """Stages that do not wait for one another."""

    stages: tuple[StageDays | Landing, ...]


Entry = Check | StageDays | Landing | SideBySide


def nightly(run: Run) -> tuple[Entry, ...]:
    """A night: its data, then its model and scores. Audit and publication follow."""
    return (*data_stages(run), *model_stages(run))


def data_stages(run: Run) -> tuple[Entry, ...]:
    """From raw files to features as of tonight, and examples of the past to learn from."""
    return (
        *landing(run),
        Check.history,
        *cleaning(run),
        Check.limits,
        SideBySide(
            (StageDays("user_state", tonight), StageDays("item_features", past_and_tonight))
        ),
        StageDays("user_features", past_and_tonight),
        StageDays("labels", past_and_due),
        StageDays("examples", past),
        StageDays("scoreboard", due),
    )


def model_stages(run: Run) -> tuple[Entry, ...]:
    """Tonight's model, everybody's scores, and what else processes write; it waits on branches."""
    training = () if run.settings.no_train else (StageDays("train", tonight),)
    return (*training, Check.gate, *released_tables(tonight, model_of_night))


def released_tables(
    days: Days, model: Callable[[Run], str | None], force: frozenset[date] = frozenset()
) -> tuple[StageDays, ...]:
    """Every released table that a process writes: all of them, since a release names each."""
    return tuple(
        StageDays(str(released.stage), days, force=force, model=model) for released in ON_BRANCH
    )


def landing(run: Run) -> tuple[Entry, ...]:
    """All raw files, once the mapping is known to be right."""
    return Check.mapping, SideBySide(tuple(Landing(source) for source in run.mapping.sources))


def cleaning(run: Run, days: Mapping[str, Sequence[date]] | None = None) -> tuple[Entry, ...]:
    """Clean tables and tiles: of every day on which something landed, or of `days` by table."""
    by_table: dict[str, Days]
    of_tiles: Days
    if days is None:
        mapped = run.mapping.mapped_tables
        by_table = {t.name: landed for t in CLEAN_TABLES if t.name in mapped}
        of_tiles = landed
    else:
        by_table = {t.name: fixed(days[t.name]) for t in CLEAN_TABLES if t.name in days}
        of_tiles = fixed(sorted({day for listed in days.values() for day in listed}))
    return (
        SideBySide(tuple(StageDays(f"clean_{name}", of) for name, of in by_table.items())),
        SideBySide(tuple(StageDays(name, of_tiles) for name in tiles_of(run.mapping))),
        StageDays("late_data", of_tiles),
    )


def tiles_of(mapping: SourceMapping) -> tuple[str, ...]:
    """Stages of the tiles that the mapping's tables have a part in."""
    mapped = [table for table in CLEAN_TABLES if table.name in mapping.mapped_tables]
    of_users = tuple(TILES[table.name].name for table in mapped if table.event is not None)
    things = ("user_item_days",) if any(table.things for table in mapped) else ()
    of_items = ("item_days",) if any(table.item_measures for table in mapped) else ()
    return (*of_users, *things, *of_items)


def backfill(
    run: Run,
    days: Sequence[date],
    stages: Collection[str],
    engine: Engine,
    force: bool,
    current: Release | None,
) -> tuple[Entry, ...]:
    """Any range of as-of days: up to the stages that are asked for.

    Before the first night it says of each user, as of the newest day, that nobody scored them yet,
    so that analysts see features and labels.

    Args:
        run: the run.
        days: as-of days, in order.
        stages: some of `user_features`, `labels`, `examples` and `score`.
        engine: how features of many days are computed.
        force: whether days are computed even if nothing has changed.
        current: the current release, whose model scores.
    """
    of = fixed(days)
    forced = frozenset(days) if force else frozenset()
    wanted = [name for name in ("labels", "examples") if name in with_what_they_read(stages)]
    scores: tuple[Entry, ...] = ()
    if current is None:
        scores = released_tables(fixed(days[-1:]), lambda _: NO_MODEL, forced)
    elif "score" in stages:
        model_id = current.model_id
        scores = released_tables(of, lambda _: model_id, forced)
    chunk_days = 1 if engine == "per-day" else run.settings.chunk_days
    return (
        *landing(run),
        *cleaning(run),
        Check.limits,
        StageDays("item_features", of, force=forced),
        StageDays("user_features", of, engine, forced, chunk_days),
        *(StageDays(name, of, force=forced) for name in wanted),
        *scores,
    )


def with_what_they_read(stages: Collection[str]) -> set[str]:
    """Stages that a backfill is asked for, and those that they read."""
    order = ("user_features", "labels", "examples")
    asked = {"user_features", *stages}
    last = max(order.index(name) for name in order if name in asked)
    return asked | set(order[:last])


def replay(
    run: Run, dropped: Mapping[str, Sequence[date]], current: Release | None
) -> tuple[Entry, ...]:
    """Days of quarantined rows cleaned again; and what depends on them as of the newest released
    day, scored with its model. Before the first night there is none.

    Args:
        run: the run.
        dropped: clean table to the days on which it lost rows.
        current: the current release; None: nothing is rebuilt.
    """
    again = (*landing(run), *cleaning(run, dropped))
    if current is None:
        return again
    day, model_id = fixed([current.as_of]), current.model_id
    return (
        *again,
        *(StageDays(name, day) for name in ("user_state", "item_features", "user_features")),
        *released_tables(day, lambda _: model_id),
    )


def fixed(days: Sequence[date]) -> Days:
    """Days that are known from the start."""
    known = tuple(days)
    return lambda run: known


def tonight(run: Run) -> tuple[date, ...]:
    return (run.as_of,)


def landed(run: Run) -> tuple[date, ...]:
    """Days on which rows landed."""
    return run.landed_days


def past(run: Run) -> tuple[date, ...]:
    """As-of days to learn from."""
    return run.example_days


def past_and_tonight(run: Run) -> tuple[date, ...]:
    return (*run.example_days, run.as_of)


def past_and_due(run: Run) -> tuple[date, ...]:
    """As-of days to learn from, and those whose published scores can be compared now."""
    return tuple(sorted({*run.example_days, *due(run)}))
