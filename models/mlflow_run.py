"""What a training run leaves in MLflow."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.models import Model as MlflowModel
from mlflow.models.signature import ModelSignature
from mlflow.store.db.utils import create_sqlalchemy_engine
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array as ArrayType

from contracts.column_types import COLUMN_TYPES
from contracts.errors import ContractError
from contracts.specs import TRACKING_VARIABLE, DatasetSpec, MlflowRunSpec
from contracts.tables import USER_FEATURES
from contracts.train_config import PATHS
from contracts.training import ARTIFACT
from models.artifact.model import Model
from models.evaluation.plots import draw_curves

FLAVOR = "nightjar"
"""A flavor of our own: MLflow keeps and versions the files, and has no code of ours to run."""


def log_run(
    url: str | None, spec: MlflowRunSpec, report: Mapping[str, Any], model: Model, folder: Path
) -> str:
    """Log parameters, metrics, curves, inputs and the artifact to MLflow's database at `url`.

    Returns:
        The MLflow run's id.

    Raises:
        ContractError: there is no `url`, or nothing answers there.
    """
    if url is None:
        raise ContractError(f"{TRACKING_VARIABLE} does not say where MLflow's database is")
    client = client_of(url)
    run_id: str = client.create_run(_experiment(client, spec), run_name=spec.name).info.run_id
    tags = {
        **spec.tags,
        "model_id": report["model_id"],
        "gate": report["gate"]["decision"],
    }
    client.log_batch(
        run_id,
        list(_metrics(report)),
        _parameters(report, model),
        [RunTag(name, value) for name, value in tags.items()],
    )
    client.log_inputs(run_id, [_dataset(dataset) for dataset in spec.datasets])
    draw_curves(report["history"], folder / "curves.png")
    for picture in ("curves.png", "reliability.png", "importance.png", "sharing.png"):
        if (folder / picture).exists():
            client.log_artifact(run_id, str(folder / picture))
    client.log_dict(run_id, dict(report), "report.json")
    _log_model(client, run_id, report["model_id"], model, folder / "model")
    client.set_terminated(run_id)
    return run_id


def _experiment(client: MlflowClient, spec: MlflowRunSpec) -> str:
    """The id of the experiment, which is created if there is none."""
    known = client.get_experiment_by_name(spec.experiment)
    if known is not None:
        return str(known.experiment_id)
    return str(client.create_experiment(spec.experiment, artifact_location=spec.artifact_location))


def _parameters(report: Mapping[str, Any], model: Model) -> list[Param]:
    """The settings, and which days each task was trained, validated and tested on."""
    settings = model.config.flat
    params = [Param(f"train.{PATHS[name]}", str(value)) for name, value in settings.items()]
    params += [
        Param(f"{name}.{part}_days", f"{len(days)}: {days[0]} to {days[-1]}")
        for name, split in report["splits"].items()
        for part, days in split.items()
    ]
    params += [
        Param(f"{name}.measured_on", task["measured_on"]) for name, task in report["tasks"].items()
    ]
    return params


def _dataset(dataset: DatasetSpec) -> DatasetInput:
    source = json.dumps({"uri": dataset.location})
    return DatasetInput(
        Dataset(dataset.name, dataset.snapshot, source_type="local", source=source),
        [InputTag("mlflow.data.context", "training")],
    )


def _log_model(
    client: MlflowClient, run_id: str, model_id: str, model: Model, folder: Path
) -> None:
    """The artifact, with MLflow's description of it."""
    with tempfile.TemporaryDirectory() as temporary:
        about = MlflowModel(
            artifact_path=ARTIFACT,
            run_id=run_id,
            signature=signature(model),
            metadata={"model_id": model_id},
        )
        about.add_flavor(FLAVOR, weights="model.safetensors", about="model.json")
        about.save(str(Path(temporary, "MLmodel")))
        client.log_artifact(run_id, str(Path(temporary, "MLmodel")), ARTIFACT)
    client.log_artifacts(run_id, str(folder), ARTIFACT)


def client_of(url: str) -> MlflowClient:
    """The client of MLflow's database at `url`, which is asked first: of one that does not answer
    MLflow asks again for almost two minutes.

    Raises:
        ContractError: it does not answer.
    """
    engine = create_sqlalchemy_engine(url)
    try:
        with engine.connect() as connection:
            engine.dialect.has_table(connection, "experiments")
    except Exception:
        raise ContractError("MLflow's database does not answer") from None
    finally:
        engine.dispose()
    return MlflowClient(tracking_uri=url)


def _metrics(report: Mapping[str, Any]) -> Iterator[Metric]:
    now = int(time.time() * 1000)
    for row in report["history"]:
        for name, value in row.items():
            if name != "epoch" and value == value:
                yield Metric(name, value, now, int(row["epoch"]))
    for task, results in report["tasks"].items():
        for who in ("model", "twin", "constant"):
            for name, value in results[who].items():
                yield Metric(
                    f"{task}/{name}" + ("" if who == "model" else f"_{who}"), value, now, 0
                )
        yield Metric(f"{task}/gain_over_twin", results["gain_over_twin"]["gain"], now, 0)
        if "single_task" in results:
            yield Metric(f"{task}/gain_over_single_task", results["single_task"]["gain"], now, 0)


def signature(model: Model) -> ModelSignature:
    """Columns of `user_features` in, score columns out."""
    inputs = [_spec(c.name, c.type, c.nullable) for c in USER_FEATURES.columns]
    outputs = [
        _spec(c.name, c.type, c.nullable) for task in model.tasks for c in task.score_columns()
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _spec(name: str, type_: str, nullable: bool) -> ColSpec | TensorSpec:
    return ColSpec(mlflow_type(type_), name, required=not nullable)


def mlflow_type(name: str) -> DataType | ArrayType:
    """The MLflow type of a contract's type."""
    column_type = COLUMN_TYPES[name]
    scalar = DataType[column_type.mlflow]
    return ArrayType(scalar) if column_type.is_array else scalar
