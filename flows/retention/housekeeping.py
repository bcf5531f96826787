"""Housekeeping: a home that runs every night does not grow but with its data."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine, select

from contracts.content import KEEP_MODEL_DAYS
from contracts.counts import n_of
from contracts.days import example_days
from contracts.errors import ContractError
from contracts.recommendation_tables import (
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.surfaces import ranker_days
from contracts.table import Table
from contracts.tables import (
    ITEM_FEATURES,
    TABLES,
    USER_FEATURES,
    USER_STATE,
)
from flows.lake import maintenance
from flows.lake.home_binding import open_home, open_lake
from flows.lake.lake import Lake
from flows.learning.ranking import STAGE as RANK
from flows.learning.ranking import kept_since
from flows.lifecycle.errors import sentence
from flows.lifecycle.progress import Say
from flows.release.releases import Release, Releases, tag_of
from flows.settings import NightjarSettings
from flows.state.receipts import Receipts, trained_on
from flows.state.schema import RECEIPTS, RELEASES, RUNS
from flows.state.writer_lock import writing
from flows.steps.prefect_tasks import patience
from flows.storage.storage import Storage

_CANDIDATES = (REC_ITEMS, REC_HISTORIES, REC_POPULAR, REC_CANDIDATES, REC_RETRIEVED)
"""What rankers learn from as of past days."""


@dataclass
class Housekeeping:
    """What housekeeping would do, or did."""

    days: dict[Table, list[date]] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    """Whose snapshots are no longer kept: they cannot be rolled back to."""
    snapshots: dict[Table, list[int]] = field(default_factory=dict)
    months: dict[Table, list[date]] = field(default_factory=dict)
    small_files: int = 0
    branches: dict[Table, list[str]] = field(default_factory=dict)
    """Of releases that were never published, by now of use to nobody."""
    runs: list[str] = field(default_factory=list)
    rankers: list[str] = field(default_factory=list)
    """Folders of what recommendations of releases were ranked with that are kept no more."""
    content_models: list[str] = field(default_factory=list)
    """Folders of what texts of long ago were scored with."""
    stale: maintenance.Stale = field(default_factory=maintenance.Stale)
    written_by: set[str] = field(default_factory=set)
    """Runs whose files are in use before it starts."""

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        """What, how many, which: for a person."""
        lines = [
            (f"days of {t.name}", str(len(d)), f"{d[0]} to {d[-1]}")
            for t, d in self.days.items()
            if d
        ]
        if self.releases:
            ids = ", ".join(r.release_id for r in self.releases)
            lines.append(("releases to go back to", str(len(self.releases)), ids))
        lines += [
            (f"months of {t.name} to one file", str(len(m)), f"{m[0]:%Y-%m} to {m[-1]:%Y-%m}")
            for t, m in self.months.items()
            if m
        ]
        if self.small_files > maintenance.MAX_SMALL:
            lines.append(("files of small tables to one", str(self.small_files), ""))
        branches = [name for names in self.branches.values() for name in names]
        if branches:
            lines.append(("unpublished branches", str(len(branches)), ", ".join(branches)))
        n = sum(len(s) for s in self.snapshots.values())
        if n:
            lines.append(
                (
                    "snapshots",
                    str(n),
                    f"of {n_of(sum(map(bool, self.snapshots.values())), 'table')}",
                )
            )
        if self.runs:
            lines.append(("folders of runs", str(len(self.runs)), ""))
        if self.rankers:
            lines.append(("rankers", str(len(self.rankers)), ""))
        if self.content_models:
            lines.append(("models of texts", str(len(self.content_models)), ""))
        if self.stale.files:
            lines.append(
                ("unreferenced files", str(len(self.stale.files)), _size(self.stale.bytes))
            )
        return lines


@dataclass(frozen=True)
class Subject:
    """A home with its settings, at a moment."""

    settings: NightjarSettings
    engine: Engine
    lake: Lake
    receipts: Receipts
    releases: Releases
    at: datetime


def run_housekeeping(
    settings: NightjarSettings, dry_run: bool, at: datetime, say: Say
) -> Housekeeping:
    """Drop old days, compact, expire snapshots, remove what nothing reaches; or only say so.

    Days go first, so that what they leave unreferenced goes by age the next time.
    """
    engine = open_home(settings)
    lake, releases = open_lake(settings, engine), Releases(engine)
    current = releases.current()
    if current is None:
        say("nothing has been released yet: nothing to remove or rewrite")
        return Housekeeping()
    check_has(lake, current)
    if dry_run:
        subject = Subject(settings, engine, lake, Receipts(engine), releases, at)
        work = planned(subject, current)
        work.stale = unreferenced(subject)
        return work
    run_id = f"housekeeping-{at:%Y%m%dT%H%M%S}"
    with writing(engine, run_id, "housekeeping", patience(), say=say) as lease:
        lake.hold(lease)
        # What there is to do is looked up only now, when nobody else writes.
        subject = Subject(settings, engine, lake, Receipts(engine), releases, at)
        work = planned(subject, releases.current() or current)
        carry_out(subject, work, run_id, say)
        work.stale = unreferenced(subject, work.written_by)
        maintenance.remove(lake, work.stale)
    return work


def check_has(lake: Lake, release: Release) -> None:
    """Refuse a catalogue that is older than a release: files of later commits would look as if
    nothing needed them.

    Raises:
        ContractError: it lacks a snapshot that the release names.
    """
    for table in TABLES:
        snapshot = release.snapshots.get(table.name)
        if snapshot is not None and not lake.has_snapshot(table, snapshot):
            raise ContractError(
                f"nothing was removed: release {release.release_id} names snapshot {snapshot} of "
                f"{table.name}, which the catalogue does not have, as if it were an older copy. "
                "Put the newer one back, or make a release with this one first (nightjar run)"
            )


def known_runs(engine: Engine) -> set[str]:
    """Runs of this home that have written files."""
    with engine.connect() as connection:
        return {
            str(run_id)
            for table in (RUNS, RECEIPTS, RELEASES)
            for run_id in connection.execute(select(table.c.run_id).distinct()).scalars()
        }


def unreferenced(subject: Subject, runs: Collection[str] = ()) -> maintenance.Stale:
    """Files of this home's runs, and of `runs`, that nothing reaches and that are old enough."""
    before = subject.at - timedelta(hours=subject.settings.keep_files_hours)
    return maintenance.stale_files(subject.lake, known_runs(subject.engine) | set(runs), before)


