"""The best items of each user, exactly, with what the user may not be shown left out.

Scores of a block of users and all items are one product of matrices. Of each group of items only
the largest score is looked at: the k-th largest of those is a lower bound of the user's k-th best
score, and all groups whose largest is below it are passed over. What is left, little more than k,
is scored once more, each pair of user and item by itself: neither scores nor their order depend on
how users are put into blocks. The bound is lowered by more than the two ways to score can differ.

Letters: B users, I items, F factors, G groups of items, k items asked for, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
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


@dataclass(frozen=True)
class Pairs:
    """Users and items, by user, then by item."""

    users: Ints
    """(P,)."""
    items: Ints
    """(P,)."""

    def of_users(self, start: int, stop: int) -> Pairs:
        """Those of some users, who are counted from `start`."""
        first, last = np.searchsorted(self.users, [start, stop])
        return Pairs(self.users[first:last] - start, self.items[first:last])

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


class InnerProducts:
    """Searches the items that have the largest inner products with users."""

    def __init__(self, items: Floats, k: int):
        """`items` (I, F)."""
        self._items, self._k = items, k
        self._padded = torch.zeros(_whole_groups(len(items)), items.shape[1])
        self._padded[: len(items)] = torch.from_numpy(items)
        self._scores = torch.empty(len(self._padded), BLOCK)
        longest = float(np.sqrt(np.einsum("if,if->i", items, items).max(initial=0.0)))
        # Sums of F products differ by no more than this beside the lengths (Higham, 2002, 3.1).
        self._rounding = longest * items.shape[1] * 2.0**-23

    def best(self, users: Floats, excluded: Pairs) -> Best:
        """The best items of `users` (B, F) without the pairs that are `excluded`."""
        lists = [
            self._block(users[start : start + BLOCK], excluded.of_users(start, start + BLOCK))
            for start in range(0, len(users), BLOCK)
        ]
        return joined(lists, self._k)

    def _block(self, users: Floats, excluded: Pairs) -> Best:
        scores = self._scores[:, : len(users)]
        if len(users) < BLOCK:
            scores = scores.contiguous()
        torch.mm(self._padded, torch.from_numpy(users).T, out=scores)
        scores[len(self._items) :] = -torch.inf
        lengths = np.sqrt(np.einsum("bf,bf->b", users, users))
        pairs = pairs_of_the_best(scores, excluded, self._k, 2 * self._rounding * lengths)
        exact = np.einsum("pf,pf->p", self._items[pairs.items], users[pairs.users])
        return pairs.lists(exact, len(users), self._k)


def best_by_scores(scores: Floats, excluded: Pairs, k: int) -> Best:
    """The best items by scores (B, I) without the pairs that are `excluded`."""
    n_users, n_items = scores.shape
    by_item = torch.full((_whole_groups(n_items), n_users), -torch.inf)
    by_item[:n_items] = torch.from_numpy(scores).T
    pairs = pairs_of_the_best(by_item, excluded, k, np.zeros(n_users, np.float32))
    return pairs.lists(scores[pairs.users, pairs.items], n_users, k)


def joined(lists: list[Best], k: int) -> Best:
    """Lists of one block of users after the other."""
    none = Best(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
    return Best(
        np.concatenate([none.items, *(best.items for best in lists)]),
        np.concatenate([none.scores, *(best.scores for best in lists)]),
    )


def pairs_of_the_best(scores: Tensor, excluded: Pairs, k: int, slack: Floats) -> Pairs:
    """All pairs whose scores may be among the user's best `k`, when each score is off by no more
    than half of the user's `slack` (B,); excluded ones get the score `-inf`.

    `scores` (I, B) with whole groups of items, what is no item being `-inf`.
    """
    n_items, n_users = scores.shape
    scores.view(-1)[torch.from_numpy(excluded.items * n_users + excluded.users)] = -torch.inf
    size = _group_size(n_items, k)
    largest = scores.view(-1, size, n_users).amax(dim=1)
    wide = largest.view(-1, _wide_size(n_items, k) // size, n_users).amax(dim=1).T.contiguous()
    bound = wide.topk(min(k, wide.shape[1]), sorted=False).values.amin(dim=1)
    bound = (bound - torch.from_numpy(slack)).clamp(min=torch.finfo(torch.float32).min)
    if wide.shape[1] < k:
        bound.fill_(torch.finfo(torch.float32).min)
    found = np.flatnonzero((largest.T.contiguous() >= bound[:, None]).numpy())
    users, groups = np.divmod(found, len(largest))
    each = scores.view(-1, size, n_users)[torch.from_numpy(groups), :, torch.from_numpy(users)]
    pair, place = np.divmod(np.flatnonzero((each >= bound[users][:, None]).numpy()), size)
    return Pairs(users[pair], groups[pair] * size + place)


def _whole_groups(n_items: int) -> int:
    """Rows of scores: as many as make whole groups."""
    return -(-n_items // WIDE_GROUP) * WIDE_GROUP


def _wide_size(n_items: int, k: int) -> int:
    """Items of a group for the lower bound: fewer where there would be too few groups for one that
    is near the k-th best score."""
    size = WIDE_GROUP
    while size > 1 and n_items < 4 * k * size:
        size //= 2
    return size


def _group_size(n_items: int, k: int) -> int:
    return min(GROUP, _wide_size(n_items, k))
