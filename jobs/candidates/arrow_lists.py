"""Columns of Arrow tables as arrays of numbers: lists, and where ids stand among others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """The column without chunks."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def flat(column: pa.ChunkedArray) -> pa.Array:
    """The elements of all lists of a column, one after the other."""
    return one_array(column).flatten()


def starts(column: pa.ChunkedArray) -> Integers:
    """Where among the elements of all lists each list begins, and the end of the last."""
    lengths = pc.list_value_length(one_array(column)).to_numpy(zero_copy_only=False)
    return np.append(0, np.cumsum(lengths)).astype(np.int64)


def numbers(values: pa.StringArray, of: pa.StringArray) -> Integers:
    """Where in `of` each value stands; -1 for one that does not."""
    found = pc.fill_null(pc.index_in(values, of), -1)
    return found.to_numpy(zero_copy_only=False).astype(np.int64)
