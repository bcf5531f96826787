"""What boosted trees of LightGBM say of many rows, feature by feature.

LightGBM copies all features of a row, and takes it through all trees. Trees of a few leaves ask
for few of them, and take a quarter of the time by arrays: which way a row goes at each node, as a
number in bits, says in which leaf it ends. The result is LightGBM's to the bit.

Letters: C rows, F features, S nodes that split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import ContractError

ROWS = 16_384
"""Rows that go through all trees at once: so many as the cache holds."""
MAX_SPLITS = 16
"""Of a tree: it has as many leaves as ways to answer all of them in a table."""
_DEFAULT_LEFT, _NAN_IS_MISSING = 2, 8
"""Bits of LightGBM's `decision_type`."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """A node: rows whose feature is at most the threshold take the left child."""

    feature: int
    threshold: np.float32
    missing_left: bool
    """Whether rows of which the feature is not known do."""
    children: tuple[int, int]
    """Nodes from 0 on, and leaves: -1 is the first, -2 the second."""


@dataclass(frozen=True)
class Tree:
    splits: tuple[Split, ...]
    """(S,): a child stands behind its parent."""
    values: Doubles
    """(2 ** S,): of each set of nodes at which a row goes left, as bits, what its leaf says."""

    @classmethod
    def of(cls, splits: tuple[Split, ...], leaves: Sequence[float]) -> Tree:
        sets = np.arange(1 << len(splits))
        of_nodes: list[Doubles | float] = [0.0] * len(splits)
        for i in range(len(splits) - 1, -1, -1):
            left, right = (of_nodes[c] if c >= 0 else leaves[-c - 1] for c in splits[i].children)
            of_nodes[i] = np.where(sets >> i & 1, left, right)
        return cls(splits, np.asarray(of_nodes[0] if splits else [leaves[0]], np.float64))

    def add_to(self, total: Doubles, columns: Floats) -> None:
        """Add what it says of features (F, C) to a total (C,)."""
        dtype = np.uint8 if len(self.splits) <= 8 else np.uint16
        lefts: npt.NDArray[Any] = np.zeros(len(total), dtype)
        for i, split in enumerate(self.splits):
            column = columns[split.feature]
            if split.missing_left:
                is_left = ~(column > split.threshold)
            else:
                is_left = column <= split.threshold
            lefts |= is_left.astype(dtype) << i
        total += self.values.take(lefts)


def trees_of(text: str) -> tuple[Tree, ...]:
    """The trees of a model as LightGBM writes it, without categories.

    Raises:
        ContractError: a tree has too many leaves.
    """
    return tuple(_tree(part) for part in text.split("\nTree=")[1:])


def added_up(trees: Sequence[Tree], features: Floats) -> Doubles:
    """(C,): the sum of what the trees say of features (C, F), of which each should be one piece of
    memory."""
    columns = features.T
    total = np.zeros(columns.shape[1])
    for start in range(0, len(total), ROWS):
        part, some = total[start : start + ROWS], columns[:, start : start + ROWS]
        for tree in trees:
            tree.add_to(part, some)
    return total


def _tree(text: str) -> Tree:
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    leaves = tuple(map(float, fields["leaf_value"].split()))
    if len(leaves) == 1:
        return Tree.of((), leaves)
    if len(leaves) > MAX_SPLITS + 1:
        raise ContractError(
            f"a tree has {len(leaves)} leaves, and {MAX_SPLITS + 1} are the most that can be; fit "
            "the ranker anew"
        )
    columns = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
    rows = zip(*(fields[name].split() for name in columns), strict=True)
    return Tree.of(tuple(_split(*row) for row in rows), leaves)


def _split(feature: str, threshold: str, decision: str, left: str, right: str) -> Split:
    exact, kind = float(threshold), int(decision)
    # What is at most the threshold is at most the greatest single number that is.
    single = np.float32(exact)
    if float(single) > exact:
        single = np.nextafter(single, np.float32(-np.inf))
    # Where none was missing in training, one that is counts as 0.
    missing_left = bool(kind & _DEFAULT_LEFT) if kind & _NAN_IS_MISSING else exact >= 0
    return Split(int(feature), single, missing_left, (int(left), int(right)))
