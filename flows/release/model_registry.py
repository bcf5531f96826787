"""MLflow's registry: which artifact is which version, and which one is champion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from contracts.errors import ContractError
from contracts.training import ARTIFACT
from flows.settings import NightjarSettings
from flows.state.postgres import make_database
from flows.storage.location import join

NAME = "nightjar"
CHAMPION = "champion"
_NOT_THERE = "RESOURCE_DOES_NOT_EXIST"
TRAINED_ON_ERASED = "trained_on_erased_people"


class Registry:
    """Versions of the one registered model, known by `model_id`."""

    def __init__(self, settings: NightjarSettings):
        self._settings = settings
        self._home = settings.home_folder
        self._storage = self._home.storage

    @cached_property
    def _client(self) -> MlflowClient:
        """MLflow, asked only when it is needed."""
        if self._settings.postgres_url is not None:
            make_database(self._settings.mlflow_url)
        return MlflowClient(tracking_uri=self._settings.mlflow_url)

    def register(self, model_id: str, run_id: str) -> int:
        """The version of the artifact, registered if there is none yet."""
        version = self.version(model_id)
        if version is not None:
            return version
        try:
            self._client.create_registered_model(NAME)
        except MlflowException:
            self._client.get_registered_model(NAME)
        source = f"{self._client.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
        registered = self._client.create_model_version(
            NAME, source, run_id=run_id, tags={"model_id": model_id}
        )
        return int(registered.version)

    def version(self, model_id: str) -> int | None:
        return next((int(v.version) for v in self._versions() if _model_of(v) == model_id), None)

    def tags(self, run_id: str | None) -> dict[str, str] | None:
        """What the run that trained a model says of its data; None if MLflow does not know it."""
        if run_id is None:
            return None
        try:
            tags = self._client.get_run(run_id).data.tags
        except MlflowException as error:
            if error.error_code != _NOT_THERE:
                raise
            return None
        return {
            name.replace("_", " "): tags[name] for name in ("examples_snapshot",) if name in tags
        }

    def _versions(self) -> list[Any]:
        return list(self._client.search_model_versions(f"name='{NAME}'"))

    def keep(self, model_id: str, artifact: str) -> None:
        """Keep an artifact on this machine, so that scoring with it needs no MLflow."""
        folder = self._home.model(model_id)
        if not self._storage.exists(folder):
            scratch = self._scratch(model_id)
            self._storage.copy_folder(artifact, join(scratch, ARTIFACT))
            self._put(scratch, folder)

    def fetch(self, model_id: str) -> Path:
        """A folder on this machine with the artifact.

        Raises:
            ContractError: MLflow has no such model, and this machine does not keep it.
        """
        folder = self._home.model(model_id)
        path = self._storage.local_path(folder)
        if self._storage.exists(folder):
            return path
        run_id = next((v.run_id for v in self._versions() if _model_of(v) == model_id), None)
        run_id = run_id or self._run_of(model_id)
        if run_id is None:
            raise ContractError(
                f"model {model_id} is nowhere to be found: expected it in {path}, or in MLflow "
                f"as a version of {NAME} or a run with the tag model_id; if it was deleted there, "
                "restore its run (`mlflow gc` keeps none), or put the artifact's folder back"
            )
        scratch = self._scratch(model_id)
        self._client.download_artifacts(run_id, ARTIFACT, str(self._storage.local_path(scratch)))
        self._put(scratch, folder)
        return path

    def _scratch(self, model_id: str) -> str:
        """An empty folder beside the models."""
        scratch = self._home.model(f".{model_id}.part")
        self._storage.remove_folder(scratch)
        return self._storage.make_folder(scratch)

    def _put(self, scratch: str, folder: str) -> None:
        self._storage.replace(join(scratch, ARTIFACT), folder)
        self._storage.discard_folder(scratch)

    def _run_of(self, model_id: str) -> str | None:
        """The run that trained a model, by its tag; it outlives a version that was deleted."""
        experiments = [e.experiment_id for e in self._client.search_experiments()]
        tag = f"tags.model_id = '{model_id}'"
        runs = self._client.search_runs(experiments, tag, max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def point_champion(self, model_id: str) -> bool:
        """Move the alias to the artifact's version, which is made again if it was deleted. Whether
        it had to move.

        Raises:
            ContractError: MLflow has no version of the model, and no run that it could be made of.
        """
        version = self.version(model_id)
        if version is None:
            run_id = self._run_of(model_id)
            if run_id is None:
                raise ContractError(
                    f"MLflow has neither a version of {NAME} nor a run with the tag model_id = "
                    f"{model_id}"
                )
            version = self.register(model_id, run_id)
        try:
            if int(self._client.get_model_version_by_alias(NAME, CHAMPION).version) == version:
                return False
        except MlflowException:
            pass  # there is no champion yet
        self._client.set_registered_model_alias(NAME, CHAMPION, str(version))
        return True

    def mark_erased(self, people: Mapping[str, int]) -> list[str]:
        """Say of models how many people they were trained on who were erased since. Those of which
        it was not said yet; a model without a version has nothing to say it of."""
        marked = []
        for version in self._versions():
            model_id = _model_of(version) or ""
            n = people.get(model_id, 0)
            if n > int(version.tags.get(TRAINED_ON_ERASED, 0)):
                self._client.set_model_version_tag(NAME, version.version, TRAINED_ON_ERASED, str(n))
                marked.append(model_id)
        return marked

    def log_file(self, run_id: str, path: Path) -> None:
        """Put a file beside the run's artifacts."""
        self._client.log_artifact(run_id, str(path))


def _model_of(version: Any) -> str | None:
    """The id of the artifact that a version is of."""
    return cast("str | None", version.tags.get("model_id"))
