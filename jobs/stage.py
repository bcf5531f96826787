"""What a stage of a run is: which days of which tables it reads, and what it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from pyspark.sql import DataFrame

from contracts.ranking_config import RankingConfig
from contracts.surfaces import SURFACES, Surface, mapped_surfaces
from contracts.table import Table
from jobs.mapping.sources import SourceMapping
from jobs.values.user_key import UserKey


@dataclass(frozen=True)
class Read:
    """The partitions of a table that one output day depends on: half-open offsets in days."""

    table: Table
    start: int | None
    """Days from the output day to the first partition; None is the beginning of time."""
    end: int | None
    """Days from the output day to just past the last; None is everything known by now."""
    within: int | None = None
    """Days from the output day to just past the last on which anything that matters happens:
    partitions in which everything happened later do not count. None: they all count."""
    carried: bool = False
    """Whether the table that the job may start from has what landed before its day."""

    def bounds(self, day: date, known_until: date) -> tuple[date | None, date]:
        """The half-open range of partitions; a start of None is open."""
        start = None if self.start is None else day + timedelta(days=self.start)
        end = known_until if self.end is None else day + timedelta(days=self.end)
        return start, end


@dataclass(frozen=True)
class Settings:
    """What the jobs need to know besides data and days."""

    mapping: SourceMapping
    key: UserKey
    settle_days: int = 2
    """Days after a label's window in which late rows may still land."""
    known_until: date = date.max
    """A midnight: labels use what landed before it."""
    surfaces: tuple[Surface, ...] = SURFACES
    """Every surface, as the settings have it; those are on whose tables the mapping has."""
    ranking: RankingConfig = field(default_factory=RankingConfig)

    @property
    def mapped_surfaces(self) -> tuple[Surface, ...]:
        """The surfaces that are on."""
        return mapped_surfaces(self.surfaces, self.mapping.mapped_tables)


@dataclass(frozen=True)
class Output:
    """What a job computes: a DataFrame per table, and one to be kept in memory meanwhile."""

    tables: Mapping[str, DataFrame]
    shared: DataFrame | None = None


Engine = Literal["one-pass", "per-day"]
"""How a range of days is computed: all in one pass over what they read, or each on its own."""

Inputs = Mapping[str, DataFrame]

Compute = Callable[[Inputs, Sequence[date], Settings], Output]

OnePass = Callable[[Inputs, Sequence[date], Settings, str], DataFrame]
"""Inputs, days, settings, and the folder to write the days' files of the job's one table to."""


@dataclass(frozen=True)
class Stage:
    """One stage of a run: what its rows of a day are made of, and what it writes."""

    name: str
    doc: str
    reads: tuple[Read, ...]
    writes: tuple[Table, ...]


@dataclass(frozen=True)
class Process(Stage):
    """A stage that a process of its own computes, outside of Spark; `flows` starts it."""

    after: tuple[str, ...] = ()
    """Stages of the same day whose results it takes besides tables."""


@dataclass(frozen=True)
class Job(Stage):
    """A stage that Spark computes."""

    compute: Compute
    declared: Any = None
    """What its rows depend on of the declarations of source tables, as lists and texts; part of the
    fingerprint of its code."""
    settings: Callable[[Settings, date], Any] = field(default=lambda settings, day: None)
    """What of the settings its rows of one day depend on; part of the fingerprint."""
    lookups: Callable[[Settings, date], Mapping[str, str]] = field(default=lambda settings, day: {})
    """The small files that its rows of one day depend on besides tables: name to a hash of what
    they say of it."""
    incremental: Table | None = None
    """The table whose earlier day it may start from."""
    one_pass: OnePass | None = None
    """The same rows for many days in one pass; it writes them itself, and returns the reports."""
