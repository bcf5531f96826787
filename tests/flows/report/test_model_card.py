"""What the model card says of how much was learned from."""

from __future__ import annotations

from typing import Any

import pytest

from flows.report.model_card import learned_from, what_scores

BUDGET: dict[str, Any] = {
    "minutes": 60.0, "rows": 24_000_000, "share": 0.1, "max_epochs": 4, "rows_per_second": 4100,
    "whole_positives": ["login_fraud_30d"], "expected_rows_per_second": 4000,
}  # fmt: skip
ALL: dict[str, Any] = {**BUDGET, "rows": 15_000, "share": 1.0, "max_epochs": 30}
SOME = (
    "10.0% of 24,000,000 labelled rows and all positive ones of login_fraud_30d; at most 4 epochs"
)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({}, []),
        (BUDGET, [f"{SOME} in 60 minutes; 4,100 rows a second"]),
        (ALL, ["all 15,000 labelled rows; at most 30 epochs in 60 minutes; 4,100 rows a second"]),
        (
            ALL | {"minutes": None},
            ["all 15,000 labelled rows; at most 30 epochs; 4,100 rows a second"],
        ),
        (
            BUDGET | {"rows_per_second": 1200},
            [f"{SOME} in 60 minutes; 1,200 rows a second (train.machine.rows_per_second expects "
             "4,000)"],
        ),
    ],
    ids=["before there was a budget", "a share", "all rows", "no budget", "slower than expected"],
)  # fmt: skip
def test_the_card_says_how_much_was_learned_from(budget, expected) -> None:
    assert learned_from(budget) == [("learned from", text) for text in expected]


@pytest.mark.parametrize(
    ("mixture", "said"), [("network", "the network alone"), ("twin", "LightGBM alone")]
)
def test_where_one_member_scores_alone_no_mixture_is_spoken_of(mixture: str, said: str) -> None:
    assert what_scores({"config": {"mixture": mixture}}) == said
    assert what_scores({"config": {"mixture": "mixture"}}).startswith("a mixture of the network")
    assert what_scores({}).startswith("a mixture of the network")  # of before there was a choice
