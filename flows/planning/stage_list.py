"""What each kind of run does, as one list in its order: a plan prints it, a run executes it.

Which days a stage has is often known only when its turn comes, for what lands decides it: so an
entry holds a function of the run's days, which a plan gives those that it expects to land, and a
run those that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from contracts.clean_tables import CLEAN_TABLES
from contracts.released_table import ReleasedTable
from contracts.tables import NO_MODEL, ON_BRANCH, RECOMMENDED
from contracts.tile_tables import TILES
from flows.engine.fingerprints import landing_stage
from flows.engine.run_context import RunContext
from flows.engine.run_days import RunDays
from flows.learning.gate import model_of_night
from flows.monitor import recommendation_outcomes, scoreboard
from flows.release.releases import Release
from jobs.mapping.content_heads import heads_of
from jobs.mapping.sources import Source, SourceMapping
from jobs.stage import Engine
from jobs.stages import job_named

Days = Callable[[RunDays], Sequence[date]]
"""The days of an entry, asked when its turn comes."""


ModelOf = Callable[[RunDays], str | None]
"""The model to score with; None while it is not known."""


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
    """So many go at once, in order, as far as they are to be computed, each chunk from the state as
    of its first day; None: all at once, from whatever state there is."""
    model: ModelOf | None = None
    """The model to score with."""
    released_with: tuple[str, ...] = ()
    """Of a released table: stages whose tables are written for the same release, its own too."""


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


def nightly(context: RunContext) -> tuple[Entry, ...]:
    """A night: its data, then its model and scores. Audit and publication follow."""
    return (*data_stages(context), *model_stages(context))


def data_stages(context: RunContext) -> tuple[Entry, ...]:
    """From raw files to features as of tonight, and examples of the past to learn from."""
    learned = (StageDays("labels", past_and_due), StageDays("examples", past))
    return (
        *landing(context.mapping),
        Check.history,
        *cleaning(context.mapping),
        Check.limits,
        SideBySide((StageDays("user_state", tonight), StageDays("item_features", of_features))),
        StageDays("user_features", of_features),
        *(_beside_candidates(*learned) if context.surfaces else learned),
        StageDays("scoreboard", due),
        *((StageDays("rec_outcomes", due_lists),) if context.surfaces else ()),
    )


def _beside_candidates(labels: StageDays, examples: StageDays) -> tuple[Entry, ...]:
    """Labels and examples, and beside them candidates, of which neither waits for the other."""
    items, histories, popular, counted = candidate_stages(with_past(tonight))
    return SideBySide((labels, items)), SideBySide((examples, histories, popular)), counted


def model_stages(context: RunContext) -> tuple[Entry, ...]:
    """Tonight's model, everybody's scores, and what else processes write; it waits on branches."""
    retrieved = (StageDays("rec_retrieved", with_past(tonight)),) if context.surfaces else ()
    training = () if context.settings.no_train else (StageDays("train", tonight),)
    stages = released_stages(with_lists=bool(context.surfaces))
    tables = released_tables(stages, tonight, model_of_tonight)
    return (*retrieved, *training, Check.gate, *tables)


def candidates(
    days: Days, chunk_days: int | None = None, force: frozenset[date] = frozenset()
) -> tuple[Entry, ...]:
    """What can be recommended, what users had, and what counting suggests to them."""
    items, *others, last = candidate_stages(days, chunk_days, force)
    beside: tuple[Entry, ...] = (SideBySide(tuple(others)),) if chunk_days is None else (*others,)
    return (items, *beside, last)


def candidate_stages(
    days: Days, chunk_days: int | None = None, force: frozenset[date] = frozenset()
) -> list[StageDays]:
    """Each of them, in an order in which they can be computed."""
    names = ("rec_items", "rec_histories", "rec_popular", "rec_candidates")
    return [StageDays(name, days, force=force, chunk_days=chunk_days) for name in names]


def released_stages(with_scores: bool = True, with_lists: bool = True) -> tuple[str, ...]:
    """Stages of processes that write released tables: of recommendations, and all others.

    Where no surface is on, or none is asked for, the release keeps what the one before has of
    recommendations, which may be nothing.
    """
    return tuple(
        str(released.stage)
        for released in ON_BRANCH
        if (with_lists if _is_of_lists(released) else with_scores)
    )


def _is_of_lists(released: ReleasedTable) -> bool:
    """Whether a released table is made of what is recommended."""
    if released.table in RECOMMENDED:
        return True
    of_stages = {other.table: other for other in ON_BRANCH}
    return any(
        table in RECOMMENDED or (table in of_stages and _is_of_lists(of_stages[table]))
        for table in released.reads
    )


def released_tables(
    stages: Sequence[str], days: Days, model: ModelOf, force: frozenset[date] = frozenset()
) -> tuple[StageDays, ...]:
    """Released tables that processes write together: a release names each."""
    return tuple(
        StageDays(stage, days, force=force, model=model, released_with=tuple(stages))
        for stage in stages
    )


def landing(mapping: SourceMapping) -> tuple[Entry, ...]:
    """All raw files, once the mapping is known to be right."""
    return Check.mapping, SideBySide(tuple(Landing(source) for source in mapping.sources))


def cleaning(
    mapping: SourceMapping, days: Mapping[str, Sequence[date]] | None = None
) -> tuple[Entry, ...]:
    """Clean tables and tiles: of every day on which something landed, or of `days` by table."""
    by_table: dict[str, Days]
    of_tiles: Days
    if days is None:
        mapped = mapping.mapped_tables
        by_table = {t.name: landed for t in CLEAN_TABLES if t.name in mapped}
        of_tiles = landed
    else:
        by_table = {t.name: fixed(days[t.name]) for t in CLEAN_TABLES if t.name in days}
        of_tiles = fixed(sorted({day for listed in days.values() for day in listed}))
    return (
        SideBySide(tuple(StageDays(f"clean_{name}", of) for name, of in by_table.items())),
        *((StageDays("content_scores", of_tiles),) if heads_of(mapping) else ()),
        SideBySide(tuple(StageDays(name, of_tiles) for name in tiles_of(mapping))),
        StageDays("late_data", of_tiles),
    )


def tiles_of(mapping: SourceMapping) -> tuple[str, ...]:
    """Stages of the tiles that the mapping's tables have a part in."""
    mapped = [table for table in CLEAN_TABLES if table.name in mapping.mapped_tables]
    of_users = tuple(TILES[table.name].name for table in mapped if table.event is not None)
    things = ("user_item_days",) if any(table.things for table in mapped) else ()
    of_items = ("item_days",) if any(table.item_measures for table in mapped) else ()
    done = ("interactions",) if any(table.interactions for table in mapped) else ()
    return (*of_users, *things, *of_items, *done)


