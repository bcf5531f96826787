"""Which model scores: the gate's word, and a person's where it asks."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import UsageError
from contracts.tables import NO_MODEL
from contracts.training import untrained
from flows.learning.gate import Choice, accept, accepted, chosen
from flows.state.schema import open_database


def report_with(decision: str) -> dict[str, Any]:
    return {"model_id": "new", "gate": {"decision": decision, "reasons": ["a is worse", "b"]}}


@pytest.mark.parametrize(
    ("decision", "is_accepted", "expected"),
    [
        ("promote", False, Choice("new", "model new passes: a is worse; b")),
        ("keep", False, Choice("old", "champion old stays: a is worse; b")),
        ("keep", True, Choice("old", "champion old stays: a is worse; b")),
        (
            "ask",
            False,
            Choice("old", "champion old stays until a person approves: a is worse; b", True),
        ),
        ("ask", True, Choice("new", "model new passes, approved by a person: a is worse; b")),
    ],
)
def test_the_champion_stays_until_the_gate_or_a_person_says_otherwise(
    decision, is_accepted, expected
) -> None:
    assert chosen(report_with(decision), "old", is_accepted) == expected


def test_without_a_champion_a_model_that_is_not_fit_scores_nobody() -> None:
    assert chosen(report_with("stop"), None, False) == Choice(
        "none", "nobody is scored, for there is no model: a is worse; b"
    )
    assert chosen(report_with("stop"), None, False, base_rates=True) == Choice(
        "new", "only base rates of model new are published: a is worse; b"
    )
    assert chosen(report_with("promote"), None, False).model_id == "new"


def test_of_a_night_done_again_the_gate_says_when_it_said_what_it_says() -> None:
    """What was true before the model became the champion need not be true after it."""
    assert chosen(report_with("promote"), "new", False) == Choice(
        "new", "model new is the champion already; when it was trained: a is worse; b"
    )


def test_a_night_that_trains_nothing_goes_on_with_the_champion_or_scores_nobody() -> None:
    nothing = untrained({}, "nothing was trained: no_train is set", "")
    assert chosen(nothing, "old", False) == Choice(
        "old", "champion old stays: nothing was trained: no_train is set"
    )
    for base_rates in (False, True):
        assert chosen(nothing, None, False, base_rates).model_id == NO_MODEL


def test_only_a_model_that_needs_approval_can_be_accepted(tmp_path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'n.db'}")
    with pytest.raises(UsageError, match="accept: the night has trained model none, not new"):
        accept(engine, None, "new")
    with pytest.raises(UsageError, match="accept: the night has trained model new, not other"):
        accept(engine, report_with("ask"), "other")
    with pytest.raises(
        UsageError, match="accept: model new needs no approval: the gate's decision is keep"
    ):
        accept(engine, report_with("keep"), "new")
    assert not accepted(engine, "new")
    accept(engine, report_with("ask"), "new")
    accept(engine, report_with("ask"), "new")
    assert accepted(engine, "new")
    assert not accepted(engine, "other")
