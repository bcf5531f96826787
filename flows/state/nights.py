"""Nights as the database remembers them: which runs were of which night, and how long they took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Engine, select

from flows.state.schema import RELEASES, RUNS, as_utc

NIGHT, DATA, TRAINING = "the night", "the data", "the training"
"""What runs bring up to date: a night, or on pools a part of one."""
LONGEST = timedelta(days=1)
"""A run that began earlier than this before the publication was another try, unless it is the one
that published."""


def name_of(part: str, as_of: date) -> str:
    """What a run is called that writes for a night, such as `the night of 2025-01-31`."""
    return f"{part} of {as_of}"


@dataclass(frozen=True)
class Night:
    """A night that has published a release."""

    as_of: date
    run_ids: frozenset[str]
    """Of all its runs: of its parts, and of tries that stopped, as well."""
    seconds: float
    """From the start of the first run to the publication."""


def nights(engine: Engine) -> tuple[Night, ...]:
    """Every night that has published a release, oldest first."""
    with engine.connect() as connection:
        runs = connection.execute(select(RUNS.c.what, RUNS.c.run_id, RUNS.c.started_at)).all()
        releases = connection.execute(select(RELEASES.c.run_id, RELEASES.c.published_at)).all()
    published = {run_id: as_utc(at) for run_id, at in releases}
    by_day: dict[date, dict[str, datetime]] = {}
    for what, run_id, started_at in runs:
        day = _day_of(what)
        if day is not None:
            by_day.setdefault(day, {})[run_id] = as_utc(started_at)
    known = []
    for day, starts in sorted(by_day.items()):
        ends = {published[run_id]: at for run_id, at in starts.items() if run_id in published}
        if ends:
            end = max(ends)
            tries = (at for at in starts.values() if end - LONGEST <= at <= end)
            start = min([ends[end], *tries])
            # A clock that was set back publishes before it has begun.
            seconds = max((end - start).total_seconds(), 0.0)
            known.append(Night(day, frozenset(starts), seconds))
    return tuple(known)


def _day_of(what: str) -> date | None:
    """The night that a run is of, by what it is called; None if it is none of a night's."""
    part, _, day = what.rpartition(" of ")
    return date.fromisoformat(day) if part in (NIGHT, DATA, TRAINING) else None