def backfill(
    context: RunContext,
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
        context: what the run knows.
        days: as-of days, in order.
        stages: some of `user_features`, `labels`, `examples`, `score` and `recommendations`.
        engine: how features of many days are computed.
        force: whether days are computed even if nothing has changed.
        current: the current release, whose model scores.
    """
    of = fixed(days)
    forced = frozenset(days) if force else frozenset()
    wanted = [name for name in ("labels", "examples") if name in with_what_they_read(stages)]
    with_lists = "recommendations" in stages and bool(context.surfaces)
    tables: tuple[Entry, ...] = ()
    if current is None:
        unscored = released_stages(with_lists=False)
        tables = released_tables(unscored, fixed(days[-1:]), lambda _: NO_MODEL, forced)
    elif "score" in stages or with_lists:
        model_id = current.model_id
        asked = released_stages("score" in stages, with_lists)
        tables = released_tables(asked, of, lambda _: model_id, forced)
    chunk_days = 1 if engine == "per-day" else context.settings.chunk_days
    known = with_past(of) if with_lists else of
    return (
        *landing(context.mapping),
        *cleaning(context.mapping),
        Check.limits,
        StageDays("item_features", known, force=forced),
        StageDays("user_features", known, engine, forced, chunk_days),
        *(StageDays(name, of, force=forced) for name in wanted),
        *(recommended(known, chunk_days, forced) if with_lists else ()),
        *tables,
    )


def recommended(
    days: Days, chunk_days: int | None = None, force: frozenset[date] = frozenset()
) -> tuple[Entry, ...]:
    """Every candidate as of these days, counted and retrieved."""
    retrieved = StageDays("rec_retrieved", days, force=force, chunk_days=chunk_days)
    return (*candidates(days, chunk_days, force), retrieved)


def with_what_they_read(stages: Collection[str]) -> set[str]:
    """Stages that a backfill is asked for, and those that they read."""
    order = ("user_features", "labels", "examples")
    asked = {"user_features", *stages}
    last = max(order.index(name) for name in order if name in asked)
    return asked | set(order[:last])


def replay(
    context: RunContext, dropped: Mapping[str, Sequence[date]], current: Release | None
) -> tuple[Entry, ...]:
    """Days of quarantined rows cleaned again; and what depends on them as of the newest released
    day, scored with its model. Before the first night there is none.

    Args:
        context: what the run knows.
        dropped: clean table to the days on which it lost rows.
        current: the current release; None: nothing is rebuilt.
    """
    again = (*landing(context.mapping), *cleaning(context.mapping, dropped))
    if current is None:
        return again
    day, model_id = fixed([current.as_of]), current.model_id
    known = with_past(day) if context.surfaces else day
    return (
        *again,
        StageDays("user_state", day),
        *(StageDays(name, known) for name in ("item_features", "user_features")),
        *(recommended(known) if context.surfaces else ()),
        *released_tables(
            released_stages(with_lists=bool(context.surfaces)), day, lambda _: model_id
        ),
    )


@dataclass(frozen=True)
class Chunk:
    """Days of an entry that are computed, and committed, in one go."""

    first: date
    """The first of them, whether or not it is to be computed: so a day that turns out to be up to
    date moves no other chunk."""
    todo: tuple[date, ...]


def states_of(entry: StageDays, chunks: Sequence[Chunk]) -> list[StageDays]:
    """The states that chunks of days start from: each as of its chunk's first day."""
    incremental = job_named(entry.stage).incremental
    if entry.chunk_days is None or incremental is None or not chunks:
        return []
    return [StageDays(incremental.name, fixed([chunk.first for chunk in chunks]))]


def chunks_of(entry: StageDays, days: Sequence[date], todo: Collection[date]) -> tuple[Chunk, ...]:
    """The chunks of an entry's days in which something is to be computed."""
    ordered = sorted(days)
    n = entry.chunk_days or max(len(ordered), 1)
    chunks = [ordered[first : first + n] for first in range(0, len(ordered), n)]
    return tuple(
        Chunk(chunk[0], tuple(day for day in chunk if day in todo))
        for chunk in chunks
        if any(day in todo for day in chunk)
    )


def fixed(days: Sequence[date]) -> Days:
    """Days that are known from the start."""
    known = tuple(days)
    return lambda days: known


def tonight(days: RunDays) -> tuple[date, ...]:
    return (days.as_of,)


def landed(days: RunDays) -> tuple[date, ...]:
    """Days on which rows landed."""
    return days.landed_days


def past(days: RunDays) -> tuple[date, ...]:
    """As-of days to learn from."""
    return days.example_days


def of_features(days: RunDays) -> tuple[date, ...]:
    """Tonight, as-of days to learn from, and those that rankers learn from."""
    return tuple(sorted({*days.example_days, *with_past(tonight)(days)}))


def with_past(asked: Days) -> Days:
    """Days of which there are to be lists, and the past ones that their rankers learn from."""

    def known(days: RunDays) -> tuple[date, ...]:
        of = asked(days)
        return tuple(sorted({*of, *(past for day in of for past in days.ranker_days(day))}))

    return known


def due(days: RunDays) -> tuple[date, ...]:
    """As-of days whose published scores can be compared with what happened."""
    return scoreboard.due(days.context, days.state)


def due_lists(days: RunDays) -> tuple[date, ...]:
    """As-of days whose released lists can be compared with what happened."""
    return recommendation_outcomes.due(days.context, days.state)


def past_and_due(days: RunDays) -> tuple[date, ...]:
    """As-of days to learn from, and those whose published scores can be compared now."""
    return tuple(sorted({*days.example_days, *due(days)}))


def model_of_tonight(days: RunDays) -> str | None:
    """The model that tonight's gate lets score; None while it is not trained."""
    return model_of_night(days.context, days.state)
