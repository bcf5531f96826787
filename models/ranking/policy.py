"""The policy of a surface: who may see what, in which order, and how many.

In this order, each a function of a block's candidates: filters, value (less where many had it),
diversity, exploration, length. What a filter leaves out is counted, once each, under the first that
says so.

Letters: B users of a block, C candidates of all of them, W columns, each user's candidates from the
best to the last, K places.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from contracts.surfaces import (
    FILTERS,
    NO_CANDIDATES,
    TOO_FEW_CANDIDATES,
    TOO_FEW_LEFT,
    Surface,
)
from models.ranking.block import NONE, Block, Items
from models.ranking.diversity import Diversified, diversified, drawable
from models.ranking.exploration import (
    Explored,
    seed_of,
    text_hashes,
    with_exploration,
    without_exploration,
)

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shown:
    """What a block's users are shown, and what became of the rest."""

    candidates: Ints
    """(B, K): places in the block's candidates; -1 behind the last item."""
    propensities: npt.NDArray[np.float64]
    """(B, K): the probability of each at its place; 0 behind the last."""
    n_candidates: Ints
    """(B,): before the policy."""
    n_filtered: Mapping[str, Ints]
    """Filter to (B,): candidates that it left out."""
    n_capped: Ints
    """(B,): candidates that a cap moved down."""
    shortfalls: npt.NDArray[np.object_]
    """(B,): why there are fewer than K; None where there are not."""