def planned(subject: Subject, current: Release) -> Housekeeping:
    """What there is to do, but for files that only become unreferenced by it."""
    settings, lake = subject.settings, subject.lake
    compact_until = current.as_of - timedelta(days=settings.compact_after_days)
    left = subject.at - timedelta(days=settings.keep_snapshot_days)
    return Housekeeping(
        days=old_days(settings, subject.receipts, current),
        releases=old_releases(settings, lake, subject.releases),
        snapshots=expirable_snapshots(subject),
        months={
            table: maintenance.months_to_compact(lake, table, compact_until)
            for table in maintenance.COMPACTED
        },
        small_files=maintenance.small_table_files(lake),
        branches={table: maintenance.left_branches(lake, table, left) for table in TABLES},
        runs=old_runs(settings, subject.at),
        rankers=old_rankers(subject),
        content_models=old_content_models(subject),
        # What earlier versions wrote is in no list of runs, but their tables lead to it so far.
        written_by=maintenance.runs_of(lake, maintenance.reached_files(lake)),
    )


def carry_out(subject: Subject, work: Housekeeping, run_id: str, say: Say) -> None:
    """Do what was planned, but for unreferenced files."""
    lake = subject.lake
    for table, days in work.days.items():
        if days:
            # The receipts go first: a receipt without rows would be untrue.
            subject.receipts.drop(table.name, days)
            lake.drop_days(table, days)
    for table, months in work.months.items():
        for month in months:
            saved = maintenance.compact_month(lake, table, month, lake.staging(run_id, table.name))
            say(f"{table.name} {month:%Y-%m}: {n_of(saved, 'file')} fewer")
    if work.small_files > maintenance.MAX_SMALL:
        maintenance.compact_small_tables(lake)
    for table, branches in work.branches.items():
        for name in branches:
            lake.drop_branch(table, name)
    for release in work.releases:
        for table in TABLES:
            lake.untag(table, tag_of(release.release_id))
    work.snapshots = expirable_snapshots(subject)
    for table, snapshots in work.snapshots.items():
        maintenance.expire(lake, table, snapshots)
    gone = (*work.runs, *work.rankers, *work.content_models)
    for problem in remove_folders(subject.settings.home_folder.storage, gone):
        say(f"warning: a folder is still there: {problem}")


def remove_folders(storage: Storage, folders: Iterable[str]) -> list[str]:
    """Remove all that can be removed.

    Returns:
        Of each other one where and why something of it is left, in words.
    """
    problems = []
    for folder in folders:
        try:
            storage.remove_folder(folder)
        except OSError as error:
            problems.append(sentence(error))
    return problems


