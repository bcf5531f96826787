"""Candidates of a past day beside what then happened: what rankers learn from and are judged by.

Letters: U users, C candidates of all of them, F features, E events of the surface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.specs import RankInputs
from contracts.surfaces import Surface
from models.data.label_layout import as_numpy
from models.data.row_hashes import user_hashes
from models.ranking.baselines import hidden
from models.ranking.block import NONE, Block
from models.ranking.candidates import Candidates, read_candidates
from models.ranking.catalogue import Catalogue
from models.ranking.features import feature_names, features, own_entries
from models.ranking.happened import Happened, HappenedToAll
from models.ranking.metrics import is_pair, ndcg
from models.ranking.policy import filtered
from models.retrieval.histories import Histories

HELD_OUT_TENTHS = 1
"""Tenths of users that no ranker ever learns from, so that one of tonight and one of an earlier
night can be compared on them."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """Candidates that a user could be shown; those of user u are `starts[u]:starts[u + 1]`."""

    names: tuple[str, ...]
    """The F features."""
    features: Floats
    """(C, F): each feature is one piece of memory."""
    starts: Ints
    """(U + 1,)."""
    items: npt.NDArray[np.int32]
    """(C,): indices of items of the day."""
    events: Ints
    """(C,): what then happened, as bits in the order of the surface's outcomes."""
    is_goal: Mask
    """(C,): whether it made the item relevant."""
    weights: Floats
    """(C,): candidates that each stands for: itself, and those that were left out."""
    hashes: npt.NDArray[np.uint64]
    """(U,): of the users."""
    n_relevant: Ints
    """(U,): items relevant to the user, candidates or not."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def rows(self) -> Ints:
        """(C,): of each candidate the place of its user."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @property
    def is_held_out(self) -> Mask:
        """(U,): users that no ranker learns from."""
        return self.hashes % 10 < HELD_OUT_TENTHS

    def feature(self, name: str) -> Floats:
        """(C,)."""
        return self.features[:, self.names.index(name)]

    def only(self, kept: Mask) -> Sample:
        """Some of the candidates (C,) of the same users."""
        at = np.flatnonzero(kept)
        counts = np.bincount(self.rows[at], minlength=len(self))
        return replace(
            self,
            features=self.features.T.take(at, axis=1).T,
            starts=np.concatenate([[0], np.cumsum(counts)]),
            items=self.items[at],
            events=self.events[at],
            is_goal=self.is_goal[at],
            weights=self.weights[at],
        )

    def of_users(self, chosen: Mask) -> Sample:
        """Some of the users (U,), with all that is here of them."""
        sample = self.only(chosen[self.rows])
        counts = np.diff(sample.starts)[chosen]
        return replace(
            sample,
            starts=np.concatenate([[0], np.cumsum(counts)]),
            hashes=self.hashes[chosen],
            n_relevant=self.n_relevant[chosen],
        )

    def thinned(self, n: int) -> Sample:
        """With all that something happened with, and about `n` other candidates of each user."""
        kept, weights = thinned(self.rows, self.items, self.hashes, self.events > 0, n)
        return replace(self, weights=(self.weights * weights).astype(np.float32)).only(kept)

    def ndcg10(self, scores: npt.NDArray[np.floating]) -> Doubles:
        """(U,): nDCG@10 of the order by scores (C,), ties by item; nan of users without anything
        relevant."""
        # Only what was relevant has to be placed: behind all that comes before it.
        goals = np.flatnonzero(self.is_goal)
        users = self.rows[goals]
        sizes = np.diff(self.starts)[users]
        before = np.cumsum(sizes) - sizes
        others = np.arange(sizes.sum()) + np.repeat(self.starts[users] - before, sizes)
        score, item = np.repeat(scores[goals], sizes), np.repeat(self.items[goals], sizes)
        comes_first = scores[others] > score
        comes_first |= (scores[others] == score) & (self.items[others] < item)
        of = np.repeat(np.arange(len(goals)), sizes)
        place = np.bincount(of[comes_first], minlength=len(goals))
        first = place < 10
        hit = np.zeros((len(self), 10), bool)
        hit[users[first], place[first]] = True
        return ndcg(hit, self.n_relevant)


