"""MLflow's registry: which artifact is which version, and which one is champion."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from contracts.table import ContractError
from flows.settings import NightjarSettings
from models.config import ARTIFACT

NAME = "nightjar"
CHAMPION = "champion"


TRAINED_ON_ERASED = "trained_on_erased_people"


class Registry:
    """Versions of the one registered model, known by `model_id`."""

    def __init__(self, settings: NightjarSettings):
        self._client = MlflowClient(tracking_uri=settings.mlflow_url)
        self._folder = settings.folder / "models"

    def register(self, model_id: str, run_id: str) -> int:
        """The version of the artifact, made if there is none yet."""
        found = self.version(model_id)
        if found is not None:
            return found
        try:
            self._client.create_registered_model(NAME)
        except MlflowException:
            self._client.get_registered_model(NAME)
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
        made = self._client.create_model_version(
            NAME, source, run_id=run_id, tags={"model_id": model_id}
        )
        return int(made.version)

    def version(self, model_id: str) -> int | None:
        return next(
            (int(v.version) for v in self._versions() if v.tags.get("model_id") == model_id), None
        )

    def tags(self, run_id: str) -> dict[str, str]:
        """What the run that trained a model says of its data."""
        tags = self._client.get_run(run_id).data.tags
        return {
            name.replace("_", " "): tags[name] for name in ("examples_snapshot",) if name in tags
        }

    def _versions(self) -> list[Any]:
        return list(self._client.search_model_versions(f"name='{NAME}'"))

    def fetch(self, model_id: str) -> Path:
        """A folder on this machine with the artifact.

        Raises:
            ContractError: there is no such model.
        """
        folder = self._folder / model_id
        if folder.exists():
            return folder
        version = next((v for v in self._versions() if v.tags.get("model_id") == model_id), None)
        if version is None:
            raise ContractError(
                f"MLflow has no version of model {model_id}, and it is not in {self._folder}: "
                "restore MLflow's database, or train again"
            )
        scratch = self._folder / f".{model_id}.part"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        self._client.download_artifacts(version.run_id, ARTIFACT, str(scratch))
        (scratch / ARTIFACT).rename(folder)
        shutil.rmtree(scratch)
        return folder

    def point_champion(self, model_id: str) -> bool:
        """Move the alias to the artifact's version. Whether it had to move."""
        version = self.version(model_id)
        if version is None:
            raise RuntimeError(f"MLflow has no version of model {model_id}")
        try:
            if int(self._client.get_model_version_by_alias(NAME, CHAMPION).version) == version:
                return False
        except MlflowException:
            pass  # there is no champion yet
        self._client.set_registered_model_alias(NAME, CHAMPION, str(version))
        return True

    def mark_erased(self, model_id: str) -> None:
        """Say of a model that it was trained on somebody who was erased since; with how many."""
        for version in self._versions():
            if version.tags.get("model_id") == model_id:
                n = int(version.tags.get(TRAINED_ON_ERASED, 0)) + 1
                self._client.set_model_version_tag(NAME, version.version, TRAINED_ON_ERASED, str(n))

    def log_file(self, run_id: str, path: Path) -> None:
        """Put a file beside the run's artifacts."""
        self._client.log_artifact(run_id, str(path))
