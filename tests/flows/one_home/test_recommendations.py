"""What of recommendations other settings make again, on the home that the tests of flows share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from tests.flows.first_night import NIGHT

pytestmark = [pytest.mark.usefixtures("first"), pytest.mark.slow]
WORTH = "NIGHTJAR_SURFACES__PRODUCTS__WORTH"
FOR_VIEWS = json.dumps({"order": 0, "review": 0, "like": 0, "click": 0, "view": 1})


def planned(*words: str) -> set[tuple[str, str]]:
    """Stages of tonight that a plan would compute, and why."""
    done = CliRunner().invoke(app, ["plan", "--as-of", str(NIGHT), "--format", "json", *words])
    return {(d["stage"], d["reason"]) for d in json.loads(done.stdout)["days"] if not d["reuse"]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (WORTH, FOR_VIEWS),
        ("NIGHTJAR_SURFACES__POSTS__POLICY", '{"max_per_category": 2, "exploration": 0.1}'),
        ("NIGHTJAR_SURFACES__ADS__N_ITEMS", "20"),
    ],
)
def test_another_worth_or_policy_ranks_again_and_counts_nothing_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    before = planned()
    assert not {stage for stage, _ in before} & {"rank", "recommendations"}
    monkeypatch.setenv(name, value)
    assert planned() - before == {
        ("rank", "configuration changed"),
        ("recommendations", "cascaded from rank"),
    }