def joined(samples: Sequence[Sample]) -> Sample:
    """The users of all samples, one after the other."""
    sizes = np.cumsum([0, *(sample.starts[-1] for sample in samples)])
    starts = [sample.starts[1:] + size for sample, size in zip(samples, sizes[:-1], strict=True)]
    return Sample(
        samples[0].names,
        np.concatenate([sample.features for sample in samples]),
        np.concatenate([[0], *starts]),
        np.concatenate([sample.items for sample in samples]),
        np.concatenate([sample.events for sample in samples]),
        np.concatenate([sample.is_goal for sample in samples]),
        np.concatenate([sample.weights for sample in samples]),
        np.concatenate([sample.hashes for sample in samples]),
        np.concatenate([sample.n_relevant for sample in samples]),
    )


def thinned(
    rows: Ints,
    items: npt.NDArray[np.int32],
    hashes: npt.NDArray[np.uint64],
    kept_anyway: Mask,
    n: int,
) -> tuple[Mask, Doubles]:
    """Which candidates (C,) to keep, about `n` of each user besides those that are kept anyway, by
    a hash of user and item; and how many each stands for."""
    others = np.flatnonzero(~kept_anyway)
    mixed = hashes[rows[others]] * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= (items[others].astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x94D049BB133111EB)
    counts = np.bincount(rows[others], minlength=len(hashes))
    stands_for = np.maximum(counts / n, 1)
    kept, weights = kept_anyway.copy(), np.ones(len(rows))
    # Each by itself: to choose exactly `n` takes sorting, ten times as long.
    chosen = others[(mixed >> np.uint64(11)) * 2.0**-53 * stands_for[rows[others]] < 1]
    kept[chosen] = True
    weights[chosen] = stands_for[rows[chosen]]
    return kept, weights


@dataclass(frozen=True)
class Wanted:
    """How many users and candidates of a past day are looked at."""

    users: int
    """Users with something relevant, at most about so many: by a hash of their keys."""
    others: int = 0
    """Users without, at most about so many."""
    n: int | None = None
    """Candidates of each user with which nothing happened; None: all of them."""
    n_of_others: int = 50
    """The same of users without anything relevant."""


def read_sample(
    inputs: RankInputs,
    surface: Surface,
    happened: HappenedToAll,
    catalogue: Catalogue,
    wanted: Wanted,
    fold: int = 0,
) -> Sample:
    """What was known of the candidates of a past day, and what then happened with them.

    Users without anything relevant are among them in proportion to all there are, as `weights` say.
    """
    chosen = _ChosenUsers.of(inputs, surface, happened, wanted, fold)
    blocks = read_candidates(inputs, surface, catalogue.ids, fold, chosen.is_wanted)
    parts = [
        _sample(surface, catalogue, inputs.as_of, candidates, happened, wanted, chosen)
        for candidates in blocks
    ]
    return joined([_nothing(surface), *parts])


