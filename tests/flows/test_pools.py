"""Work pools: what a Kubernetes worker would send is a valid job; parts that a night hands over."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate
import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.utilities.templating import apply_values, find_placeholders

from contracts.errors import ContractError
from flows import pools
from tests.conftest import REPOSITORY

VARIABLES = {
    "image": "registry.example/nightjar:1",
    "command": ["prefect", "flow-run", "execute"],
    "env": [{"name": "NIGHTJAR_HOME", "value": "/nightjar"}],
    "labels": {"prefect.io/flow-name": "train"},
    "name": "train",
}


def job_of(pool: str) -> dict[str, Any]:
    """The manifest, with what was told and the defaults of the template filled in."""
    template = json.loads((REPOSITORY / f"infra/kubernetes/{pool}.json").read_text())
    variables = template["variables"]
    assert set(variables["required"]) <= VARIABLES.keys()
    defaults = {n: v["default"] for n, v in variables["properties"].items() if "default" in v}
    known = {*variables["properties"], "command", "labels", "name"}
    # Prefect calls the `{{ variable }}` of a template a placeholder.
    placed = {p.name for p in find_placeholders(template["job_configuration"])}
    assert placed <= known  # a placeholder that nobody fills would be sent as it stands
    job: dict[str, Any] = apply_values(
        template["job_configuration"]["job_manifest"], defaults | VARIABLES
    )
    return job


@pytest.mark.parametrize("pool", ["spark", "gpu"])
def test_a_pools_job_is_valid_and_is_never_started_twice_by_kubernetes(pool: str) -> None:
    job = job_of(pool)
    kubernetes_validate.validate(job, "1.31", strict=True)
    assert job["spec"]["backoffLimit"] == 0  # whether to try again is the flow's decision
    (container,) = job["spec"]["template"]["spec"]["containers"]
    gpus = container["resources"]["limits"].get("nvidia.com/gpu")
    assert gpus == (1 if pool == "gpu" else None)
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_a_job_that_is_not_valid_would_be_seen() -> None:
    job = job_of("gpu")
    job["spec"]["backoffLimit"] = "none"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, "1.31", strict=True)


class Night:
    """As much of a night as handing its parts over needs."""

    as_of, run_id = date(2025, 3, 1), "r1"
    settings = SimpleNamespace(no_train=False)


def state(kind: StateType, message: str = "") -> State[Any]:
    return State(type=kind, message=message)


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, dict[str, Any], str]]:
    """What was asked of Prefect: deployment, parameters, idempotency key."""
    calls: list[tuple[str, dict[str, Any], str]] = []
    answers: dict[str, State[Any]] = {}

    def run(name: str, parameters: dict[str, Any], idempotency_key: str) -> Any:
        calls.append((name, parameters, idempotency_key))
        answer = answers.get(idempotency_key, state(StateType.COMPLETED))
        return SimpleNamespace(name="dusk", state=answer)

    monkeypatch.setattr(pools, "run_deployment", run)
    monkeypatch.setattr(pools, "say", lambda line: None)
    monkeypatch.setattr(pools, "flow_run", SimpleNamespace(id="f1", run_count=2))
    monkeypatch.setattr(pools, "ANSWERS", answers, raising=False)
    return calls


def test_a_night_hands_its_parts_over_in_order_each_under_a_key_of_its_own(asked) -> None:
    pools.on_pools(Night(), Path("m.toml"), "")
    parameters = {"as_of": "2025-03-01", "source": "m.toml", "raw": "", "no_train": False}
    assert asked == [
        ("prepare/prepare", parameters, "f1-prepare/prepare"),
        ("train/train", parameters, "f1-train/train"),
    ]


def test_a_part_that_failed_is_started_once_more_by_a_night_that_is_started_again(asked) -> None:
    pools.ANSWERS["f1-prepare/prepare"] = state(StateType.FAILED, "no disk")
    pools.on_pools(Night(), "", "")
    assert [key for _, _, key in asked] == [
        "f1-prepare/prepare",
        "f1-prepare/prepare-2",
        "f1-train/train",
    ]


def test_a_part_that_fails_again_stops_the_night_and_says_which_run_to_look_at(asked) -> None:
    for key in ("f1-train/train", "f1-train/train-2"):
        pools.ANSWERS[key] = state(StateType.CRASHED, "the worker is gone")
    with pytest.raises(ContractError) as error:
        pools.on_pools(Night(), "", "")
    assert str(error.value) == ("train/train (run dusk) ended as Crashed: the worker is gone")
