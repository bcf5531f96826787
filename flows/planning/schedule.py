"""The schedule of nights: which of them is due, and which midnight each means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from contracts.days import ONE_DAY, midnight_before
from contracts.errors import UsageError

_YEARS = range(2020, 2041)
"""Whose clock changes decide what a night means: constant, so that no night moves another."""


@dataclass(frozen=True)
class Schedule:
    """A cron schedule by the clock on the wall of a time zone."""

    cron: str
    timezone: str

    def as_of(self, scheduled: datetime) -> date:
        """The midnight UTC that a run means: of one that the schedule started, its night's; of one
        that a person started, the latest."""
        run = self.due(scheduled)
        if run is not None and scheduled.astimezone(UTC) in self._starts(run):
            return self._meant(run)
        return midnight_before(scheduled)

    def newest_due(self, moment: datetime) -> date:
        """The midnight UTC that the newest night means which was to start at or before `moment`."""
        run = self.due(moment)
        return midnight_before(moment) if run is None else self._meant(run)

    def due(self, moment: datetime) -> datetime | None:
        """When that night was to start, by the clock on the wall; None if none ever was."""
        # A time that the clock skips starts before the wall shows it, so look from a day on.
        wall = moment.astimezone(self._zone).replace(tzinfo=None) + ONE_DAY
        nights = croniter(self.cron, wall)
        while True:
            try:
                run: datetime = nights.get_prev(datetime)
            except CroniterBadDateError:
                return None
            if min(self._starts(run)) <= moment:
                return run

    def _starts(self, run: datetime) -> tuple[datetime, datetime]:
        """When a night can start, UTC: one moment, but for times that the clock skips or repeats,
        which the scheduler may read either way."""
        first, second = (
            run.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)
        )
        return first, second

    def _meant(self, run: datetime) -> date:
        """As many days before or after its own date all year, and never after its start.

        The latest midnight UTC would not do: a night at 1:00 in Berlin starts at 23:00 UTC in
        summer and at 0:00 in winter, so that one midnight would be skipped in autumn, and another
        scored twice in spring.
        """
        into_day = timedelta(hours=run.hour, minutes=run.minute, seconds=run.second)
        return run.date() + timedelta(
            days=min((into_day - offset) // ONE_DAY for offset in _offsets(self.timezone))
        )

    @property
    def _zone(self) -> ZoneInfo:
        return _zone(self.timezone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageError(
            f"nightly_timezone = {name!r}: expected a time zone such as Europe/Berlin"
        ) from None


@lru_cache
def _offsets(name: str) -> frozenset[timedelta]:
    """How far a zone's clock is ahead of UTC over the years, in summer and winter."""
    weeks = (
        datetime(_YEARS.start, 1, 1, tzinfo=UTC) + timedelta(weeks=week)
        for week in range(len(_YEARS) * 52)
    )
    offsets = (week.astimezone(_zone(name)).utcoffset() for week in weeks)
    return frozenset(offset for offset in offsets if offset is not None)
