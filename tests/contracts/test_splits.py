"""How many rows the parts of a task can have, and when these are too few."""

from __future__ import annotations

from datetime import date

from contracts.splits import Split, most_rows, too_few

D1, D2, D3 = (date(2025, 1, n) for n in (1, 2, 3))
USERS = {D1: 30, D2: 40, D3: 50}


def test_a_part_has_at_most_a_row_of_each_user_known_on_its_days() -> None:
    by_time = Split((D1, D2), (D2,), (D3,))
    assert most_rows(by_time, USERS) == {"train": 70, "valid": 40, "test": 50}
    days = (D1, D2)
    assert most_rows(Split(days, days, days, by_user=True), USERS) == {"the smallest part": 23}


def test_a_task_with_too_few_rows_in_a_part_is_left_out_with_the_numbers() -> None:
    rows = {"train": 70, "valid": 40, "test": 1}
    assert too_few(rows, 1) is None
    assert too_few(rows, 50) == "40 labels in valid, 1 label in test; min_rows is 50"
