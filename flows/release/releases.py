"""Releases: what analysts see changes by one row in one transaction, and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Select, delete, insert, select, update

from contracts.counts import n_of
from contracts.errors import ContractError, UsageError
from contracts.released_table import AS_OF
from contracts.tables import COMPARED_LATER, NO_MODEL, ON_BRANCH, RELEASED_TABLES
from flows.lake.lake import Lake
from flows.lifecycle.errors import sentence
from flows.release.duckdb_views import build_database, database_release
from flows.release.model_registry import Registry
from flows.state.receipts import WITHDRAWN, Receipts
from flows.state.schema import CURRENT, RECEIPTS, RELEASES, TRAINED_ON, as_utc, trained_on_erased
from flows.state.writer_lock import LeaseLost
from jobs.stage import Stage
from jobs.stages import JOBS


@dataclass(frozen=True)
class Release:
    """The snapshot of every released table, and the model: `NO_MODEL` if nobody is scored."""

    release_id: str
    as_of: date
    """The newest day it has scores of."""
    model_id: str
    fingerprint: str
    snapshots: Mapping[str, int]
    run_id: str
    published_at: datetime
    days: tuple[date, ...] = ()
    """As-of days that it added or replaced."""
    replaces: str | None = None
    """The release that was current before it."""
    withdrawn_at: datetime | None = None
    """When it was rolled back; None if it was not, or is published again."""
    reason: str | None = None
    """Why it was published, if a person said so."""
    codes: Mapping[str, str] | None = None
    """Stage to the hash of the code that had computed it last; None of an earlier version's."""
    tasks: tuple[str, ...] | None = None
    """Tasks that a model has scores of, as of its newest day; None of an earlier version's."""


def _release(row: Mapping[str, Any]) -> Release:
    values = {name: value for name, value in row.items() if name != "number"}
    values["days"] = tuple(date.fromisoformat(day) for day in row["days"] or ())
    values["tasks"] = None if row["tasks"] is None else tuple(row["tasks"])
    for name in ("published_at", "withdrawn_at"):
        values[name] = None if row[name] is None else as_utc(row[name])
    return Release(**values)


def _standing(before: date) -> Select[Any]:
    """The newest release of an earlier day that was not rolled back."""
    earlier = select(RELEASES).where(RELEASES.c.as_of < before, RELEASES.c.withdrawn_at.is_(None))
    return earlier.order_by(RELEASES.c.number.desc()).limit(1)


