"""Recommendations that were released, beside what then happened, once that is known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from contracts.days import MAX_DAYS_EARLY, ONE_DAY, label_is_closed
from contracts.errors import ContractError
from contracts.hashes import hash_of
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_HISTORIES,
    REC_ITEMS,
    REC_LISTS,
    REC_OUTCOMES,
)
from contracts.segments import ALL
from contracts.specs import RecOutcomesDay, RecOutcomesSpec
from contracts.surfaces import Surface
from contracts.tables import USER_FEATURES
from flows.engine.code_hash import code_fingerprint
from flows.engine.fingerprints import decide, table_shape
from flows.engine.home_state import HomeState
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.learning.ranking import STAGE as RANK
from flows.lifecycle.progress import Say
from flows.monitor.comparison import Row, write_comparison
from flows.monitor.scoreboard import CATCH_UP_DAYS
from flows.release.releases import Releases
from flows.state.receipts import WITHDRAWN, Fingerprint, Receipt

STAGE = REC_OUTCOMES.name


def due(context: RunContext, state: HomeState) -> tuple[date, ...]:
    """Released days of which more is known than `rec_outcomes` says, oldest first.

    Each comes up once per horizon of a surface: on the night after it, and the days for late rows,
    are over.
    """
    published, days = _published(context, state), []
    for day in state.receipts.days(RANK):
        ranked = state.receipts.get(RANK, day)
        if ranked is None or ranked.outputs["path"] not in published:
            continue
        if ranked.fingerprint.inputs == WITHDRAWN or not closed_surfaces(context, ranked):
            continue
        fingerprint = outcomes_fingerprint(context, state, day)
        if not decide(STAGE, day, fingerprint, state.receipts.get(STAGE, day)).reuse:
            days.append(day)
    return tuple(days)


def _published(context: RunContext, state: HomeState) -> set[str]:
    """Files of the lists that are released, as far back as an outcome may become known."""
    snapshot = _released_lists(state)
    if snapshot is None or not context.surfaces:
        return set()
    longest = max(surface.horizon_days for surface in context.surfaces)
    reach = longest + context.settings.settle_days + CATCH_UP_DAYS
    earliest = context.as_of - timedelta(days=reach)
    files = state.lake.files(REC_LISTS, earliest, context.as_of, None, snapshot)
    return {file.path for file in files}


def _released_lists(state: HomeState) -> int | None:
    """The snapshot of the lists that the current release has, which may be older than them."""
    current = Releases(state.engine).current()
    return None if current is None else current.snapshots.get(REC_LISTS.name)


def closed_surfaces(context: RunContext, ranked: Receipt) -> tuple[Surface, ...]:
    """Of the surfaces that have lists as of a day, those whose outcomes are known."""
    settle = context.settings.settle_days
    return tuple(
        surface
        for surface in context.surfaces
        if surface.name in ranked.outputs["surfaces"]
        and label_is_closed(ranked.day, surface.horizon_days, settle, context.as_of)
    )


def outcomes_fingerprint(context: RunContext, state: HomeState, day: date) -> Fingerprint:
    """Of the comparison of the lists of one day with what happened.

    Raises:
        ContractError: the day has no lists.
    """
    ranked = state.receipts.get(RANK, day)
    if ranked is None:
        raise ContractError(f"there are no lists as of {day} to compare with what happened")
    # What goals there are, and what they are worth, as they were when the outcome became known.
    return Fingerprint(
        code_fingerprint(("models.ranking.outcomes",)) + table_shape((REC_OUTCOMES,)),
        hash_of([surface.name for surface in closed_surfaces(context, ranked)]),
        hash_of([ranked.outputs["release_id"], ranked.outputs["path"]]),
    )


def compare(run: Run, days: Sequence[date], say: Say) -> None:
    """Compare the lists of these days with what happened, and write the rows."""
    if not days:
        run.reports.reused(STAGE, say)
        return
    fingerprints = {day: outcomes_fingerprint(run.context, run.state, day) for day in days}
    asked = tuple(_day(run.context, run.state, day) for day in days)
    known = tuple(day for day in asked if day is not None)
    spec = RecOutcomesSpec(run.context.surfaces, known)
    write_comparison(run, REC_OUTCOMES, spec, fingerprints, _is_of_all, say)


def _is_of_all(row: Row) -> bool:
    return (row["segment"], row["method"]) == (ALL, "published")


def _day(context: RunContext, state: HomeState, day: date) -> RecOutcomesDay | None:
    """What the process is to compare; None where a table has no rows of the day any more."""
    span, ranked = (day, day + ONE_DAY), state.receipts.get(RANK, day)
    files = {
        "lists": state.lake.files(REC_LISTS, *span, snapshot=_released_lists(state)),
        "items": state.lake.files(REC_ITEMS, *span),
        "histories": state.lake.files(REC_HISTORIES, *span),
        "user_features": state.lake.files(USER_FEATURES, *span),
    }
    if ranked is None or not all(files.values()):
        return None
    since = day - timedelta(days=MAX_DAYS_EARLY)
    happened = state.lake.files(INTERACTIONS, since, context.as_of)
    paths = {name: tuple(file.path for file in listed) for name, listed in files.items()}
    return RecOutcomesDay(
        day,
        **paths,
        interactions=tuple(file.path for file in happened),
        surfaces=tuple(surface.name for surface in closed_surfaces(context, ranked)),
    )
