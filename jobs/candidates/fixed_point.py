"""Whole numbers in place of fractions, and the first of groups: what sources count with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.recommendation_tables import FIXED_POINT

Integers = NDArray[np.int64]
ONE = float(FIXED_POINT)


def fixed(value: Any) -> Integers:
    """`value` in 2^20ths: the nearest whole numbers, of two the greater."""
    return np.floor(np.asarray(value, np.float64) * ONE + 0.5).astype(np.int64)


def firsts(group: Integers, by: Sequence[NDArray[Any]], n: int) -> Integers:
    """Where the first `n` of each group stand, group after group, ascending by `by`."""
    some = _likely(group, by[0], n)
    order = some[np.lexsort((*(values[some] for values in reversed(by)), group[some]))]
    return order[places(group[order]) < n]


def _likely(group: Integers, by: NDArray[Any], n: int) -> Integers:
    """Where values stand that may be among the first `n` of their group; of groups that ascend, all
    but few of long ones: to sort those is most of the work of adding up."""
    chosen = np.ones(len(group), bool)
    if len(group) and np.all(group[1:] >= group[:-1]):
        begin = starts_of(group)
        end = np.append(begin[1:], len(group))
        is_long = end - begin > 2 * n
        for first, last in zip(begin[is_long], end[is_long], strict=True):
            values = by[first:last]
            chosen[first:last] = values <= np.partition(values, n - 1)[n - 1]
    return np.flatnonzero(chosen)


def places(group: Integers) -> Integers:
    """The place of each within its group, from 0; groups are ascending."""
    begin = starts_of(group)
    return np.arange(len(group)) - np.repeat(begin, np.diff(np.append(begin, len(group))))


def starts_of(ascending: Integers) -> Integers:
    """Where each of the values begins."""
    return np.flatnonzero(np.append(True, ascending[1:] != ascending[:-1])[: len(ascending)])


def among(values: Integers, ascending: Integers) -> NDArray[np.bool_]:
    """Whether each value is one of `ascending`."""
    if not len(ascending):
        return np.zeros(len(values), bool)
    at = np.searchsorted(ascending, values)
    return ascending[np.minimum(at, len(ascending) - 1)] == values


def reduced(of: np.ufunc, values: NDArray[Any], begin: Integers) -> NDArray[Any]:
    """One value per group that begins there, such as the sum or the greatest."""
    return of.reduceat(values, begin) if len(begin) else values[:0]
