"""Scoring every known user: what its process is asked for, and where one that is killed goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contracts.hashes import hash_of, short_hash
from contracts.specs import ScoreDay, ScoreDaysSpec
from contracts.tables import NO_MODEL, USER_FEATURES
from flows.engine.model_process import run_models
from flows.engine.run_context import RunContext
from flows.learning.fingerprints import withheld_tonight
from flows.release.model_registry import Registry
from flows.settings import NightjarSettings
from flows.state.receipts import Fingerprint, Receipts
from flows.steps.prefect_tasks import say
from flows.steps.writers import Writer, WriteRequest, WriteResult, WrittenFiles
from flows.storage.home import Home
from flows.storage.location import join


def score(context: RunContext, receipts: Receipts, request: WriteRequest) -> WriteResult:
    """Score every known user as of each day. With `NO_MODEL` each has a row, and every score is
    null."""
    files = {day: request.files(USER_FEATURES, day) for day in request.days}
    rows = sum(file.rows for group in files.values() for file in group)
    settings = context.settings
    withheld = withheld_tonight(receipts, request.model_id, context.as_of)
    registry = Registry(settings)
    model = None if request.model_id == NO_MODEL else str(registry.fetch(request.model_id))
    spec = ScoreDaysSpec(
        tuple(
            ScoreDay(
                files=tuple(file.path for file in files[day]),
                as_of=day,
                model=model,
                release_id=request.release_id,
                path=f"{request.staging}/{day}.parquet",
                scratch=str(scratch_of(settings, request.fingerprints[day])),
                threads=settings.train.machine.threads,
                accelerator=settings.train.machine.accelerator,
                failed_tasks=settings.failed_tasks,
                withheld=withheld,
            )
            for day in request.days
        ),
        processes=score_processes(settings, rows),
    )
    reports = run_models(spec, context.process_folder, say, settings.key_of_weights())["days"]
    return WriteResult(
        rows,
        {
            day: _written(request.model_id, report)
            for day, report in zip(request.days, reports, strict=True)
        },
    )


def _written(model_id: str, report: Mapping[str, Any]) -> WrittenFiles:
    outputs = {name: report[name] for name in ("tasks", "base_rates", "withheld")}
    return WrittenFiles(report["rows"], tuple(report["paths"]), {"model_id": model_id} | outputs)


def scratch_of(settings: NightjarSettings, fingerprint: Fingerprint) -> Path:
    """Where a scoring that is killed leaves its shards, and one of the same code, model and
    features goes on: after any of them has changed, nothing of before is mixed in."""
    home = settings.home_folder
    name = short_hash(hash_of([asdict(fingerprint), settings.train.machine.accelerator]))
    return home.storage.local_path(join(home.scoring, name))


def score_processes(settings: NightjarSettings, rows: int) -> int:
    """How many processes score so many rows: as set, else one for each half million, up to one a
    core. How many there are does not change a score."""
    if settings.score_processes is not None:
        return settings.score_processes
    return max(1, min(os.cpu_count() or 1, rows // 500_000))


def remove_scratch(home: Home) -> None:
    """Remove what scorings that were killed have left: the scores are committed."""
    home.storage.discard_folder(home.scoring)


SCORING = Writer(score, remove_scratch)
