"""Features as Arrow columns, from what a sweep keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.features import Feature
from contracts.measures import MEASURES, MOMENTS, WINDOWS
from jobs.one_pass.running_aggregates import NEVER, Flags, Ints
from jobs.spark.schema import arrow_type

_MEASURE = {m.name: i for i, m in enumerate(MEASURES)}
_MOMENT = {m.name: i for i, m in enumerate(MOMENTS)}


@dataclass(frozen=True)
class Aggregates:
    """What is known of U users as of a day."""

    present: Flags
    """(U,): who is known at all."""
    measures: Ints
    """(W + 1, M, U): over each window and, last, all time."""
    distincts: Mapping[str, Ints]
    """(W, U) each; (W + 1, U) of those that are counted over all time, which is the last."""
    moments: Ints
    """(moments, U): days since 1970, or `NEVER`."""
    joined: Mapping[str, Ints]
    """(U,) each."""
    latest: Mapping[str, tuple[Ints, pa.Array]]
    """Codes (U,), -1 for null, and what they stand for."""
    lists: Mapping[str, tuple[Ints, Ints, pa.Array | None]]
    """Lengths (U,), all values, and what they stand for if they are codes."""


def columns_of(
    features: Sequence[Feature], aggregates: Aggregates, keys: pa.Array, day: int
) -> pa.RecordBatch:
    """`user_key`, `as_of` and the features of the users who are known, in the order of keys."""
    who = np.flatnonzero(aggregates.present)
    columns: dict[str, pa.Array] = {
        "user_key": keys.take(pa.array(who)),
        "as_of": pa.array(np.full(len(who), day, np.int32)).cast(pa.date32()),
    }
    numbers: dict[str, tuple[npt.NDArray[np.float64] | Ints, Flags | None]] = {}
    for feature in features:
        if feature.aggregate == "latest":
            columns[feature.name] = _named(*aggregates.latest[feature.source[0]], who)
        elif feature.aggregate in ("sequence", "text"):
            columns[feature.name] = _listed(feature, aggregates, who)
        else:
            value, valid = (
                _ratio(numbers[feature.source[0]], numbers[feature.source[1]])
                if feature.aggregate == "ratio"
                else _number(feature, aggregates, who, day)
            )
            numbers[feature.name] = value, valid
            columns[feature.name] = pa.array(
                value, arrow_type(feature.type), mask=None if valid is None else ~valid
            )
    return pa.RecordBatch.from_pydict(columns)


def _number(
    feature: Feature, aggregates: Aggregates, who: Ints, day: int
) -> tuple[Ints, Flags | None]:
    source, window = feature.source[0], feature.window
    at = len(WINDOWS) if window is None else WINDOWS.index(window)
    if feature.aggregate == "measure":
        return aggregates.measures[at, _MEASURE[source]][who], None
    if feature.aggregate == "distinct":
        return aggregates.distincts[source][at][who], None
    if feature.aggregate == "since":
        on = aggregates.moments[_MOMENT[source]][who]
        return day - on, on != NEVER
    return aggregates.joined[feature.name][who], None


def _ratio(
    over: tuple[npt.NDArray[np.float64] | Ints, Flags | None],
    under: tuple[npt.NDArray[np.float64] | Ints, Flags | None],
) -> tuple[npt.NDArray[np.float64], Flags]:
    divisor = under[0].astype(np.float64)
    valid: Flags = divisor != 0
    for _, flags in (over, under):
        valid = valid if flags is None else valid & flags
    ratio = np.zeros(len(divisor))
    np.divide(over[0].astype(np.float64), divisor, out=ratio, where=valid)
    return ratio, valid


def _named(codes: Ints, names: pa.Array, who: Ints) -> pa.Array:
    mine = codes[who]
    if not len(names):
        return pa.nulls(len(who), names.type)
    return names.take(pa.array(mine, mask=mine < 0))


def _listed(feature: Feature, aggregates: Aggregates, who: Ints) -> pa.Array:
    """Lists of the users who are known; nobody else has a value in them."""
    lengths, values, names = aggregates.lists[feature.source[0]]
    offsets = np.concatenate([[0], np.cumsum(lengths[who])]).astype(np.int32)
    element = arrow_type(feature.type).value_type
    if names is None:
        flat = pa.array(values.astype(element.to_pandas_dtype()), element)
    elif len(names):
        flat = pa.DictionaryArray.from_arrays(pa.array(values.astype(np.int32)), names)
    else:
        flat = pa.array([], element)
    return pa.ListArray.from_arrays(pa.array(offsets), flat)
