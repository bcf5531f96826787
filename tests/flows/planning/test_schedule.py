"""Each scheduled night means a midnight of its own, whatever the clocks do."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from prefect.server.schemas.schedules import CronSchedule

from contracts.errors import UsageError
from flows.planning.schedule import Schedule


def starts(cron: str, zone: str, since: datetime, n: int) -> list[datetime]:
    """When Prefect starts runs."""
    schedule = CronSchedule(cron=cron, timezone=zone)
    return [
        datetime.fromtimestamp(start.timestamp(), UTC)
        for start in asyncio.run(schedule.get_dates(n, start=since))
    ]


@pytest.mark.parametrize(
    "zone",
    ["UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Australia/Lord_Howe",
     "Asia/Tokyo", "America/Havana", "Pacific/Auckland"],
)  # fmt: skip
def test_nights_in_a_row_mean_midnights_in_a_row_each_once(zone: str) -> None:
    """Over both ends of summer time, and at times that the clock skips or repeats."""
    for hour, minute in ((0, 0), (0, 30), (1, 0), (2, 30), (4, 0), (19, 30), (23, 30)):
        cron = f"{minute} {hour} * * *"
        schedule = Schedule(cron, zone)
        nights = starts(cron, zone, datetime(2025, 3, 1, tzinfo=UTC), 270)
        meant = [schedule.as_of(night) for night in nights]
        assert {b - a for a, b in itertools.pairwise(meant)} == {timedelta(days=1)}, (zone, cron)
        for night, day in zip(nights, meant, strict=True):
            midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
            assert timedelta(0) <= night - midnight < timedelta(days=2), (zone, cron, night)
            assert schedule.newest_due(night + timedelta(hours=9)) == day
            assert schedule.newest_due(night - timedelta(seconds=1)) == day - timedelta(days=1)


def test_over_years_no_midnight_is_skipped_or_scored_twice() -> None:
    schedule = Schedule("0 1 * * *", "Europe/Berlin")
    nights = starts(schedule.cron, schedule.timezone, datetime(2024, 6, 1, tzinfo=UTC), 1000)
    meant = [schedule.as_of(night) for night in nights]
    assert meant == [date(2024, 6, 1) + timedelta(days=n) for n in range(1000)]


def test_a_run_that_a_person_starts_means_the_latest_midnight() -> None:
    schedule = Schedule("0 1 * * *", "Europe/Berlin")
    by_hand = datetime(2025, 1, 15, 10, 20, 30, 123, tzinfo=UTC)
    assert schedule.as_of(by_hand) == date(2025, 1, 15)
    assert schedule.newest_due(by_hand) == date(2025, 1, 14)  # the night at 0:00 UTC meant the 14th


def test_a_release_is_due_of_the_midnight_that_the_last_night_meant() -> None:
    """In Tokyo a night at 4:00 starts before, and its release may be due after, midnight UTC."""
    schedule = Schedule("0 4 * * *", "Asia/Tokyo")
    night = datetime(2025, 1, 14, 19, 0, tzinfo=UTC)
    assert schedule.as_of(night) == date(2025, 1, 14)
    due = datetime(2025, 1, 15, 1, 0, tzinfo=UTC)  # 10:00 in Tokyo
    assert schedule.newest_due(due) == date(2025, 1, 14)


def test_nights_of_working_days_and_twice_a_day_mean_what_has_passed() -> None:
    working = Schedule("0 4 * * 1-5", "Europe/Berlin")
    sunday = datetime(2025, 6, 15, 8, 0, tzinfo=UTC)
    assert working.newest_due(sunday) == date(2025, 6, 13)
    twice = Schedule("0 1,13 * * *", "Europe/Berlin")
    at_one, at_noon = (datetime(2025, 1, 15, hour, 0, tzinfo=UTC) for hour in (0, 12))
    assert (twice.as_of(at_one), twice.as_of(at_noon)) == (date(2025, 1, 14), date(2025, 1, 15))


def test_a_time_zone_that_is_none_is_named() -> None:
    with pytest.raises(UsageError) as error:
        Schedule("0 1 * * *", "Europe/Belin").as_of(datetime(2025, 1, 1, tzinfo=UTC))
    assert str(error.value) == (
        "nightly_timezone = 'Europe/Belin': expected a time zone such as Europe/Berlin"
    )
