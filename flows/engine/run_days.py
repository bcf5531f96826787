"""The days that a run is about, going by raw files, by what has landed, and by what a plan expects
to land."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from contracts.clean_tables import CLEAN_TABLES
from contracts.errors import ContractError
from contracts.history import Trainable, first_days_of, trainable, waiting
from contracts.surfaces import ranker_days
from contracts.tables import LANDED
from flows.engine.fingerprints import Decision, decide, land_fingerprint, landing_stage
from flows.engine.home_state import HomeState
from flows.engine.run_context import RunContext
from flows.release.releases import Releases
from jobs.mapping.sources import RawFile, Source


@dataclass(frozen=True)
class ExpectedDays:
    """Days on which a plan expects rows to land before anything else is done."""

    days: frozenset[date] = frozenset()
    has_more: bool = False
    """Whether it expects days besides, which are not known before files are read."""


@dataclass(frozen=True)
class RunDays:
    """Days of raw files, landed days, days to learn from, and first days of tasks."""

    context: RunContext
    state: HomeState
    files: Mapping[str, tuple[RawFile, ...]] = field(default_factory=dict)
    """Source to its raw files; empty while nobody has looked at them."""
    expected: ExpectedDays = ExpectedDays()

    def expecting(self, days: Collection[date], has_more: bool = False) -> RunDays:
        """The same, where rows are expected to land on these days as well."""
        known = self.expected
        more = ExpectedDays(known.days | frozenset(days), known.has_more or has_more)
        return replace(self, expected=more)

    @property
    def as_of(self) -> date:
        return self.context.as_of

    @property
    def landed_days(self) -> tuple[date, ...]:
        """Days before `as_of` on which something landed, now or in an earlier mapping.

        Raises:
            ContractError: there is none.
        """
        receipts, fingerprints = self.state.receipts, self.state.fingerprints
        days = {
            day
            for source in self.context.mapping.sources
            for day in fingerprints.digests(landing_stage(source), LANDED.name)
        }
        # A source that left the mapping leaves days that must be cleaned again, to nothing.
        days |= {day for table in CLEAN_TABLES for day in receipts.days(f"clean_{table.name}")}
        days |= self.expected.days
        landed = tuple(sorted(day for day in days if day < self.as_of))
        if not landed and not self.expected.has_more:
            raise ContractError(f"no row landed before {self.as_of}: every raw file is empty")
        return landed

    @property
    def example_days(self) -> tuple[date, ...]:
        """Past as-of days to learn from; none while no day is known on which rows landed."""
        landed = self.landed_days
        if not landed:
            return ()
        return self.context.settings.training_days.before(self.as_of, landed[0])

    def ranker_days(self, day: date) -> tuple[date, ...]:
        """Past as-of days that rankers as of `day` learn from, oldest first: those with
        `min_history_days` of landed days before them."""
        landed, settings = self.landed_days, self.context.settings
        if not landed:
            return ()
        earliest = landed[0] + timedelta(days=settings.min_history_days)
        return ranker_days(self.context.surfaces, settings.ranking.learn_days, day, earliest)

    @property
    def first_days(self) -> dict[str, date]:
        """Task to the first day with raw rows that it is labelled from, going by what has landed
        and, once they were looked at, by the files; without tasks of which there is a file with
        days of its own that was not read as it is now."""
        mapping = self.context.mapping
        of_sources = {source.name: self._raw_days(source) for source in mapping.sources}
        of_tables: dict[str, date | None] = {}
        for table in mapping.mapped_tables:
            known: set[date] = set()
            for source, _ in mapping.feeding(table):
                days = of_sources[source.name]
                if days is None:
                    of_tables[table] = None
                    break
                known |= days
            else:
                of_tables[table] = min(known, default=self.as_of)  # tonight at the earliest
        return first_days_of(self.context.tasks, of_tables)

    def _raw_days(self, source: Source) -> set[date] | None:
        """The days with raw rows of a source; None while they are not known."""
        stage = landing_stage(source)
        days = set(self.state.fingerprints.digests(stage, LANDED.name))
        if not self.files:
            return days
        if source.landed_on is None:
            days |= {file.landed_on for file in self.files[source.name] if file.landed_on}
        elif not self.state.receipts.days(stage) or not all(
            decision.reuse for decision in self.land_decisions(source)
        ):
            return None
        return days

    @property
    def trainable(self) -> tuple[Trainable, ...]:
        """What tonight can be trained, and from when the rest can, as far as it is known."""
        settings = self.context.settings
        return trainable(self.context.tasks, self.first_days, self.as_of, settings.training_days)

    def check_history(self) -> None:
        """Stop where dates alone say that nothing can be trained, and nothing was before.

        Not where nothing is to be trained: `no_train`.

        Raises:
            ContractError: no task can be trained; the message says from which night each can.
        """
        if self.context.settings.no_train:
            return
        if Releases(self.state.engine).champion(self.as_of) is not None:
            return
        trainable = self.trainable
        if len(trainable) == len(self.context.tasks) and not any(f.split for f in trainable):
            first_day = min(self.first_days.values())
            raise ContractError(
                "\n".join(
                    [
                        f"no task can be trained as of {self.as_of}: the data begin on "
                        f"{first_day}, which is too little history. Tasks can be trained",
                        *(f"  {line}" for line in waiting(trainable)),
                        "Until then --no-train publishes features and labels without scores",
                    ]
                )
            )

    def land_decisions(self, source: Source) -> tuple[Decision, ...]:
        """What is to be done about each day of a source's files; `date.min` if they have none."""
        by_day = self.files_by_day(source)
        hashes = self.state.hashes.of(file.path for group in by_day.values() for file in group)
        stage = landing_stage(source)
        return tuple(
            decide(
                stage,
                day,
                land_fingerprint(source, by_day[day], hashes),
                self.state.receipts.get(stage, day),
            )
            for day in sorted(by_day)
        )

    def files_by_day(self, source: Source) -> dict[date, list[RawFile]]:
        """The source's files by the day that their names say; `date.min` if they say none."""
        by_day: dict[date, list[RawFile]] = {}
        for file in self.files[source.name]:
            by_day.setdefault(file.landed_on or date.min, []).append(file)
        return by_day
