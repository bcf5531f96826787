"""MLflow's registry: what is not there is found again or said, and nothing waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from contracts.errors import ContractError
from contracts.training import ARTIFACT
from flows.monitor.lineage import mlflow_of
from flows.release.model_registry import CHAMPION, NAME, TRAINED_ON_ERASED, Registry
from flows.settings import NightjarSettings


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> NightjarSettings:
    return NightjarSettings(home=tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def client(settings: NightjarSettings) -> MlflowClient:
    return MlflowClient(tracking_uri=settings.mlflow_url)


def trained(client: MlflowClient, folder: Path, model_id: str) -> str:
    """A run of MLflow's that has an artifact, as training leaves it."""
    if client.get_experiment_by_name("nights") is None:
        client.create_experiment("nights", artifact_location=(folder / "artifacts").as_uri())
    experiment = client.get_experiment_by_name("nights")
    assert experiment is not None
    run = client.create_run(experiment.experiment_id, tags={"model_id": model_id})
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model/model.json").write_text(model_id)
    client.log_artifacts(run.info.run_id, str(folder / "model"), ARTIFACT)
    return str(run.info.run_id)


def test_a_version_that_was_deleted_is_made_again_of_its_run(
    settings, client, tmp_path, capfd
) -> None:
    registry = Registry(settings)
    version = registry.register("m1", trained(client, tmp_path, "m1"))
    assert registry.point_champion("m1")
    assert not registry.point_champion("m1")
    client.delete_model_version(NAME, str(version))
    capfd.readouterr()
    assert registry.fetch("m1").joinpath("model.json").read_text() == "m1"
    assert capfd.readouterr() == ("", "")  # no bars on the terminal
    assert registry.point_champion("m1")
    champion = client.get_model_version_by_alias(NAME, CHAMPION)
    assert champion.tags["model_id"] == "m1"
    assert int(champion.version) != version


def test_an_origin_is_told_whatever_mlflow_knows_of_it(settings, client, tmp_path) -> None:
    registry = Registry(settings)
    run_id = trained(client, tmp_path, "m7")
    client.set_tag(run_id, "examples_snapshot", "77")
    version = registry.register("m7", run_id)
    assert mlflow_of(registry, "m7", run_id) == {
        "MLflow run": run_id,
        "registered version": version,
        "examples snapshot": "77",
    }
    assert mlflow_of(registry, "m7", "gone") == {
        "MLflow run": "gone: MLflow does not know the run",
        "registered version": version,
    }
    assert mlflow_of(registry, "other") == {
        "MLflow run": "none: MLflow does not know the run",
        "registered version": "none",
    }


def test_an_origin_is_told_without_mlflow(tmp_path: Path) -> None:
    away = NightjarSettings(home=tmp_path, postgres_url="postgresql://owner:x@127.0.0.1:1")
    origin = mlflow_of(Registry(away), "m", "r")
    assert list(origin) == ["MLflow run"]
    assert origin["MLflow run"].startswith(
        "r: MLflow cannot be asked: the database postgresql://owner:***@127.0.0.1:1/"
        "nightjar_mlflow cannot be reached: "
    )


def test_a_model_is_marked_with_how_many_people_were_erased_who_trained_it(
    settings, client, tmp_path
) -> None:
    registry = Registry(settings)
    registry.register("m3", trained(client, tmp_path, "m3"))
    assert registry.mark_erased({"m3": 1, "m9": 4}) == ["m3"]
    assert registry.mark_erased({"m3": 1}) == []
    assert registry.mark_erased({"m3": 3}) == ["m3"]
    version = client.get_model_version(NAME, str(registry.version("m3")))
    assert version.tags[TRAINED_ON_ERASED] == "3"


def test_a_model_that_is_nowhere_is_said_to_be(settings, client) -> None:
    registry = Registry(settings)
    with pytest.raises(ContractError) as error:
        registry.point_champion("m9")
    assert str(error.value) == (
        "MLflow has neither a version of nightjar nor a run with the tag model_id = m9"
    )
    with pytest.raises(ContractError) as error:
        registry.fetch("m9")
    assert str(error.value) == (
        f"model m9 is nowhere to be found: expected it in {settings.home_folder}/models/m9, or in "
        "MLflow as a version of nightjar or a run with the tag model_id; if it was deleted there, "
        "restore its run (`mlflow gc` keeps none), or put the artifact's folder back"
    )


def test_a_model_that_is_kept_on_this_machine_needs_no_mlflow(tmp_path: Path) -> None:
    settings = NightjarSettings(
        home=tmp_path / "home", postgres_url="postgresql://owner:x@127.0.0.1:1"
    )
    registry = Registry(settings)
    (tmp_path / "made").mkdir()
    (tmp_path / "made/model.json").write_text("m2")
    registry.keep("m2", str(tmp_path / "made"))
    registry.keep("m2", str(tmp_path / "made"))
    assert registry.fetch("m2").joinpath("model.json").read_text() == "m2"
    with pytest.raises(ContractError, match="nightjar_mlflow cannot be reached"):
        registry.point_champion("m2")
