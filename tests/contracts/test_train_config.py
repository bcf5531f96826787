"""Settings of training."""

from __future__ import annotations

import pytest

from contracts.errors import ContractError
from contracts.train_config import TrainConfig


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"max_grad_norm": 0},
            "train.max_grad_norm: expected above 0, or none to turn clipping off, found 0",
        ),
        ({"dropout": 1.0}, "train.dropout: expected 0 to below 1, found 1.0"),
        ({"width": 0}, "train.width: expected 1 or more, found 0"),
        ({"student_width": 0}, "train.student_width: expected 1 or more, or none, found 0"),
        (
            {"width": 0, "depth": -1, "learning_rate": 0.0},
            "train.width: expected 1 or more, found 0; train.depth: expected 0 or more, found -1; "
            "train.learning_rate: expected above 0, found 0.0",
        ),
    ],
)
def test_settings_out_of_range_are_refused_all_at_once(wrong, message) -> None:
    with pytest.raises(ContractError) as error:
        TrainConfig(**wrong)
    assert str(error.value) == message
