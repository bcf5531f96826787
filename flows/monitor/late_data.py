"""What late data cost: features as they were known at a midnight, and as they are known of it
now."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from contracts.clean_tables import CLEAN_TABLES
from contracts.errors import ContractError, UsageError
from contracts.specs import LateDataSpec, ScoreDay, ScoreDaysSpec
from contracts.tables import LABELS, NO_MODEL, USER_FEATURES
from flows.engine.model_process import run_models
from flows.engine.run import Run
from flows.lake.lake import Lake
from flows.lifecycle.progress import Say
from flows.release.model_registry import Registry
from flows.release.releases import Releases
from jobs.features.without_tiles import as_now, features_from_clean
from jobs.spark.files import read_table, write_days


def compare_features(run: Run, day: date, say: Say) -> dict[str, Any]:
    """Per task: the AUC of the current model as of `day`, `as_was` and `as_now`.

    Features `as_now` take each row to have landed when it happened, if it has landed by now; what
    they gain is what late data cost. Nothing of it enters the lake.

    Raises:
        ContractError: there is no model yet.
        UsageError: the lake has no features or labels as of `day`.
    """
    current = Releases(run.engine).current()
    if current is None or current.model_id == NO_MODEL:
        raise ContractError("there is no model to score with yet: run a night first")
    features, labels = _files_to_compare(run.lake, day)
    say(f"late data: features as of {day}, as known before {run.as_of}")
    files = {"as_was": features, "as_now": _features_as_now(run, day)}
    folder, key = run.context.process_folder, run.settings.key_of_weights()
    model = str(Registry(run.settings).fetch(current.model_id))
    days = tuple(
        ScoreDay(
            files=paths,
            as_of=day,
            model=model,
            release_id="late_data",
            path=f"{folder}/{name}/{day}.parquet",
            scratch=f"{folder}/{name}",
        )
        for name, paths in files.items()
    )
    scored = run_models(ScoreDaysSpec(days), folder, say, key)["days"]
    scores = {name: (one["path"],) for name, one in zip(files, scored, strict=True)}
    tasks = tuple(scored[0]["tasks"])
    return run_models(LateDataSpec(**scores, labels=labels, tasks=tasks), folder, say, key)


def _files_to_compare(lake: Lake, day: date) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files of the features and labels of a day.

    Raises:
        UsageError: there are none.
    """
    span = (day, day + timedelta(days=1))
    features, labels = (
        tuple(file.path for file in lake.files(table, *span)) for table in (USER_FEATURES, LABELS)
    )
    if not features or not labels:
        missing = "features" if not features else "labels"
        raise UsageError(
            f"there are no {missing} as of {day}; "
            f"nightjar backfill --start {day} --end {day} --stages labels"
        )
    return features, labels


def _features_as_now(run: Run, day: date) -> tuple[str, ...]:
    """The files of the features of a day, had all that has landed by now landed when it happened;
    they lie outside of the lake."""
    spark = run.spark.session
    clean = {
        table.name: read_table(spark, table, [f.path for f in run.lake.files(table, end=run.as_of)])
        for table in CLEAN_TABLES
    }
    rows = features_from_clean(as_now(clean), [day])
    return write_days(spark, rows, USER_FEATURES, [day], run.scratch_files("as_now"))[day].files