def old_days(
    settings: NightjarSettings, receipts: Receipts, current: Release
) -> dict[Table, list[date]]:
    """As-of days past their retention. Days that training and rankers learn from stay."""
    newest = current.as_of
    n_learned = settings.ranking.learn_days
    ranked = set(ranker_days(settings.configured_surfaces, n_learned, newest, date.min))
    examples = set(
        example_days(
            newest + timedelta(days=settings.example_spacing_days),
            date.min,
            settings.example_spacing_days,
            settings.example_max_days + 1,
            settings.min_history_days,
        )
    )
    kept_days = {
        USER_STATE: settings.keep_state_days,
        USER_FEATURES: settings.keep_feature_days,
        ITEM_FEATURES: settings.keep_feature_days,
    }
    since = {
        table: None if keep is None else newest - timedelta(days=keep)
        for table, keep in kept_days.items()
    }
    since |= dict.fromkeys(_CANDIDATES, kept_since(settings, newest))
    old = {}
    for table, first in since.items():
        days = receipts.days(table.name)
        spared = set(days[-3:])
        if table not in (*_CANDIDATES, USER_STATE):
            spared |= examples | ranked
        old[table] = [] if first is None else [d for d in days if d < first and d not in spared]
    return old


def kept_releases(settings: NightjarSettings, releases: Releases) -> list[Release]:
    """The newest releases that stand, and the current one."""
    current = releases.current()
    standing = [r for r in releases.all() if r.withdrawn_at is None]
    kept = standing[-settings.keep_releases :]
    return kept if current is None or current in kept else [*kept, current]


def old_releases(settings: NightjarSettings, lake: Lake, releases: Releases) -> list[Release]:
    """All others, as far as their tags are still there."""
    kept = kept_releases(settings, releases)
    tags = {name for table in TABLES for name in lake.table(table).metadata.refs}
    return [r for r in releases.all() if r not in kept and tag_of(r.release_id) in tags]


def old_runs(settings: NightjarSettings, at: datetime) -> list[str]:
    """Folders that runs left for looking into, after some weeks."""
    limit = at - timedelta(days=settings.keep_run_days)
    home = settings.home_folder
    return [run.location for run in home.storage.folders(home.runs) if run.changed_at < limit]


def old_rankers(subject: Subject) -> list[str]:
    """Folders of rankers that no kept release's lists were made with, but for new ones, which a run
    may be about to keep."""
    settings, home = subject.settings, subject.settings.home_folder
    days = {day for release in kept_releases(settings, subject.releases)
            for day in (*release.days, release.as_of)}  # fmt: skip
    receipts = (subject.receipts.get(RANK, day) for day in days)
    kept = {home.ranker(receipt.outputs["ranker"]) for receipt in receipts if receipt is not None}
    limit = subject.at - timedelta(hours=settings.keep_files_hours)
    return [
        folder.location
        for folder in home.storage.folders(home.rankers)
        if folder.location not in kept and folder.changed_at < limit
    ]


def old_content_models(subject: Subject) -> list[str]:
    """Folders of what no night scores texts with any more: a cut's model chooses the next one as
    well. Days of long ago that are scored again have theirs made anew, the same."""
    limit = subject.at - timedelta(days=KEEP_MODEL_DAYS)
    home = subject.settings.home_folder
    return [
        folder.location
        for folder in home.storage.folders(home.content_models)
        if folder.changed_at < limit
    ]


def expirable_snapshots(subject: Subject) -> dict[Table, list[int]]:
    """Snapshots that no kept release and no training of a kept release's model needs."""
    settings, lake = subject.settings, subject.lake
    before = subject.at - timedelta(days=settings.keep_snapshot_days)
    old = {tag_of(r.release_id) for r in old_releases(settings, lake, subject.releases)}
    kept = kept_releases(settings, subject.releases)
    trained = trained_on(subject.receipts, {release.model_id for release in kept})
    expirable = {}
    for table in TABLES:
        needed = {r.snapshots[table.name] for r in kept if table.name in r.snapshots}
        needed |= trained.get(table.name, set())
        names = old | set(maintenance.left_branches(lake, table, before))
        expirable[table] = maintenance.expirable(
            lake, table, needed, before, settings.keep_snapshots, names
        )
    return expirable


def _size(n: int) -> str:
    return f"{n / 1e6:,.1f} MB"


def now() -> datetime:
    return datetime.now(UTC)
