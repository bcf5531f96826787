"""What the night's training is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contracts.specs import DatasetSpec, MlflowRunSpec, TrainSpec
from contracts.tables import EXAMPLES
from flows.engine.code_hash import git_commit
from flows.engine.run import Run
from flows.learning.fingerprints import TrainInputs
from flows.storage.location import plain_path


def train_spec(
    run: Run,
    inputs: TrainInputs,
    files: Sequence[str],
    champion: str | None,
    checkpoints: Path,
) -> TrainSpec:
    """Train on `files` of the night's example days.

    `champion` is the folder of the model to compare with, and in `checkpoints` a training that is
    killed leaves its state.
    """
    home = run.settings.home_folder
    return TrainSpec(
        files=tuple(files),
        as_ofs=tuple(run.example_days),
        known_until=inputs.known_until,
        settle_days=inputs.settle_days,
        tasks=inputs.tasks,
        config=inputs.config,
        folder=str(home.process_folder(run.run_id, "train")),
        first_as_of=inputs.first_as_of,
        champion=champion,
        champion_withheld=inputs.champion_withheld,
        run=_mlflow_run(run),
        single_task_twins=inputs.single_task_twins,
        checkpoints=str(checkpoints),
    )


def _mlflow_run(run: Run) -> MlflowRunSpec:
    snapshot = str(run.lake.snapshot(EXAMPLES))
    return MlflowRunSpec(
        experiment=f"nightjar-{run.mapping.name}",
        artifact_location=run.settings.home_folder.mlflow_artifacts_uri,
        name=f"{run.as_of}",
        datasets=(DatasetSpec(EXAMPLES.name, snapshot, plain_path(run.lake.location)),),
        tags={
            "as_of": str(run.as_of),
            "nightjar_run": run.run_id,
            "git_commit": git_commit() or "none",
            "examples_snapshot": snapshot,
        },
    )