def policy_id(surface: Surface) -> str:
    """Hash of all that decides what is shown of ranked candidates: 16 hex digits."""
    decides = {
        "surface": surface.name,
        "policy": asdict(surface.policy),
        "worth": {outcome.event: outcome.worth for outcome in surface.outcomes},
        "repeats": surface.repeats,
        "n_items": surface.n_items,
    }
    text = json.dumps(decides, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def apply_policy(surface: Surface, as_of: date, items: Items, block: Block) -> Shown:
    """What the block's users are shown of their candidates."""
    left_out = filtered(surface, as_of, items, block)
    block = replace(block, values=discounted(surface, items, block))
    order, n_left = by_value(block, left_out < 0)
    unlike, rows = diversify(surface, items, block, order, n_left)
    explored = explore(surface, as_of, items, block, rows, n_left)
    n_candidates = np.diff(block.starts)
    return Shown(
        candidates=_at(rows, explored.columns),
        propensities=explored.propensities,
        n_candidates=n_candidates,
        n_filtered={
            name: np.bincount(block.rows[left_out == i], minlength=len(block))
            for i, name in enumerate(FILTERS)
        },
        n_capped=unlike.n_capped,
        shortfalls=shortfalls(n_candidates, n_left, surface.n_items),
    )


def filtered(surface: Surface, as_of: date, items: Items, block: Block) -> npt.NDArray[np.int8]:
    """(C,): the place in `FILTERS` of the first filter that leaves a candidate out; -1: none."""
    reasons = np.full(len(block.items), -1, np.int8)
    for i, name in enumerate(FILTERS):
        if name in surface.policy.filters:
            reasons[(reasons < 0) & _FILTERS[name](surface, as_of, items, block)] = i
    return reasons


def _owned(surface: Surface, as_of: date, items: Items, block: Block) -> Mask:
    return block.owned & (not surface.repeats)


def _self(surface: Surface, as_of: date, items: Items, block: Block) -> Mask:
    """The user, or what the user wrote."""
    users = block.user_keys
    as_author = pc.fill_null(pc.index_in(users, value_set=items.author_keys), NONE)
    authors = items.authors[block.items]
    by_user = authors == as_author.to_numpy(zero_copy_only=False)[block.rows]
    wrote = (authors != NONE) & by_user
    if surface.target != "user":
        return wrote
    as_item = pc.fill_null(pc.index_in(users, value_set=items.ids), NONE)
    is_user: Mask = block.items == as_item.to_numpy(zero_copy_only=False)[block.rows]
    return wrote | is_user


def _unavailable(surface: Surface, as_of: date, items: Items, block: Block) -> Mask:
    return ~items.available[block.items]


def _blocked(surface: Surface, as_of: date, items: Items, block: Block) -> Mask:
    return block.blocked


def _under_age(surface: Surface, as_of: date, items: Items, block: Block) -> Mask:
    """Of a year of birth only the age that was reached the year before is certain; a user of
    unknown age is not known to be old enough."""
    born = block.birth_years
    ages = np.where(born == NONE, -1, as_of.year - 1 - born)
    wanted = items.min_ages[block.items]
    too_young: Mask = (wanted > 0) & (ages[block.rows] < wanted)
    return too_young


def _overexposed(surface: Surface, as_of: date, items: Items, block: Block) -> Mask:
    limit = surface.policy.max_impressions
    if limit is None:
        return np.zeros(len(block.items), bool)
    return block.n_impressions > limit


_FILTERS: Mapping[str, Callable[[Surface, date, Items, Block], Mask]] = {
    "owned": _owned,
    "self": _self,
    "unavailable": _unavailable,
    "blocked": _blocked,
    "under_age": _under_age,
    "overexposed": _overexposed,
}


def discounted(surface: Surface, items: Items, block: Block) -> npt.NDArray[np.floating]:
    """(C,): what candidates are ordered by: their value, less of it where many users had them; the
    value itself where nothing was learned, for then it is one over the place on the best list."""
    power = surface.policy.popularity_discount
    if power == 0 or not block.probabilities:
        return block.values
    discounts = (1.0 + items.n_users) ** -power
    values: npt.NDArray[np.floating] = block.values * discounts[block.items]
    return values


def by_value(block: Block, is_left: Mask) -> tuple[Ints, Ints]:
    """The candidates that are left of each user, from the most valuable; ties by `item_id`.

    Returns:
        (B, W): places in the block's candidates, -1 behind the last; and (B,): how many.
    """
    left = np.flatnonzero(is_left)
    rows = block.rows[left]
    left = left[np.lexsort((block.items[left], -block.values[left], rows))]
    n_left = np.bincount(rows, minlength=len(block)).astype(np.int64)
    width = int(n_left.max(initial=0))
    order = np.full((len(block), width), -1, np.int64)
    order[np.arange(width) < n_left[:, None]] = left
    return order, n_left


def diversify(
    surface: Surface, items: Items, block: Block, order: Ints, n_left: Ints
) -> tuple[Diversified, Ints]:
    """Move down what is like what stands above it, or breaks a cap: (B, W), as `order`."""
    is_left = order >= 0
    of_items = block.items[order] if order.size else np.zeros(order.shape, np.int32)
    unlike = diversified(
        np.where(is_left, block.values[order], -np.inf) if order.size else order.astype(np.float32),
        n_left,
        np.where(is_left, items.categories[of_items], NONE),
        np.where(is_left, items.authors[of_items], NONE),
        surface.policy,
        surface.n_items,
    )
    return unlike, np.take_along_axis(order, unlike.order, axis=1)


def explore(
    surface: Surface, as_of: date, items: Items, block: Block, order: Ints, n_left: Ints
) -> Explored:
    """(B, K): the columns of `order` that are shown, some of them by chance; none that breaks a cap
    that the best obey."""
    if surface.policy.exploration == 0 or not order.size:
        return without_exploration(n_left, surface.n_items)
    seed = seed_of(surface.name, as_of)
    of_items = block.items[order]
    used, codes = np.unique(of_items, return_inverse=True)
    hashes = text_hashes(items.ids.take(used))[codes.reshape(of_items.shape)]
    users = text_hashes(block.user_keys)
    is_left, policy = order >= 0, surface.policy
    may_be_drawn = partial(
        drawable,
        np.where(is_left, items.categories[of_items], NONE),
        np.where(is_left, items.authors[of_items], NONE),
        policy,
        n_valid=n_left,
    )
    return with_exploration(
        users, hashes, n_left, surface.n_items, policy.exploration, seed, may_be_drawn
    )


def shortfalls(n_candidates: Ints, n_left: Ints, n_items: int) -> npt.NDArray[np.object_]:
    """(B,): why a list is shorter than asked; None where it is not."""
    reasons = np.full(len(n_left), None, object)
    reasons[n_left < n_items] = TOO_FEW_LEFT
    reasons[n_candidates < n_items] = TOO_FEW_CANDIDATES
    reasons[n_candidates == 0] = NO_CANDIDATES
    return reasons


def _at(order: Ints, columns: Ints) -> Ints:
    """(B, K): what stands in these columns; -1 where there is none."""
    if not order.size:
        return np.full(columns.shape, -1, np.int64)
    places = np.take_along_axis(order, np.maximum(columns, 0), axis=1)
    return np.where(columns >= 0, places, -1)
