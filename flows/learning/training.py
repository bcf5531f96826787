"""What the night's training is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from contracts.inputs import user_inputs
from contracts.specs import DatasetSpec, MlflowRunSpec, TrainSpec
from contracts.tables import EXAMPLES
from flows.engine.code_hash import git_commit
from flows.engine.run_context import RunContext
from flows.lake.lake import Lake
from flows.learning.fingerprints import TrainInputs
from flows.storage.location import plain_path


def train_spec(
    context: RunContext,
    lake: Lake,
    inputs: TrainInputs,
    files: Mapping[date, Sequence[str]],
    champion: str | None,
    checkpoints: Path,
) -> TrainSpec:
    """What the night's training is asked for.

    Args:
        context: what the run knows.
        lake: has the examples.
        inputs: what else training is a function of.
        files: the files of each of the night's example days, in order.
        champion: the folder of the model to compare with.
        checkpoints: where a training that is killed leaves its state.
    """
    return TrainSpec(
        files=tuple(file for of_day in files.values() for file in of_day),
        as_ofs=tuple(files),
        known_until=inputs.known_until,
        settle_days=inputs.settle_days,
        tasks=inputs.tasks,
        config=inputs.config,
        folder=str(context.settings.home_folder.process_folder(context.run_id, "train")),
        first_as_of=inputs.first_as_of,
        champion=champion,
        champion_withheld=inputs.champion_withheld,
        run=_mlflow_run(context, lake),
        inputs=user_inputs(inputs.config.inputs.content),
        single_task_twins=inputs.single_task_twins,
        checkpoints=str(checkpoints),
    )


def _mlflow_run(context: RunContext, lake: Lake) -> MlflowRunSpec:
    """How the training appears in MLflow."""
    snapshot = str(lake.snapshot(EXAMPLES))
    return MlflowRunSpec(
        experiment=f"nightjar-{context.mapping.name}",
        artifact_location=context.settings.home_folder.mlflow_artifacts_uri,
        name=f"{context.as_of}",
        datasets=(DatasetSpec(EXAMPLES.name, snapshot, plain_path(lake.location)),),
        tags={
            "as_of": str(context.as_of),
            "nightjar_run": context.run_id,
            "git_commit": git_commit() or "none",
            "examples_snapshot": snapshot,
        },
    )