@dataclass(frozen=True)
class _ChosenUsers:
    """Which users are looked at, by a hash of their keys."""

    with_goal: pa.Array
    share: float
    """Of users with something relevant."""
    share_of_others: float

    @classmethod
    def of(
        cls,
        inputs: RankInputs,
        surface: Surface,
        happened: HappenedToAll,
        wanted: Wanted,
        fold: int,
    ) -> _ChosenUsers:
        with_goal = pc.unique(happened.users.filter(pa.array(happened.is_goal)))
        n, n_others = len(with_goal), 0
        if wanted.others:
            n_others = _n_users(inputs.histories, surface, fold) - n
        return cls(with_goal, _share(wanted.users, n), _share(wanted.others, n_others))

    def has_goal(self, user_keys: pa.ChunkedArray) -> Mask:
        """(U,)."""
        return as_numpy(pc.is_in(user_keys, value_set=self.with_goal)).astype(bool)

    def is_wanted(self, user_keys: pa.ChunkedArray) -> pa.ChunkedArray:
        """(U,)."""
        # The last digit of the hash says who is held out.
        place = (user_hashes(pa.table({"user_key": user_keys})) // np.uint64(10)) / (2**31 / 10)
        shares = np.where(self.has_goal(user_keys), self.share, self.share_of_others)
        return pa.chunked_array([pa.array(place < shares)])

    def weights(self, user_keys: pa.ChunkedArray) -> Doubles:
        """(U,): users that each stands for."""
        weights: Doubles = 1 / np.where(
            self.has_goal(user_keys), self.share, max(self.share_of_others, 1e-9)
        )
        return weights


def _share(wanted: int, n: int) -> float:
    return min(wanted / n, 1.0) if n > 0 else 1.0


def _n_users(histories: Sequence[str], surface: Surface, fold: int) -> int:
    chosen = [("surface", "==", surface.name), ("fold", "==", fold)]
    return sum(
        pq.read_table(path, columns=["fold"], filters=chosen, partitioning=None).num_rows
        for path in histories
    )


def _sample(
    surface: Surface,
    catalogue: Catalogue,
    as_of: date,
    all_candidates: Candidates,
    happened: HappenedToAll,
    wanted: Wanted,
    chosen: _ChosenUsers,
) -> Sample:
    """What may be shown of a block's candidates, beside what then happened."""
    candidates = all_candidates.only(
        filtered(surface, as_of, catalogue.items, block_of(catalogue, all_candidates)) < 0
    )
    histories = candidates.histories
    pairs = happened.of(histories.users["user_key"].combine_chunks())
    events, is_goal = _at(candidates, pairs, len(catalogue))
    n_relevant = _n_relevant(surface, catalogue, histories, pairs)
    hashes = user_hashes(histories.users)
    rows = candidates.rows
    weights = chosen.weights(histories.users["user_key"])[rows]
    kept = np.ones(len(rows), bool)
    for is_of, n in ((n_relevant > 0, wanted.n), (n_relevant == 0, wanted.n_of_others)):
        if n is not None:
            of = is_of[rows]
            some, some_weights = thinned(rows[of], candidates.items[of], hashes, events[of] > 0, n)
            kept[of] = some
            weights[of] *= some_weights
    candidates = candidates.only(kept)
    return Sample(
        feature_names(surface),
        features(surface, catalogue, candidates),
        candidates.starts,
        candidates.items,
        events[kept],
        is_goal[kept],
        weights[kept].astype(np.float32),
        hashes,
        n_relevant,
    )


def _at(candidates: Candidates, pairs: Happened, n_items: int) -> tuple[Ints, Mask]:
    """(C,) each: what happened with candidates, as bits, and whether it made them relevant."""
    n = max(n_items, 1)
    keys = pairs.rows * n + pairs.items
    order = np.argsort(keys)
    asked = candidates.rows * n + candidates.items
    events, is_goal = np.zeros(len(asked), np.int64), np.zeros(len(asked), bool)
    if len(keys):
        at = order[np.minimum(np.searchsorted(keys[order], asked), len(keys) - 1)]
        found = keys[at] == asked
        events[found], is_goal[found] = pairs.events[at[found]], pairs.is_goal[at[found]]
    return events, is_goal


def _n_relevant(
    surface: Surface, catalogue: Catalogue, histories: Histories, pairs: Happened
) -> Ints:
    """(U,): items relevant to each user, of those that the user could have been shown."""
    hide = hidden(histories, catalogue.ids, surface.repeats)
    rows, items = pairs.rows[pairs.is_goal], pairs.items[pairs.is_goal]
    could = ~is_pair(rows, items, hide.rows, hide.items, max(len(catalogue), 1))
    return np.bincount(rows[could], minlength=len(histories))


def block_of(
    catalogue: Catalogue,
    candidates: Candidates,
    values: Floats | None = None,
    probabilities: Mapping[str, Floats] | None = None,
) -> Block:
    """Candidates as the policy takes them; without values where it shall only filter."""
    own = own_entries(candidates)
    users = candidates.histories.users
    none = np.zeros(len(candidates.items), np.float32)
    return Block(
        user_keys=users["user_key"].combine_chunks(),
        birth_years=as_numpy(pc.fill_null(users["birth_year"], NONE)).astype(np.int32),
        starts=candidates.starts,
        items=candidates.items,
        values=none if values is None else values,
        sources=candidates.sources,
        because=candidates.because,
        owned=own.get("owned") > 0,
        blocked=own.get("blocked") > 0,
        n_impressions=np.nan_to_num(own.get("n_impressions")).astype(np.int64),
        probabilities=probabilities or {},
    )


def _nothing(surface: Surface) -> Sample:
    """No users."""
    names = feature_names(surface)
    return Sample(
        names,
        np.zeros((0, len(names)), np.float32),
        np.zeros(1, np.int64),
        np.zeros(0, np.int32),
        np.zeros(0, np.int64),
        np.zeros(0, bool),
        np.zeros(0, np.float32),
        np.zeros(0, np.uint64),
        np.zeros(0, np.int64),
    )
