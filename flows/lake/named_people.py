"""Files that name people by their keys, and their rows without them: whole rows, elements of
arrays, or values alone, as the tables' columns declare.

Letters: N rows, A elements of an array of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.table import ELEMENT, VALUE, Column, Table
from contracts.tables import TABLES
from flows.storage.parquet_files import read_batches, read_rows, read_schema

Change = Callable[[pa.Table], pa.Table | None]
"""Some rows of a file as they are to be; None if they are so already."""
RAW_CELLS = "fields"
"""The column of raw rows that holds what the raw files say."""
Mask = npt.NDArray[np.bool_]


def arrays_of(*tables: Table) -> tuple[str, ...]:
    """Columns of the tables that are arrays in which people may be named."""
    return tuple(
        dict.fromkeys(
            column.name
            for table in tables
            for column in table.columns
            if column.erased is not None and column.column_type.is_array
        )
    )


def holding(keys: Collection[str], file: str, arrays: Sequence[str] = ()) -> bool:
    """Whether a file may hold one of the keys, by its columns of text and these of its arrays; row
    groups whose statistics exclude them are not read."""
    schema = read_schema(file)
    texts = [f.name for f in schema if pa.types.is_string(f.type)]
    wanted = pa.array(sorted(keys), pa.string())
    if any(
        read_rows(file, columns=[name], filters=pc.field(name).isin(wanted)).num_rows
        for name in texts
    ):
        return True
    return any(
        pc.any(pc.is_in(pc.list_flatten(rows[name]), value_set=wanted)).as_py()
        for name in arrays
        if name in schema.names
        for rows in read_batches(file, [name])
    )


def may_tell(keys: Collection[str], file: str) -> bool:
    """Whether a file that no table leads to may tell of people.

    Raw rows name them in ways that their keys do not show, bounds in manifests are keys, and a file
    that was cut off cannot be read.
    """
    if not file.endswith(".parquet"):
        return file.endswith(".avro")
    try:
        return RAW_CELLS in read_schema(file).names or holding(keys, file, arrays_of(*TABLES))
    except pa.ArrowInvalid:
        return True


def without(table: Table, keys: Collection[str]) -> Change:
    """Leaves out what names one of the keys: the row, where a column of text does that is not
    declared otherwise; else the element of an array, or the value alone."""
    wanted = pa.array(sorted(keys), pa.string())
    declared = {column.name: column for column in table.columns if column.erased is not None}
    beside = {
        name: [c.name for c in table.columns if c.beside == name]
        for name, column in declared.items()
        if column.erased == ELEMENT
    }

    def change(rows: pa.Table) -> pa.Table | None:
        is_named = pa.array([False] * rows.num_rows)
        for column in rows.schema:
            if pa.types.is_string(column.type) and column.name not in declared:
                is_named = pc.or_(is_named, pc.is_in(rows[column.name], value_set=wanted))
        kept = rows.filter(pc.invert(is_named)).combine_chunks()
        for name, others in beside.items():
            if name in kept.schema.names:
                listed = [other for other in others if other in kept.schema.names]
                kept = _without_elements(kept, name, listed, _saying(table), wanted)
        for name, column in declared.items():
            if column.erased == VALUE and name in kept.schema.names:
                kept = _without_values(kept, column, wanted)
        return None if kept.equals(rows) else kept

    return change


def _saying(table: Table) -> dict[str, str]:
    """Columns that say that an erasure took an element of a row, and what."""
    return {c.name: c.if_erased for c in table.columns if c.if_erased is not None}


def _without_elements(
    rows: pa.Table, name: str, beside: Sequence[str], saying: dict[str, str], wanted: pa.Array
) -> pa.Table:
    """(N,): the rows without the elements that are wanted, nor what is beside them."""
    arrays = rows[name].combine_chunks()
    flat = pc.list_flatten(arrays)
    gone: Mask = pc.is_in(flat, value_set=wanted).to_numpy(zero_copy_only=False)
    if not gone.any():
        return rows
    parents = pc.list_parent_indices(arrays).to_numpy()
    starts = _starts(arrays)
    places = np.arange(len(gone)) - starts[parents]
    kept_of, kept_at = parents[~gone], places[~gone]
    for column in (name, *beside):
        own = rows[column].combine_chunks()
        lengths = pc.list_value_length(own).to_numpy(zero_copy_only=False)
        is_full = lengths[kept_of] > 0  # empty where there is nothing to say of the elements
        of, at = kept_of[is_full], kept_at[is_full]
        values = pc.list_flatten(own).take(pa.array(_starts(own)[of] + at))
        ends = np.cumsum(np.bincount(of, minlength=rows.num_rows))
        offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
        rows = _set(rows, column, pa.ListArray.from_arrays(offsets, values))
    lost = pa.array(np.bincount(parents[gone], minlength=rows.num_rows) > 0)
    for column, words in saying.items():
        if column in rows.schema.names:
            rows = _set(rows, column, pc.if_else(lost, words, rows[column]))
    return rows


def _without_values(rows: pa.Table, column: Column, wanted: pa.Array) -> pa.Table:
    """(N,): the rows without the values that are wanted: null, of an array empty texts."""
    values = rows[column.name].combine_chunks()
    if not column.column_type.is_array:
        named = pc.is_in(values, value_set=wanted)
        return _set(rows, column.name, pc.if_else(named, pa.scalar(None, pa.string()), values))
    flat = pc.list_flatten(values)
    blanked = pc.if_else(pc.is_in(flat, value_set=wanted), "", flat)
    ends = np.cumsum(pc.list_value_length(values).to_numpy(zero_copy_only=False))
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    return _set(rows, column.name, pa.ListArray.from_arrays(offsets, blanked))


def _starts(arrays: pa.ListArray) -> npt.NDArray[np.int64]:
    """(N,): where each row's elements begin among all of them."""
    lengths = pc.list_value_length(arrays).to_numpy(zero_copy_only=False)
    starts: npt.NDArray[np.int64] = np.cumsum(lengths) - lengths
    return starts


def _set(rows: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    at = rows.schema.get_field_index(name)
    field = rows.schema.field(at)
    return rows.set_column(at, field, values.cast(field.type))
