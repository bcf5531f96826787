"""Lists for every known user: what is asked of the process, and where a killed one goes on."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path

from contracts.hashes import hash_of, short_hash
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.specs import RankDay, RankInputs, RankSpec
from contracts.table import Table
from contracts.tables import USER_FEATURES
from flows.engine.model_process import run_models
from flows.engine.run_context import RunContext
from flows.learning.ranking import champion, interaction_days, ranker_name
from flows.state.receipts import Receipts
from flows.steps.prefect_tasks import say
from flows.steps.writers import Writer, WriteRequest, WriteResult, WrittenFiles
from flows.storage.home import Home
from flows.storage.location import join


def rank(context: RunContext, receipts: Receipts, request: WriteRequest) -> WriteResult:
    """Fit rankers as of each day, and write every known user's list on every surface that is on."""
    settings = context.settings
    spec = RankSpec(
        context.surfaces,
        tuple(_day(request, day) for day in request.days),
        settings.ranking,
    )
    reports = run_models(spec, context.process_folder, say, settings.key_of_weights())["days"]
    rows = sum(
        file.rows
        for day in request.days
        for table in (REC_CANDIDATES, REC_RETRIEVED)
        for file in request.files(table, day)
    )
    return WriteResult(
        rows,
        {
            day: WrittenFiles(
                report["rows"],
                tuple(report["paths"]),
                {
                    "ranker": ranker_name(request.run_days, day),
                    "surfaces": report["surfaces"],
                },
            )
            for day, report in zip(request.days, reports, strict=True)
        },
    )


def _day(request: WriteRequest, day: date) -> RankDay:
    """What is asked for of a day."""
    days, fingerprint = request.run_days, request.fingerprints[day]
    home = days.context.settings.home_folder
    before = champion(days, day)
    start, end = interaction_days(days, day)
    return RankDay(
        inputs=_inputs(request, day),
        past=tuple(_inputs(request, past) for past in days.ranker_days(day)),
        interactions=tuple(f.path for f in days.state.lake.files(INTERACTIONS, start, end)),
        champion=_folder(home, before) if before is not None else None,
        folder=str(home.storage.local_path(home.ranker(ranker_name(days, day)))),
        release_id=request.release_id,
        path=f"{request.staging}/{day}.parquet",
        scratch=str(_scratch(home, hash_of([asdict(fingerprint), request.release_id]))),
    )


def _inputs(request: WriteRequest, day: date) -> RankInputs:
    def files(table: Table) -> tuple[str, ...]:
        return tuple(file.path for file in request.files(table, day))

    return RankInputs(
        day,
        items=files(REC_ITEMS),
        histories=files(REC_HISTORIES),
        popular=files(REC_POPULAR),
        candidates=files(REC_CANDIDATES),
        retrieved=files(REC_RETRIEVED),
        user_features=files(USER_FEATURES),
    )


def _folder(home: Home, ranker: str) -> str | None:
    """Where a ranker lies; None if it is kept no more."""
    folder = home.ranker(ranker)
    return str(home.storage.local_path(folder)) if home.storage.is_folder(folder) else None


def _scratch(home: Home, key: str) -> Path:
    """Where a ranking that is killed leaves its shards, and one of the same code, settings and
    inputs goes on."""
    return home.storage.local_path(join(home.ranking, short_hash(key)))


def remove_scratch(home: Home) -> None:
    """Remove what rankings that were killed have left: the lists are committed."""
    home.storage.discard_folder(home.ranking)


RANKING = Writer(rank, remove_scratch)
