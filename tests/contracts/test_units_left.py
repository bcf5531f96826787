"""How much is left of orders once some of it is undone."""

from __future__ import annotations

import pytest

from contracts.units_left import units_left


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([], []),
        ([3, 2], [3, 2]),
        ([3, 2, -1], [3, 1, 0]),  # the newest first
        ([3, 2, -4], [1, 0, 0]),
        ([3, -5, 2], [0, 0, 2]),  # beyond what there is it undoes nothing, neither before nor after
        ([-1, 2], [0, 2]),
        ([2, -1, 4, -4, -1], [0, 0, 0, 0, 0]),
    ],
)
def test_undoing_takes_units_of_the_newest_orders_before_it(
    steps: list[int], left: list[int]
) -> None:
    assert units_left(steps) == left
