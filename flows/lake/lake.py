"""The lake: Iceberg tables over the Parquet files that Spark and torch write.

Nothing is visible before its commit, and a commit replaces whole days of a table.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import (
    AlwaysTrue,
    BooleanExpression,
    GreaterThanOrEqual,
    In,
    LessThan,
)
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import is_ancestor_of
from pyiceberg.transforms import IdentityTransform, MonthTransform

from contracts.days import as_ranges
from contracts.table import Table
from contracts.tables import ON_BRANCH, TABLES
from flows.lake.catalogue import NAMESPACE, open_catalogue
from flows.lake.iceberg import (
    MAX_RANGES,
    TOKEN,
    DataFile,
    all_of,
    check_files,
    conflict_as_busy,
    entries_of,
    iceberg_schema,
    iceberg_type,
    named_files,
    newest_valid,
    on_days,
    partition_spec,
    planned_files,
    rows_of,
    snapshot_is_gone,
    spec_names,
    token_of,
)
from flows.state.writer_lock import Lease, LeaseLost
from flows.storage.home import data_files, staging_folder
from flows.storage.location import join, plain_path, uri_of
from flows.storage.storage import Storage
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema

MAIN = "main"
_HOME = "nightjar.home"
_PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "10",
    "commit.manifest-merge.enabled": "true",  # else each night leaves a manifest for good
    "commit.manifest.min-count-to-merge": "20",
}


class Lake:
    """The catalogue and its tables; at `location` lie their files, and the default catalogue."""

    def __init__(self, folder: str | Path):
        location = uri_of(folder if isinstance(folder, str) else folder.absolute())
        self.storage = Storage(location)
        self.location = self.storage.make_folder(location)
        self._catalog = open_catalogue(location)
        self._lock = threading.RLock()
        self._lease: Lease | None = None

    @property
    def home_id(self) -> str | None:
        """The home that the catalogue says it is of."""
        return self._catalog.load_namespace_properties(NAMESPACE).get(_HOME)

    def mark(self, home_id: str) -> None:
        """Have the catalogue say so."""
        self._catalog.update_namespace_properties(NAMESPACE, updates={_HOME: home_id})

    def hold(self, lease: Lease) -> None:
        """Write as the run that has this lease, and as nobody else from now on.

        A run that took over from one that was not heard of leaves a snapshot in every table, so
        that a commit which the other was about to make fails, or does not count.
        """
        self._lease = lease
        if lease.took_over:
            # What counts of a table that is written on branches is what a release's row names.
            spared = {released.table for released in ON_BRANCH}
            for table in self.existing():
                if table not in spared:
                    self.writable(table).append(
                        arrow_schema(table).empty_table(), snapshot_properties=self.properties
                    )

    @property
    def properties(self) -> dict[str, str]:
        """What each snapshot says of the run that made it."""
        return {} if self._lease is None else {TOKEN: str(self._lease.token)}

    def check_writer(self) -> None:
        """Make sure that this run may still write.

        Raises:
            LeaseLost: another one took over.
        """
        if self._lease is not None:
            self._lease.check()

    def writable(self, table: Table) -> IcebergTable:
        """The table, to be changed: what does not count at the end of `main` is left behind.

        Raises:
            LeaseLost: another run took over.
        """
        iceberg = self.table(table)
        if self._lease is None:
            return iceberg
        self._lease.check()
        newest = max((token_of(s) or 0 for s in iceberg.metadata.snapshots), default=0)
        if newest > self._lease.token:
            raise LeaseLost(
                f"{table.name} was written by a later run, {newest}, than this one, "
                f"{self._lease.token}; nothing of it was changed. If the home's database is an "
                "older copy, it does not fit its lake any more"
            )
        valid = newest_valid(iceberg)
        if valid is not None and valid.snapshot_id != self._tip(iceberg, MAIN):
            iceberg.manage_snapshots().set_current_snapshot(valid.snapshot_id).commit()
            iceberg = self.table(table)
        return iceberg

    @property
    def data_files(self) -> str:
        """Where each run writes in a folder of its own."""
        return data_files(self.location)

    def existing(self) -> tuple[Table, ...]:
        """Tables of the contracts that were made already."""
        listed = {name for _, name in self._catalog.list_tables(NAMESPACE)}
        return tuple(table for table in TABLES if table.name in listed)

    def drop(self, name: str) -> None:
        """Drop a table that nothing reads any more, with all of its files."""
        if self._catalog.table_exists(f"{NAMESPACE}.{name}"):
            self._catalog.purge_table(f"{NAMESPACE}.{name}")

    def named_files(self) -> Iterator[str]:
        """Every file that a table of ours leads to, of those too that the code knows no more."""
        for name in self._catalog.list_tables(NAMESPACE):
            yield from named_files(self._catalog.load_table(name))

    def table(self, table: Table) -> IcebergTable:
        """The Iceberg table, made or widened to the contract's columns where need be."""
        name = f"{NAMESPACE}.{table.name}"
        if not self._catalog.table_exists(name):
            return self._catalog.create_table(
                name,
                iceberg_schema(table),
                partition_spec=partition_spec(table),
                properties=_PROPERTIES,
            )
        iceberg = self._catalog.load_table(name)
        absent = [c for c in table.columns if c.name not in iceberg.schema().column_names]
        if absent:
            with iceberg.update_schema() as update:
                for column in absent:
                    update.add_column(column.name, iceberg_type(column.type, 0), doc=column.doc)
        return iceberg

    def files(
        self,
        table: Table,
        start: date | None = None,
        end: date | None = None,
        where: Mapping[str, Sequence[str]] | None = None,
        snapshot: int | None = None,
    ) -> tuple[DataFile, ...]:
        """Files of the days `[start, end)`, by path; `where` narrows other partition columns."""
        parts: list[BooleanExpression] = []
        if start is not None:
            parts.append(GreaterThanOrEqual(table.day, start.isoformat()))
        if end is not None:
            parts.append(LessThan(table.day, end.isoformat()))
        parts += [In(name, list(values)) for name, values in (where or {}).items()]
        iceberg = self.table(table)
        if snapshot is None:
            valid = newest_valid(iceberg)
            if valid is None:
                return ()
            snapshot = valid.snapshot_id
        return planned_files(iceberg, all_of(parts), snapshot)

    def files_of_days(
        self,
        table: Table,
        days: Collection[date],
        where: Mapping[str, Sequence[str]] | None = None,
    ) -> tuple[DataFile, ...]:
        """Files that hold these days, by path; days between may come with them."""
        if not days:
            return ()
        if len(as_ranges(days)) > MAX_RANGES:
            return self.files(table, min(days), max(days) + timedelta(days=1), where)
        iceberg = self.table(table)
        valid = newest_valid(iceberg)
        if valid is None:
            return ()
        parts = [In(name, list(values)) for name, values in (where or {}).items()]
        return planned_files(iceberg, all_of([on_days(table, days), *parts]), valid.snapshot_id)

    def commit(
        self,
        table: Table,
        written: Mapping[date, WrittenDay],
        where: Mapping[str, str] | None = None,
        branch: str = MAIN,
    ) -> int:
        """Replace whole days of the table by the files that were written for them.

        One transaction; `where` narrows what is replaced within those days.

        Returns:
            The id of the snapshot that has them.

        Raises:
            ContractError: a file is not what the contract or its day says.
            BusyError: somebody else has committed these days at the same time.
        """
        listed = [path for day in written.values() for path in day.files]
        paths = sorted(set(listed))
        check_files(table, written)
        replaced = rows_of(table, written, where)
        with self._lock:
            iceberg = self._partitioned(table, by_month=len(paths) < len(listed))
            with conflict_as_busy(table), iceberg.transaction() as transaction:
                if self._has_rows(iceberg, replaced, branch):
                    transaction.delete(replaced, branch=branch, snapshot_properties=self.properties)
                if paths:
                    transaction.add_files(
                        [uri_of(path) for path in paths],
                        check_duplicate_files=False,
                        branch=branch,
                        snapshot_properties=self.properties,
                    )
            return self._tip(self.table(table), branch)

    def replace_rows(
        self,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        days: Sequence[date],
        where: Mapping[str, str],
    ) -> int:
        """Replace the rows of some days of a small table, which has no partitions."""
        data = pa.Table.from_pylist([dict(row) for row in rows], schema=arrow_schema(table))
        replaced = rows_of(table, days, where)
        with self._lock:
            iceberg = self.writable(table)
            with conflict_as_busy(table), iceberg.transaction() as transaction:
                if self._has_rows(iceberg, replaced, MAIN):
                    transaction.delete(replaced, snapshot_properties=self.properties)
                transaction.append(data, snapshot_properties=self.properties)
            return self._tip(self.table(table), MAIN)

    def _partitioned(self, table: Table, by_month: bool) -> IcebergTable:
        """The table, made to take files of a day, or of a month: files keep how they were added.

        Iceberg calls it evolving the partition spec; nothing is rewritten.
        """
        iceberg = self.writable(table)
        month = f"{table.day}_month"
        if not table.partition or by_month == (month in spec_names(iceberg)):
            return iceberg
        with iceberg.update_spec() as update:
            if by_month:
                update.remove_field(table.day)
                update.add_field(table.day, MonthTransform(), month)
            else:
                update.remove_field(month)
                update.add_field(table.day, IdentityTransform(), table.day)
        return self.table(table)

    def snapshot(self, table: Table, ref: str = MAIN) -> int | None:
        """The snapshot that a branch points to; None for a table never written."""
        iceberg = newest_valid(self.table(table), ref)
        return None if iceberg is None else iceberg.snapshot_id

    def branch(self, table: Table, name: str) -> None:
        """A branch that starts at `main`, which starts as an empty snapshot if there is none."""
        with self._lock:
            iceberg = self.writable(table)
            if iceberg.current_snapshot() is None:
                iceberg.append(
                    arrow_schema(table).empty_table(), snapshot_properties=self.properties
                )
                iceberg = self.table(table)
            tip = self._tip(iceberg, MAIN)
            if iceberg.snapshot_by_name(name) is not None:
                iceberg.manage_snapshots().remove_branch(name).commit()
                iceberg = self.table(table)
            iceberg.manage_snapshots().create_branch(tip, name).commit()

    def point_main(self, table: Table, snapshot: int) -> bool:
        """Make `main` be an audited snapshot. Whether it had to move.

        Raises:
            ContractError: the table has no such snapshot any more.
        """
        with self._lock:
            iceberg = self.writable(table)
            if self._tip(iceberg, MAIN) == snapshot:
                return False
            if not self.has_snapshot(table, snapshot):
                raise snapshot_is_gone(table, snapshot)
            iceberg.manage_snapshots().set_current_snapshot(snapshot_id=snapshot).commit()
            return True

    def has_snapshot(self, table: Table, snapshot: int) -> bool:
        """Whether it is still there: it was not expired."""
        return self.table(table).snapshot_by_id(snapshot) is not None

    def n_rows(self, table: Table, snapshot: int) -> int | None:
        """Rows of a snapshot, as the catalogue has counted them; None if it was expired."""
        kept = self.table(table).snapshot_by_id(snapshot)
        if kept is None:
            return None
        counted = None if kept.summary is None else kept.summary["total-records"]
        if counted is None:
            return sum(file.rows for file in self.files(table, snapshot=snapshot))
        return int(counted)

    def descends(self, table: Table, snapshot: int, ancestor: int) -> bool:
        """Whether `snapshot` was written on top of `ancestor`."""
        return is_ancestor_of(snapshot, ancestor, self.table(table).metadata)

    def drop_branch(self, table: Table, name: str) -> None:
        """Remove a branch, if it is there; its files stay as long as a snapshot reaches them."""
        with self._lock:
            iceberg = self.writable(table)
            if iceberg.snapshot_by_name(name) is not None:
                iceberg.manage_snapshots().remove_branch(name).commit()

    def tag(self, table: Table, snapshot: int, name: str) -> None:
        """Give a snapshot a name that keeps it."""
        with self._lock:
            iceberg = self.writable(table)
            named = iceberg.snapshot_by_name(name)
            if named is not None and named.snapshot_id == snapshot:
                return
            if named is not None:
                iceberg.manage_snapshots().remove_tag(name).commit()
                iceberg = self.table(table)
            iceberg.manage_snapshots().create_tag(snapshot, name).commit()

    def clear_main(self, table: Table) -> bool:
        """Make `main` hold no row; earlier snapshots stay. Whether there was one, or a table."""
        with self._lock:
            if table not in self.existing() or not self.files(table):
                return False
            self.writable(table).delete(AlwaysTrue(), snapshot_properties=self.properties)
            return True

    def untag(self, table: Table, name: str) -> None:
        """Drop a name; the snapshot stays until it is expired."""
        with self._lock:
            iceberg = self.writable(table)
            if iceberg.snapshot_by_name(name) is not None:
                iceberg.manage_snapshots().remove_tag(name).commit()

    def drop_days(self, table: Table, days: Collection[date], branch: str = MAIN) -> None:
        """Remove all rows of some days."""
        with self._lock:
            iceberg, where = self.writable(table), on_days(table, days)
            if self._has_rows(iceberg, where, branch):
                iceberg.delete(where, snapshot_properties=self.properties, branch=branch)

    def staging(self, run_id: str, stage: str) -> str:
        """Where one stage of one run writes its files; they stay there once committed."""
        return plain_path(
            self.storage.make_folder(join(staging_folder(self.location, run_id), stage))
        )

    @staticmethod
    def _has_rows(iceberg: IcebergTable, where: BooleanExpression, branch: str) -> bool:
        tip = iceberg.snapshot_by_name(branch)
        return tip is not None and any(True for _ in entries_of(iceberg, where, tip.snapshot_id))

    @staticmethod
    def _tip(iceberg: IcebergTable, branch: str) -> int:
        tip = iceberg.snapshot_by_name(branch)
        return -1 if tip is None else tip.snapshot_id
