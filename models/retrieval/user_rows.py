"""Rows as of one day, of one surface or of a table without, user by user, from files that are each
sorted by user.

A table may lie in several files, by a hash of its grain, so that the rows of one user are in any of
them. They are merged as they are read: a batch of each file is in memory at a time.

Arrays of texts stay dictionaries, as Parquet has them: to make texts of the ids of thousands of
lists, and look each up, takes four times as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import ContractError
from contracts.table import Table
from models.data.arrow_schema import arrow_schema

BATCH_ROWS = 4096
"""Rows that are read of a file at a time."""


class UserRows:
    """A table's rows of a surface as of a day, in the order of its grain, a range of users at a
    time; of a table that knows no surfaces, `surface` is None.

    Several tables are read side by side by asking one for its `next` users, and the others for
    their rows `up_to` the last of those.
    """

    def __init__(
        self,
        table: Table,
        files: Sequence[str],
        surface: str | None,
        as_of: date,
        columns: Sequence[str] | None = None,
        users: tuple[str, str] = ("", ""),
    ):
        names = list(dict.fromkeys(["user_key", *(columns or table.names)]))
        schema = arrow_schema(table)
        self._order = [
            (name, "ascending") for name in table.grain if name not in ("surface", "as_of")
        ]
        read = list(dict.fromkeys([*names, *(name for name, _ in self._order)]))
        self._names = names
        self._held = pa.schema([_with_codes(schema.field(name)) for name in read]).empty_table()
        self._streams = {
            path: _rows_of_file(path, surface, as_of, read, users) for path in dict.fromkeys(files)
        }
        self._last = dict.fromkeys(self._streams, "")
        """Of each file that may have more, the user of the last row that was read."""

    def next(self, n: int) -> pa.Table:
        """The rows of the next users: `n` rows and those that their last user has besides, fewer
        where there are no more, and none at the end."""
        while self._last:
            complete = pc.sum(pc.less(self._held["user_key"], min(self._last.values()))).as_py()
            if (complete or 0) >= n:
                break
            self._read_more(min(self._last, key=lambda path: self._last[path]))
        if not self._held.num_rows:
            return self._held.select(self._names)
        users = self._held["user_key"].sort()
        return self.up_to(users[min(n, len(users)) - 1].as_py())

    def up_to(self, user_key: str) -> pa.Table:
        """The rows of the users that were not yet given, up to and including `user_key`."""
        while behind := [path for path, last in self._last.items() if last <= user_key]:
            self._read_more(behind[0])
        given = pc.less_equal(self._held["user_key"], user_key)
        rows = self._held.filter(given)
        self._held = self._held.filter(pc.invert(given))
        return rows.sort_by(self._order).select(self._names).combine_chunks()

    def _read_more(self, path: str) -> None:
        rows = next(self._streams[path], None)
        if rows is None:
            del self._last[path]
            return
        users = rows["user_key"]
        ascending = pc.all(pc.less_equal(users[:-1], users[1:]), min_count=0)
        if users[0].as_py() < self._last[path] or not ascending.as_py():
            raise ContractError(f"{path}: expected rows sorted by user_key, found them unsorted")
        self._held = pa.concat_tables([self._held, rows.cast(self._held.schema)])
        self._last[path] = users[-1].as_py()


def places_in(texts: pa.Array, known: pa.Array) -> pa.Array:
    """Of each text where among those that are known it stands; null where it does not."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if not pa.types.is_dictionary(texts.type):
        return pc.index_in(texts, value_set=known)
    return pc.index_in(texts.dictionary, value_set=known).take(texts.indices)


def _with_codes(field: pa.Field) -> pa.Field:
    """The field as it is read."""
    if field.name not in _ARRAYS_OF_TEXTS:
        return field
    return field.with_type(pa.list_(pa.field("element", pa.dictionary(pa.int32(), pa.string()))))


_ARRAYS_OF_TEXTS = ("item_ids", "because")


def _rows_of_file(
    path: str, surface: str | None, as_of: date, columns: Sequence[str], users: tuple[str, str]
) -> Iterator[pa.Table]:
    """Its rows of the surface and day, of users from the first of `users` to before the second, if
    they are not empty; row groups of others are not read."""
    arrays = [name for name in columns if name in _ARRAYS_OF_TEXTS]
    file = pq.ParquetFile(path, read_dictionary=[f"{name}.list.element" for name in arrays])
    groups = [
        i
        for i in range(file.num_row_groups)
        if (surface is None or _may_hold(file, i, "surface", surface, surface))
        and _may_hold(file, i, "user_key", *users)
    ]
    wanted = ["as_of", *(["surface"] if surface is not None else [])]
    read = list(dict.fromkeys([*columns, *wanted]))
    # One row group at a time, for each has dictionaries of its own.
    batches = (
        batch
        for group in groups
        for batch in file.iter_batches(
            BATCH_ROWS, row_groups=[group], columns=read, use_threads=False
        )
    )
    for batch in batches:
        chosen = pc.equal(batch["as_of"], as_of)
        if surface is not None:
            chosen = pc.and_(chosen, pc.equal(batch["surface"], surface))
        if users[0]:
            chosen = pc.and_(chosen, pc.greater_equal(batch["user_key"], users[0]))
        if users[1]:
            chosen = pc.and_(chosen, pc.less(batch["user_key"], users[1]))
        rows = pa.Table.from_batches([batch]).filter(chosen)
        if rows.num_rows:
            yield rows.select(list(columns))


def _may_hold(file: pq.ParquetFile, group: int, column: str, first: str, last: str) -> bool:
    """Whether a row group may have values from `first` to `last`, by its statistics; an empty text
    is no bound."""
    place = file.schema_arrow.names.index(column)  # it stands before any nested column
    stats = file.metadata.row_group(group).column(place).statistics
    if stats is None or not stats.has_min_max:
        return True
    return (not last or stats.min <= last) and (not first or stats.max >= first)
