"""Which tasks a night can train, by dates alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from contracts.history import (
    Trainable,
    TrainingDays,
    by_user,
    first_days_of,
    trainable,
    waiting,
)
from contracts.splits import Split
from contracts.tasks import EVENT_TABLES, OUTCOME_TABLES, OUTCOMES, TASKS, task_named

FIRST = date(2025, 1, 1)
DAYS = TrainingDays(
    example_spacing_days=14, example_max_days=24, min_history_days=28, settle_days=2
)
WEEK, MONTH, QUARTER = (task_named(n) for n in ("purchase_7d", "spend_30d", "return_90d"))
GRID = date.fromordinal(date(2025, 2, 10).toordinal() // 14 * 14)
"""The first example day with four weeks of data behind it: 28 days after the first are 01-29."""


def asked(night: date, days: TrainingDays = DAYS) -> tuple[Trainable, ...]:
    tasks = (WEEK, MONTH, QUARTER)
    return trainable(tasks, dict.fromkeys([t.name for t in tasks], FIRST), night, days)


def test_a_night_knows_from_which_day_on_each_task_can_be_trained() -> None:
    assert date(2025, 1, 29) <= GRID < date(2025, 2, 12)
    # The first example day whose label has settled is split by user.
    first = [GRID + timedelta(days=horizon + 2) for horizon in (7, 30, 90)]
    # A day to learn from, one to stop on and one to test on, each closed before the next begins;
    # 32 days until a label of a month has settled are three steps of the grid, 92 are seven.
    by_time = [
        GRID + timedelta(days=2 * 14 + 7 + 2),
        GRID + timedelta(days=2 * 3 * 14 + 30 + 2),
        GRID + timedelta(days=2 * 7 * 14 + 90 + 2),
    ]
    histories = asked(date(2025, 1, 10))
    assert [f.from_day for f in histories] == first
    assert [f.by_time_from for f in histories] == by_time
    for k, (day, later) in enumerate(zip(first, by_time, strict=True)):
        assert asked(day - timedelta(days=1))[k].split is None
        assert asked(day)[k].split == Split((GRID,), (GRID,), (GRID,), by_user=True)
        split = asked(later)[k].split
        assert split is not None
        assert not split.by_user
        before = asked(later - timedelta(days=1))[k].split
        assert before is not None
        assert before.by_user
    assert waiting(asked(first[1])) == [f"from {first[2]} on: return_90d"]
    assert by_user(asked(first[1])) == [
        f"from {by_time[0]} on: purchase_7d", f"from {by_time[1]} on: spend_30d",
    ]  # fmt: skip


def test_what_can_be_trained_can_be_trained_tonight() -> None:
    histories = asked(date(2026, 6, 1))
    assert [f.from_day for f in histories] == [date(2026, 6, 1)] * 3
    assert waiting(histories) == []


def test_settings_that_never_reach_far_enough_are_told_apart() -> None:
    few = asked(date(2025, 1, 10), replace(DAYS, example_max_days=4))
    assert [f.from_day is None for f in few] == [False, False, True]
    assert [f.by_time_from is None for f in few] == [False, True, True]
    assert waiting(few)[2:] == ["never, with so few example days (example_max_days): return_90d"]


def test_all_tasks_are_looked_at_in_well_under_a_second() -> None:
    import time

    started = time.monotonic()
    firsts = dict.fromkeys([t.name for t in TASKS], FIRST)
    trainable(TASKS, firsts, date(2025, 1, 2), DAYS)
    assert time.monotonic() - started < 1


def test_each_task_goes_by_the_tables_that_it_is_labelled_from() -> None:
    assert set(OUTCOME_TABLES) == set(OUTCOMES)
    assert set(EVENT_TABLES) == {
        "orders", "engagements", "posts", "reviews", "follows", "account_events",
    }  # fmt: skip
    days = {"items": date(2015, 1, 1), "orders": FIRST, "reviews": date(2025, 3, 1)}
    named = [
        task_named(n) for n in ("purchase_7d", "next_rating_90d", "interests_30d", "churn_28d")
    ]
    assert first_days_of(named, days) == {  # what an old list of items says of nobody
        "purchase_7d": FIRST,
        "next_rating_90d": date(2025, 3, 1),
        "interests_30d": FIRST,
        "churn_28d": FIRST,
    }
    # Of orders it is not known: reviews alone have a first day of their own.
    assert first_days_of(named, days | {"orders": None}) == {"next_rating_90d": date(2025, 3, 1)}
    (churn,) = named[3:]
    assert first_days_of([churn], {"users": FIRST}) == {"churn_28d": FIRST}
    histories = trainable(named[:2], first_days_of(named, days), date(2025, 3, 20), DAYS)
    assert [f.split is None for f in histories] == [False, True]
    assert trainable(named[:2], {"purchase_7d": FIRST}, date(2025, 3, 20), DAYS) == histories[:1]