class Releases:
    """The rows of releases, and which of them is current."""

    def __init__(self, engine: Engine):
        self._engine = engine

    @property
    def trained_on_erased(self) -> dict[str, int]:
        """Model to how many people it was trained on who were erased since."""
        return trained_on_erased(self._engine)

    def all(self) -> tuple[Release, ...]:
        """Every release, oldest first."""
        return self._some(select(RELEASES).order_by(RELEASES.c.number))

    def newest(self, limit: int) -> tuple[Release, ...]:
        """The releases that were published last, newest first; no other is read."""
        return self._some(select(RELEASES).order_by(RELEASES.c.number.desc()).limit(limit))

    def of(self, release_id: str | None) -> Release | None:
        """The release of an id; None if there is none."""
        releases = self._some(select(RELEASES).where(RELEASES.c.release_id == release_id))
        return releases[0] if releases else None

    def current(self) -> Release | None:
        """What analysts see; None before the first night."""
        releases = self._some(
            select(RELEASES).join(CURRENT, CURRENT.c.release_id == RELEASES.c.release_id)
        )
        return releases[0] if releases else None

    def unannounced(self) -> Release | None:
        """The current release, if it was not announced downstream yet."""
        releases = self._some(
            select(RELEASES)
            .join(CURRENT, CURRENT.c.release_id == RELEASES.c.release_id)
            .where(CURRENT.c.announced_at.is_(None))
        )
        return releases[0] if releases else None

    def mark_announced(self, release_id: str) -> None:
        """Remember that this release was announced downstream."""
        with self._engine.begin() as connection:
            change = update(CURRENT).where(CURRENT.c.release_id == release_id)
            connection.execute(change.values(announced_at=now()))

    def before(self, as_of: date) -> Release | None:
        """The current line's newest release of an earlier day."""
        releases = self._some(_standing(as_of))
        return releases[0] if releases else None

    def _some(self, asked: Select[Any]) -> tuple[Release, ...]:
        with self._engine.connect() as connection:
            rows = connection.execute(asked).mappings()
            return tuple(_release(dict(row)) for row in rows)

    def champion(self, as_of: date) -> str | None:
        """The model of the current line's newest release of an earlier day that has one."""
        releases = self._some(_standing(as_of).where(RELEASES.c.model_id != NO_MODEL))
        return releases[0].model_id if releases else None

    def publish(self, release: Release) -> None:
        """Add the release and make it current: one transaction, and it is the truth."""
        with self._engine.begin() as connection:
            connection.execute(delete(RELEASES).where(RELEASES.c.release_id == release.release_id))
            connection.execute(
                insert(RELEASES).values(
                    release_id=release.release_id,
                    as_of=release.as_of,
                    model_id=release.model_id,
                    fingerprint=release.fingerprint,
                    snapshots=dict(release.snapshots),
                    run_id=release.run_id,
                    published_at=release.published_at,
                    days=[day.isoformat() for day in release.days],
                    replaces=release.replaces,
                    reason=release.reason,
                    codes=None if release.codes is None else dict(release.codes),
                    tasks=None if release.tasks is None else list(release.tasks),
                )
            )
            connection.execute(delete(CURRENT))
            connection.execute(insert(CURRENT).values(id=1, release_id=release.release_id))

    def named(self, text: str) -> Release:
        """The release whose id is or starts with `text`.

        Raises:
            UsageError: there is none, or more than one.
        """
        matching = [r for r in self.all() if r.release_id.startswith(text)]
        exact = [r for r in matching if r.release_id == text]
        if len(exact or matching) != 1:
            what = "no release" if not matching else f"{len(matching)} releases"
            raise UsageError(f"{text}: {what} of that name; `nightjar releases` lists them")
        return (exact or matching)[0]

    def rollback(self, lake: Lake) -> tuple[Release, Release]:
        """Make the release before current again, and what the current one computed of its days
        never reused: one transaction.

        Returns:
            The release that was withdrawn, and the one that is current now.

        Raises:
            ContractError: there is no release before the current one, or housekeeping has
                dropped it; nothing has changed.
        """
        current = self.current()
        before = self.of(current.replaces) if current else None
        if current is None or before is None or before.withdrawn_at is not None:
            raise ContractError(
                "there is no release to go back to: "
                + ("nothing was published yet" if current is None else
                   f"{current.release_id} is the first that still stands")
            )  # fmt: skip
        gone = [
            table.name
            for table in RELEASED_TABLES
            if table.name in before.snapshots
            and not lake.has_snapshot(table, before.snapshots[table.name])
        ]
        if gone:
            raise ContractError(
                f"{before.release_id} cannot come back: housekeeping has dropped its snapshots of "
                f"{', '.join(gone)}; nothing was changed"
            )
        with self._engine.begin() as connection:
            connection.execute(
                update(RELEASES)
                .where(RELEASES.c.release_id == current.release_id)
                .values(withdrawn_at=now())
            )
            connection.execute(
                update(CURRENT).values(release_id=before.release_id, announced_at=None)
            )
            connection.execute(
                update(RECEIPTS)
                .where(RECEIPTS.c.stage.in_(as_of_stages(JOBS)), RECEIPTS.c.day.in_(current.days))
                .values(inputs=WITHDRAWN)
            )
        return current, before


def scored_tasks(receipts: Receipts, as_of: date) -> tuple[str, ...]:
    """Tasks that a model has scores of as of a day, by what scoring has written down last."""
    receipt = receipts.get("score", as_of)
    return () if receipt is None else tuple(receipt.outputs["tasks"])


def release_at(releases: Releases, moment: datetime) -> str | None:
    """The release that was current at a moment, as far as can be told; None if there was none.

    A release that was published again later counts from then on only.
    """
    then = [
        r
        for r in releases.all()
        if r.published_at <= moment and (r.withdrawn_at is None or r.withdrawn_at > moment)
    ]
    return then[-1].release_id if then else None


