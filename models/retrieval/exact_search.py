"""The best items of each user, exactly, with what the user may not be shown left out.

Scores of a block of users and all items are one product of matrices. Of each group of items only
the largest score is looked at: the k-th largest of those is a lower bound of the user's k-th best
score, and all groups whose largest is below it are passed over. What is left, little more than k,
is scored once more, each pair of user and item by itself: neither scores nor their order depend on
how users are put into blocks. The bound is lowered by more than the two ways to score can differ.

Letters: B users, I items, F factors, G groups of items, k items asked for, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BLOCK = 32
"""Users whose scores of all items are in memory at once."""
GROUP = 16
"""Items of which the largest score is looked at, and then each."""
WIDE_GROUP = 64
"""Items of which the largest scores give the lower bound."""


@dataclass(frozen=True)
class Best:
    """Items of users, best first, and of equals the one that comes first."""

    items: Ints
    """(B, k): -1 where there are no more."""
    scores: Floats
    """(B, k): `-inf` where there are no more."""


class InnerProducts:
    """Searches the items that have the largest inner products with users."""

    def __init__(self, items: Floats, k: int, unavailable: Ints | None = None):
        """`items` (I, F), of which nobody gets those at the places `unavailable`."""
        self._items, self._k = items, k
        self._padded = torch.zeros(_whole_groups(len(items)), items.shape[1])
        self._padded[: len(items)] = torch.from_numpy(items)
        none = np.arange(len(items), len(self._padded))
        self._nobodys = torch.from_numpy(
            none if unavailable is None else np.concatenate([unavailable, none])
        )
        longest = float(np.sqrt(np.einsum("if,if->i", items, items).max(initial=0.0)))
        # Sums of F products differ by no more than this beside the lengths (Higham, 2002, 3.1).
        self._rounding = longest * items.shape[1] * 2.0**-23
        self._scores = torch.empty(len(self._padded), BLOCK)

    def best(self, users: Floats, hidden: sparse.csr_array) -> Best:
        """The best items of `users` (B, F) but those that are `hidden` (B, I) from them."""
        blocks = range(0, len(users), BLOCK)
        lists = [self._block(users[b : b + BLOCK], hidden[b : b + BLOCK]) for b in blocks]
        return joined(lists, self._k)

    def _block(self, users: Floats, hidden: sparse.csr_array) -> Best:
        scores = self._scores
        if len(users) < BLOCK:
            scores = torch.empty(len(self._padded), len(users))
        torch.mm(self._padded, torch.from_numpy(users).T, out=scores)
        scores[self._nobodys] = -torch.inf
        lengths = np.sqrt(np.einsum("bf,bf->b", users, users))
        pairs = _pairs_of_the_best(scores, hidden, self._k, 2 * self._rounding * lengths)
        exact = np.einsum("pf,pf->p", self._items[pairs.items], users[pairs.users])
        return pairs.lists(exact, len(users), self._k)


def best_by_scores(scores: Floats, hidden: sparse.csr_array, k: int) -> Best:
    """The best items by scores (B, I) but those that are `hidden` (B, I) or have `-inf`."""
    n_users, n_items = scores.shape
    by_item = torch.full((_whole_groups(n_items), n_users), -torch.inf)
    by_item[:n_items] = torch.from_numpy(scores).T
    pairs = _pairs_of_the_best(by_item, hidden, k, np.zeros(n_users, np.float32))
    return pairs.lists(scores[pairs.users, pairs.items], n_users, k)


def joined(lists: Sequence[Best], k: int) -> Best:
    """Lists of one block of users after the other."""
    none = Best(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    return Best(
        np.concatenate([none.items, *(best.items for best in lists)]),
        np.concatenate([none.scores, *(best.scores for best in lists)]),
    )


@dataclass(frozen=True)
class _Pairs:
    """Users and items, by user, then by item."""

    users: Ints
    """(P,)."""
    items: Ints
    """(P,)."""

    def lists(self, scores: Floats, n_users: int, k: int) -> Best:
        """The best `k` items of each user by the pairs' scores (P,)."""
        counts = np.bincount(self.users, minlength=n_users)
        starts = np.cumsum(counts) - counts
        place = np.arange(len(self.users)) - starts[self.users]
        width = max(int(counts.max(initial=0)), k)
        padded = np.full((n_users, width), -np.inf, np.float32)
        padded[self.users, place] = scores
        items = np.full((n_users, width), -1)
        items[self.users, place] = self.items
        ordered, order = torch.from_numpy(padded).sort(dim=1, descending=True, stable=True)
        best = np.take_along_axis(items, order[:, :k].numpy(), axis=1)
        return Best(best, ordered[:, :k].numpy())


def _pairs_of_the_best(scores: Tensor, hidden: sparse.csr_array, k: int, slack: Floats) -> _Pairs:
    """All pairs that may be among the user's best `k` when each score is off by no more than half
    of the user's `slack` (B,).

    `scores` (I, B) are of whole groups of items; those of hidden pairs become `-inf`.
    """
    n_items, n_users = scores.shape
    own = np.repeat(np.arange(n_users), np.diff(hidden.indptr))
    scores.view(-1)[torch.from_numpy(hidden.indices.astype(np.int64) * n_users + own)] = -torch.inf
    wide_size = _wide_group(n_items, k)
    size = min(GROUP, wide_size)
    largest = scores.view(-1, size, n_users).amax(dim=1)
    wide = largest.view(-1, wide_size // size, n_users).amax(dim=1).T.contiguous()
    bound = wide.new_full((n_users,), torch.finfo(wide.dtype).min)
    if wide.shape[1] >= k:
        kth = wide.topk(k, sorted=False).values.amin(dim=1)
        bound = torch.maximum(bound, kth - torch.from_numpy(slack))
    found = np.flatnonzero((largest.T.contiguous() >= bound[:, None]).numpy())
    users, groups = np.divmod(found, len(largest))
    each = scores.view(-1, size, n_users)[torch.from_numpy(groups), :, torch.from_numpy(users)]
    pair, place = np.divmod(np.flatnonzero((each >= bound[users][:, None]).numpy()), size)
    return _Pairs(users[pair], groups[pair] * size + place)


def _whole_groups(n_items: int) -> int:
    """Rows of scores: as many as make whole groups."""
    return -(-n_items // WIDE_GROUP) * WIDE_GROUP


def _wide_group(n_items: int, k: int) -> int:
    """Items of a group for the lower bound: fewer where there would be too few groups for one that
    is near the k-th best score."""
    size = WIDE_GROUP
    while size > 1 and n_items < 4 * k * size:
        size //= 2
    return size
