"""One small model for all tests of the folder, trained on data whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.specs import DatasetSpec, MlflowRunSpec, TrainSpec
from contracts.tasks import TASKS
from contracts.train_config import TrainConfig
from models.artifact.model import load_model, save_model
from models.train import train
from tests.conftest import Once
from tests.models.simulated_examples import DAYS, NIGHT, write_examples

CONFIG = TrainConfig().changed(
    width=32, depth=1, n_experts=2, n_bins=8, numeric_width=2, id_buckets=64, batch_size=256,
    max_epochs=8, tower_epochs=2, learning_rate=5e-3, min_rows=50, bootstrap_samples=40,
)  # fmt: skip


def spec_of(folder: Path, files: tuple[str, ...], **given: Any) -> TrainSpec:
    spec = TrainSpec(files, DAYS, NIGHT, 2, tuple(t.name for t in TASKS), CONFIG, str(folder))
    return replace(spec, **given)


@pytest.fixture(scope="session")
def files(once: Once) -> tuple[str, ...]:
    return once("examples", write_examples)


@pytest.fixture(scope="session")
def trained(files: tuple[str, ...], once: Once) -> dict[str, Any]:
    """What the training said, whose artifact all workers of a test run share: it is only read."""

    def of(folder: Path) -> dict[str, Any]:
        run = MlflowRunSpec(
            "tests",
            (folder / "artifacts").as_uri(),
            "one",
            (DatasetSpec("examples", "77", "/lake"),),
            {"as_of": "x"},
        )
        return train(spec_of(folder, files, run=run), f"sqlite:///{folder}/mlflow.db")

    return once("trained", of)


@pytest.fixture(scope="session")
def whole(trained: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The artifact with every task published, whatever the gate says of the rare ones."""
    folder = tmp_path_factory.mktemp("whole")
    save_model(replace(load_model(Path(trained["folder"]) / "model"), withheld={}), folder)
    return str(folder)
