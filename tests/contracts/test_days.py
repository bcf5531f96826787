from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from contracts.days import (
    Days,
    as_ranges,
    example_days,
    label_is_closed,
    midnight_before,
    parse_day,
)
from contracts.errors import ContractError, UsageError


def test_ranges_are_half_open() -> None:
    week = Days(date(2025, 1, 1), date(2025, 1, 8))
    assert next(iter(week)) == date(2025, 1, 1)
    assert len(week) == 7
    assert date(2025, 1, 7) in week
    assert date(2025, 1, 8) not in week


def test_a_range_does_not_run_backwards() -> None:
    with pytest.raises(ContractError) as error:
        Days(date(2025, 1, 2), date(2025, 1, 1))
    assert str(error.value) == (
        "a range of days must not end (2025-01-01) before it starts (2025-01-02)"
    )


def test_a_label_closes_when_its_window_and_the_days_for_late_rows_are_past() -> None:
    as_of = date(2025, 1, 1)
    assert not label_is_closed(as_of, 7, 2, date(2025, 1, 9))
    assert label_is_closed(as_of, 7, 2, date(2025, 1, 10))


def test_examples_lie_in_the_past_and_have_history_behind_them() -> None:
    days = example_days(date(2025, 3, 1), date(2025, 1, 1), 7, 100, 28)
    assert days == tuple(date(2025, 2, 2) + timedelta(days=7 * k) for k in range(4))
    assert example_days(date(2025, 3, 1), date(2025, 1, 1), 7, 2, 28) == days[-2:]


def test_examples_do_not_move_with_the_night() -> None:
    nights = [date(2025, 3, 1) + timedelta(days=n) for n in range(15)]
    listed = [set(example_days(n, date(2025, 1, 1), 14, 24, 28)) for n in nights]
    assert all(a <= b for a, b in itertools.pairwise(listed))
    assert len(listed[-1]) == len(listed[0]) + 1
    assert all(max(days) < night for days, night in zip(listed, nights, strict=True))


def test_midnight_is_the_latest_utc_one() -> None:
    assert midnight_before(datetime(2025, 1, 2, 0, 0, tzinfo=UTC)) == date(2025, 1, 2)
    east = timezone(timedelta(hours=9))
    assert midnight_before(datetime(2025, 1, 2, 8, 0, tzinfo=east)) == date(2025, 1, 1)


@pytest.mark.parametrize("text", ["", "yesterday", "2025-02-30", "20250101", "2025-01-01T00"])
def test_a_day_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_day(text, "--as-of")
    assert str(error.value) == f"--as-of: expected a day such as 2025-01-31, found {text!r}"


def test_ranges_are_as_few_as_can_be() -> None:
    days = [date(2025, 1, d) for d in (5, 1, 2, 3, 3)]
    assert as_ranges(days) == (
        Days(date(2025, 1, 1), date(2025, 1, 4)),
        Days(date(2025, 1, 5), date(2025, 1, 6)),
    )
