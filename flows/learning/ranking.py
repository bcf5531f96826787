"""What recommendations of a day are functions of, and which days their rankers learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import date, timedelta

from contracts.days import MAX_DAYS_EARLY, ONE_DAY
from contracts.hashes import hash_of, short_hash
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_LISTS,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.spec_json import to_plain
from contracts.surfaces import Surface, ranker_days
from contracts.table import Table
from contracts.tables import USER_FEATURES
from flows.engine.code_hash import code_fingerprint
from flows.engine.fingerprints import table_shape
from flows.engine.run_days import RunDays
from flows.release.releases import Releases
from flows.settings import NightjarSettings
from flows.state.receipts import WITHDRAWN, Fingerprint

STAGE = "rank"
AS_OF_A_DAY: tuple[Table, ...] = (
    REC_ITEMS,
    REC_HISTORIES,
    REC_POPULAR,
    REC_CANDIDATES,
    REC_RETRIEVED,
    USER_FEATURES,
)
"""What is known as of a day that is ranked or learned from, each by the stage of its name."""


def reads(days: RunDays, day: date) -> Iterator[tuple[str, date, date]]:
    """Stages whose output a day is ranked from, and the half-open range of their days."""
    for known in (*days.ranker_days(day), day):
        for table in AS_OF_A_DAY:
            yield table.name, known, known + ONE_DAY
    start, end = interaction_days(days, day)
    yield INTERACTIONS.name, start, end


def interaction_days(days: RunDays, day: date) -> tuple[date, date]:
    """Landing days, half-open, of what may have happened from the first day that is learned from
    on; none where nothing is learned."""
    past = days.ranker_days(day)
    return (past[0] - timedelta(days=MAX_DAYS_EARLY), day) if past else (day, day)


def kept_since(settings: NightjarSettings, newest: date) -> date | None:
    """The first as-of day of which candidates and lists are kept as of `newest`: nights to come
    learn from each of those that tonight's rankers learn from in turn, and compare lists with what
    then happened once their horizon is over. None: of all."""
    if settings.keep_candidate_days is None:
        return None
    surfaces, n_learned = settings.configured_surfaces, settings.ranking.learn_days
    learned = ranker_days(surfaces, n_learned, newest, date.min)
    horizon = max((surface.horizon_days for surface in surfaces), default=0)
    kept = max(settings.keep_candidate_days, horizon + settings.settle_days + _NIGHTS_MISSED)
    return min([*learned, newest - timedelta(days=kept)])


_NIGHTS_MISSED = 7
"""Nights that may be left out, and lists are still compared by the next one."""


def rank_fingerprint(days: RunDays, day: date, model_id: str | None) -> Fingerprint:
    """Of the lists of one day, whose candidates may not be there yet, and on which `model_id` has
    no influence."""
    surfaces = [surface.for_lists for surface in days.context.surfaces]
    return _fingerprint(days, day, surfaces, (REC_LISTS,))


def _fingerprint(
    days: RunDays, day: date, surfaces: Sequence[Surface], tables: tuple[Table, ...]
) -> Fingerprint:
    """Of what is ranked, or learnt, as of one day of what matters of the surfaces."""
    context, fingerprints = days.context, days.state.fingerprints
    inputs = [
        fingerprints.outputs(stage, stage).hash(start, end, None)
        for stage, start, end in reads(days, day)
    ]
    # How many processes share the work changes no list.
    config = to_plain(replace(context.settings.ranking, processes=1))
    return Fingerprint(
        code_fingerprint(("models.ranking.rank",)) + table_shape(tables),
        hash_of([to_plain(surfaces), config]),
        hash_of([inputs, [str(past) for past in days.ranker_days(day)], champion(days, day)]),
    )


def champion(days: RunDays, day: date) -> str | None:
    """The ranker of the newest release of an earlier day, by the name of its folder; None if there
    is none from before `day`."""
    release = Releases(days.state.engine).before(days.as_of)
    if release is None or release.as_of >= day:
        return None
    receipt = days.state.receipts.get(STAGE, release.as_of)
    if receipt is None or receipt.fingerprint.inputs == WITHDRAWN:
        return None
    return str(receipt.outputs["ranker"])


def ranker_name(days: RunDays, day: date) -> str:
    """What the folder of a day's ranker is called; of another worth or policy the same."""
    surfaces = [surface.for_ranker for surface in days.context.surfaces]
    return f"{day}-{short_hash(hash_of(asdict(_fingerprint(days, day, surfaces, ()))))}"