@dataclass
class Repairs:
    """What was repaired, and what could not be: both in words."""

    done: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def repair(releases: Releases, lake: Lake, registry: Registry, database: Path) -> Repairs:
    """Bring all that follows from the current release's row in line with it, as far as it is not.

    What only shows it, MLflow's alias and tags and the file of views, stops nobody when it cannot
    be shown: it is tried again by every run. New scores are written on top of `main`, though.

    Raises:
        ContractError: `main` cannot be pointed to the release, whose snapshot is gone.
    """
    repairs = Repairs()
    _mark_erased(releases, registry, repairs)
    current = releases.current()
    if current is None:
        return repairs
    _point_tables(lake, current, repairs)
    try:
        if current.model_id != NO_MODEL and registry.point_champion(current.model_id):
            repairs.done.append(f"champion is model {current.model_id}")
    except Exception as error:
        repairs.problems.append(
            f"MLflow does not show model {current.model_id} as champion: {sentence(error)}. "
            "Nothing else depends on it; the next run tries again"
        )
    # The file of views is written last: if it shows the release, all that stands before is done.
    if database_release(database) != current.release_id:
        try:
            _show_first(releases, lake, database, current)
            repairs.done.append(f"{database.name} shows release {current.release_id}")
        except LeaseLost:
            raise
        except Exception as error:
            repairs.problems.append(
                f"{database.name} does not show release {current.release_id} yet, and analysts "
                f"read what it showed before: {sentence(error)}. The next run tries again"
            )
    return repairs


def _point_tables(lake: Lake, current: Release, repairs: Repairs) -> None:
    """Point `main` of each table that was written on the release's branch to what the release has
    of it; of a table that the release does not have yet, there is nothing."""
    for released in ON_BRANCH:
        table = released.table
        snapshot = current.snapshots.get(table.name)
        if snapshot is None:
            if lake.clear_main(table):
                repairs.done.append(f"{table.name} is empty: release {current.release_id} has none")
        elif lake.point_main(table, snapshot):
            repairs.done.append(f"{table.name} points to release {current.release_id}")


def _mark_erased(releases: Releases, registry: Registry, repairs: Repairs) -> None:
    people = releases.trained_on_erased
    if not people:
        return
    try:
        for model_id in registry.mark_erased(people):
            repairs.done.append(f"model {model_id} is marked as trained on people who were erased")
    except Exception as error:
        repairs.problems.append(
            f"MLflow does not show that {n_of(len(people), 'model was', 'models were')} trained on "
            f"people who were erased: {sentence(error)}. The database's table {TRAINED_ON.name} "
            "does; the next run tries again"
        )


def _show_first(releases: Releases, lake: Lake, database: Path, current: Release) -> None:
    """Show a release for the first time: its branch has done its work, its snapshots get names."""
    for released in ON_BRANCH:
        if released.table.name in current.snapshots:
            lake.drop_branch(released.table, branch_of(current.release_id))
    for table in RELEASED_TABLES:
        if table.name in current.snapshots:
            lake.tag(table, current.snapshots[table.name], tag_of(current.release_id))
    lake.check_writer()
    show_again(releases, lake, database)


def show_again(releases: Releases, lake: Lake, database: Path) -> bool:
    """Make the file of views anew, of the files that the current release has now. Whether there is
    a release."""
    current = releases.current()
    if current is None:
        return False
    files = {
        table: [file.path for file in lake.files(table, snapshot=current.snapshots[table.name])]
        if table.name in current.snapshots
        else []
        for table in RELEASED_TABLES
    }
    build_database(database, current.release_id, current.as_of, files)
    return True


def as_of_stages(stages: Sequence[Stage]) -> tuple[str, ...]:
    """Stages whose days are as-of days that a release adds or replaces: those that write a table of
    as-of days, and training, which writes none.

    Days of what is compared with what happened are those of earlier releases, which it reads: where
    a rollback makes another release's scores and lists count, its input has moved.
    """
    return tuple(
        stage.name
        for stage in stages
        if stage.name == "train"
        or any(t.day == AS_OF and t not in COMPARED_LATER for t in stage.writes)
    )


def branch_of(release_id: str) -> str:
    return f"release-{release_id}"


def tag_of(release_id: str) -> str:
    return f"released-{release_id}"


def now() -> datetime:
    return datetime.now(UTC)
