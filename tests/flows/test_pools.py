"""The work pools' templates for Kubernetes: what a worker would send is a valid job."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
from prefect.utilities.templating import apply_values, find_placeholders

from tests.conftest import REPOSITORY

TOLD = {
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
    assert set(variables["required"]) <= TOLD.keys()
    defaults = {n: v["default"] for n, v in variables["properties"].items() if "default" in v}
    known = {*variables["properties"], "command", "labels", "name"}
    placed = {p.name for p in find_placeholders(template["job_configuration"])}
    assert placed <= known  # a placeholder that nobody fills would be sent as it stands
    made: dict[str, Any] = apply_values(
        template["job_configuration"]["job_manifest"], defaults | TOLD
    )
    return made


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
