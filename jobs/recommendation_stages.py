"""Stages of what is recommended that Spark computes: part of the map of the data."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from contracts.recommendation_tables import REC_CANDIDATES, REC_HISTORIES, REC_ITEMS
from jobs.candidates.rec_candidates import declared_by, rec_candidates
from jobs.cleaning.verdicts import in_days
from jobs.stage import Inputs, Job, Output, Read, Settings


def _rec_candidates(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    histories, items = (
        inputs[table.name].where(in_days("as_of", days)) for table in (REC_HISTORIES, REC_ITEMS)
    )
    n = settings.ranking.candidates_per_source
    found = rec_candidates(histories, items, settings.mapped_surfaces, n)
    return Output({REC_CANDIDATES.name: found})


def _candidates_settings(settings: Settings, day: date) -> Any:
    return [
        settings.ranking.candidates_per_source,
        [declared_by(surface) for surface in settings.mapped_surfaces],
    ]


RECOMMENDATION_JOBS: tuple[Job, ...] = (
    Job(
        "rec_candidates",
        "What counting suggests to each user.",
        reads=(Read(REC_HISTORIES, 0, 1), Read(REC_ITEMS, 0, 1)),
        writes=(REC_CANDIDATES,),
        compute=_rec_candidates,
        settings=_candidates_settings,
    ),
)
