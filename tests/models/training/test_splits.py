"""Days and users that a task learns from, is validated and tested on."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa

from contracts.splits import Split, split_days
from contracts.tasks import task_named
from models.data.label_layout import in_cuts

D = date(2025, 6, 1)


def test_tasks_split_apart_and_a_long_one_needs_more_past() -> None:
    days = [D - timedelta(days=7 * k) for k in range(1, 20)]
    short = split_days(task_named("purchase_7d"), days, D, 2)
    assert short is not None
    assert max(short.test) == D - timedelta(days=14)  # the newest that is closed
    assert len(short.test) == len(short.valid) == 2
    assert not short.by_user
    quarter = split_days(task_named("return_90d"), days, D, 2)
    assert quarter is not None
    assert quarter.by_user  # too few days for three windows: other users stand in for later days
    assert quarter.train == quarter.valid == quarter.test
    assert max(quarter.test) + timedelta(days=92) <= D
    assert split_days(task_named("return_90d"), days[:10], D, 2) is None


def test_no_user_is_in_two_parts_of_a_task_that_is_split_by_user() -> None:
    days = (D, D + timedelta(days=14))
    rows = pa.table(
        {
            "user_key": [f"u{i}" for i in range(500)] * 2,
            "as_of": pa.array([days[0]] * 500 + [days[1]] * 500, pa.date32()),
        }
    )
    split = Split(days, days, days, by_user=True)
    users = {}
    for part in ("train", "valid", "test"):
        is_in_part = in_cuts(rows, [split.cut(part)])
        picked = rows.filter(pa.array(is_in_part)).column("user_key").to_pylist()
        users[part] = set(picked)
        assert len(picked) == 2 * len(users[part])  # with all their days
        turned = in_cuts(rows.slice(300), [split.cut(part)])  # whatever rows stand beside it
        assert (turned == is_in_part[300:]).all()
    assert set.union(*users.values()) == {f"u{i}" for i in range(500)}
    assert sum(map(len, users.values())) == 500
    assert {part: round(len(of) / 100) for part, of in users.items()} == {
        "train": 3, "valid": 1, "test": 1,
    }  # fmt: skip
    by_time = Split((D,), (D,), (D,))
    assert in_cuts(rows, [by_time.cut("test")]).sum() == 500
    assert 150 < in_cuts(rows, [by_time.cut("test", 0.4)]).sum() < 250


def test_a_champion_is_compared_on_rows_that_never_shaped_it() -> None:
    a, b, c, d = (D + timedelta(days=14 * k) for k in range(4))
    old, new = Split((a,), (b,), (c,)), Split((b,), (c,), (d,))
    assert new.is_later_than(old)
    assert not old.is_later_than(new)
    short, longer = Split((a,), (a,), (a,), True), Split((a, b), (a, b), (a, b), True)
    assert longer.is_later_than(short)  # the folds of users are always the same
    assert not longer.is_later_than(old)  # by time it was trained on all users of these days


def test_who_tests_a_task_by_user_teaches_the_one_within_it_nothing_on_these_days() -> None:
    days = [D + timedelta(days=14 * k) for k in range(4)]
    rows = pa.table(
        {
            "user_key": [f"u{i}" for i in range(300)] * 4,
            "as_of": pa.array([day for day in days for _ in range(300)], pa.date32()),
        }
    )
    outer = Split((days[0],), (days[0],), (days[0],), by_user=True)
    alone = Split((days[0], days[1]), (days[2],), (days[3],))
    inner = alone.within(outer)
    assert inner.spared == (days[0],)
    teaching, testing = (in_cuts(rows, [cut]) for cut in (inner.cut("train"), outer.cut("test")))
    assert 30 < testing.sum() < 90
    assert not (teaching & testing).any()
    assert (teaching | testing)[:600].all()
    for part in ("valid", "test"):
        assert inner.cut(part) == alone.cut(part)
    # by time, or both by user, no row that tests the one teaches the other
    assert alone.within(alone) == alone
    assert alone.within(None) == alone
    assert outer.within(outer) == outer
