"""Numeric features as the model takes them: scale, quantiles, and values that stand for themselves.

Letters: B rows, F numeric features, N bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.inputs import Inputs

CLIP = 6.0
"""Standard deviations beyond which a numeric feature is cut off."""
MIN_COUNT = 5
"""Rows in which an id or a number must stand to get an embedding of its own."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def numeric_values(rows: pa.RecordBatch | pa.Table, inputs: Inputs) -> Doubles:
    """(B, F): each numeric feature on the scale of its encoding, NaN where it is null."""
    columns = []
    for name, encoding in inputs.numeric:
        column = rows.column(name).cast(pa.float64())
        values = (
            column.to_numpy(zero_copy_only=False)
            if isinstance(column, pa.Array)
            else (column.to_numpy())
        )
        if encoding in ("count", "money", "days"):
            values = np.sign(values) * np.log1p(np.abs(values))
        columns.append(values)
    return np.stack(columns, axis=1) if columns else np.zeros((rows.num_rows, 0))


def quantiles(
    values: Doubles, n_bins: int, is_zero: npt.NDArray[np.bool_] | None = None
) -> tuple[float, ...]:
    """Edges of bins that hold equally many of (n,) values, NaN left out; equal edges are one.

    Values that are `apart`, zeros that have an indicator of their own, are one edge and do not
    count: where nearly all are zero, the bins tell the others from one another.
    """
    known = ~np.isnan(values)
    kept = known if is_zero is None else known & ~is_zero
    if not known.any():
        return ()
    edges: Doubles = np.zeros(0)
    if kept.any():
        edges = np.quantile(values[kept], np.linspace(0, 1, n_bins + 1), method="lower")
    zero = values[known & ~kept][:1]
    distinct = np.unique(np.append(edges, zero).astype(np.float32))
    return tuple(distinct.tolist()) if len(distinct) > 1 else ()


def frequent_values(values: Doubles, at_most: int) -> tuple[float, ...]:
    """The numbers among (n,) that are there most often, in order; none is rarer than `MIN_COUNT`.

    Compared in float32, so that the last bits of a logarithm do not matter.
    """
    numbers = values[~np.isnan(values)].astype(np.float32)
    distinct, counts = np.unique(numbers, return_counts=True)
    often = np.argsort(-counts, kind="stable")[:at_most]
    return tuple(np.sort(distinct[often[counts[often] >= MIN_COUNT]]).tolist())


def value_codes(values: Doubles, known: Sequence[float]) -> Ints:
    """(B,): the place of each number among those that are known, from 1; 0 is any other, or NaN."""
    words, numbers = np.asarray(known, np.float32), values.astype(np.float32)
    place = np.searchsorted(words, numbers).clip(max=len(words) - 1)
    return np.where(words[place] == numbers, place + 1, 0)
