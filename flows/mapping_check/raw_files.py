"""What a check sees in raw files: whether they are cut off, which keys elements have, how numbers
that are ids are written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from contracts.clean_tables import clean_table_named
from contracts.counts import n_of
from contracts.tables import LANDED
from flows.mapping_check.expected_night import files_of
from flows.monitor.row_counts import cut_off_line
from flows.release.duckdb_views import select_from
from flows.storage.duckdb_connections import in_memory
from jobs.landing import read
from jobs.mapping.element_keys import SeenKeys, column_of
from jobs.mapping.raw_row import CUT_OFF
from jobs.mapping.sources import RawFile, Source, SourceMapping
from jobs.run import Result

FIRST_ROWS = 1000
"""Rows of a source whose elements are looked at."""


def files_cut_off(landings: Sequence[Result]) -> tuple[str, ...]:
    """Files that were read to their end, which is in the middle of a line."""
    rows = select_from(LANDED, [path for landing in landings for path in files_of(landing, LANDED)])
    with in_memory() as connection:
        lines = connection.execute(
            f"SELECT DISTINCT source, file FROM ({rows}) WHERE problem = '{CUT_OFF}' ORDER BY ALL"
        ).fetchall()
    return tuple(cut_off_line(source, file) for source, file in lines)


MAX_FILES = 3
"""Files of a source that are named."""


def absent_from_first(
    mapping: SourceMapping, files: Mapping[str, Sequence[RawFile]], max_rows: int
) -> tuple[str, ...]:
    """Files of which none of the first rows has a key of the mapping: a night stops at one of which
    no row has."""
    lines = []
    for source in mapping.sources:
        absent = [
            (file, read.absent_from_first(file.path, source, max_rows))
            for file in files[source.name]
        ]
        of_source = [f"{source.name}: {file.name}: {what}" for file, what in absent if what]
        n_more = len(of_source) - MAX_FILES
        more = f"; and {n_of(n_more, 'more file')}" if n_more > 0 else ""
        lines += of_source[: MAX_FILES - 1]
        lines += [last + more for last in of_source[MAX_FILES - 1 : MAX_FILES]]
    return tuple(lines)


def absent_keys(mapping: SourceMapping, landings: Mapping[str, Result]) -> tuple[str, ...]:
    """Keys that the mapping names in the elements of arrays, and none of the first rows has."""
    lines = []
    for source in mapping.sources:
        for column, paths in source.element_paths.items():
            seen = SeenKeys(paths)
            for cell in _cells(landings[source.name], source.columns.index(column)):
                seen.note(_parsed(cell))
            if seen.are_absent:
                lines.append(f"{source.name}: {seen.absent_message(column)}")
    return tuple(lines)


def _cells(landing: Result, at: int) -> list[str]:
    """What stands in a column of the first rows."""
    rows = select_from(LANDED, files_of(landing, LANDED))
    cell = f"fields[{at + 1}]"
    with in_memory() as connection:
        cells = connection.execute(
            f"SELECT {cell} FROM ({rows}) WHERE {cell} IS NOT NULL "
            f"ORDER BY file, line LIMIT {FIRST_ROWS}"
        ).fetchall()
    return [text for (text,) in cells]


def _parsed(cell: str) -> object:
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True)
class _Ids:
    """Ids that are numbers, in a raw column that a table takes as they are."""

    source: str
    table: str
    field: str
    column: str
    """As the mapping writes it."""
    n_decimal: int
    """Rows in which one is written as 123.0."""
    n_whole: int

    @property
    def kind(self) -> str:
        """What they name."""
        return {"followed_id": "user_id"}.get(self.field, self.field)

    @property
    def advice(self) -> str:
        instead = f"regexp_replace({self.column}, '^(-?[0-9]+)[.]0+$', '$1')"
        return (
            f"{self.table} from {self.source}: {n_of(self.n_decimal, 'row has', 'rows have')} a "
            f"{self.field} that is written as 123.0 in {self.column}, and others are written as "
            f'123, which is another id. If they are one, write {self.field} = "{instead}"'
        )


def ids_with_decimals(mapping: SourceMapping, landings: Mapping[str, Result]) -> tuple[str, ...]:
    """Ids that some rows write as 123, and others as 123.0, as exports do where one is null."""
    ids = [one for source in mapping.sources for one in _number_ids(source, landings)]
    whole = {one.kind for one in ids if one.n_whole}
    return tuple(one.advice for one in ids if one.n_decimal and one.kind in whole)


def _number_ids(source: Source, landings: Mapping[str, Result]) -> Iterator[_Ids]:
    fields = [
        (table.table, field, table.fields[field].strip(), at)
        for table in source.tables
        for field in clean_table_named(table.table).id_fields
        if (at := _place(source, table.fields.get(field, ""))) is not None
    ]
    if not fields:
        return
    rows = select_from(LANDED, files_of(landings[source.name], LANDED))
    counts = ", ".join(
        f"count(*) FILTER (regexp_full_match(trim(fields[{at}]), '-?[0-9]+{decimals}'))"
        for *_, at in fields
        for decimals in ("[.]0+", "")
    )
    with in_memory() as connection:
        row = connection.execute(f"SELECT {counts} FROM ({rows})").fetchall()[0]
    for (table, field, column, _), n_decimal, n_whole in zip(
        fields, row[::2], row[1::2], strict=True
    ):
        yield _Ids(source.name, table, field, column, n_decimal, n_whole)


def _place(source: Source, expression: str) -> int | None:
    """The place, from 1, of the raw column that an expression is; None if it is more than one."""
    columns = [column.lower() for column in source.columns]
    column = (column_of(expression) or "").lower()
    return columns.index(column) + 1 if column in columns else None
