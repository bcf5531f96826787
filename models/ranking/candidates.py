"""What sources suggest to users, as arrays: each pair of a user and an item once.

Letters: I items of the surface, B users, C candidates of all of them, L lists that a user has,
N entries of lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.recommendation_tables import (
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.specs import RankInputs
from contracts.surfaces import POPULARITY, Surface
from contracts.tables import USER_FEATURES
from models.data.arrow_schema import arrow_schema
from models.data.label_layout import as_numpy
from models.ranking.block import source_bit
from models.retrieval.histories import Histories, to_histories
from models.retrieval.user_rows import UserRows, places_in

BLOCK_USERS = 512
"""Users whose candidates are in memory at a time."""

ACTIVITY = (
    "n_active_days_7d", "n_active_days_30d", "n_active_days_90d", "n_orders_30d", "n_orders_90d",
    "days_since_first_seen", "days_since_last_seen",
)  # fmt: skip
"""Columns of `user_features` that say how active a user is, whatever the surface."""

OWN, ALL, COUNTRY, CATEGORY = "", "all", "country", "category"
"""Whose a list is: the user's own, everybody's, or that of the user's country or category."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
IsWanted = Callable[[pa.ChunkedArray], pa.ChunkedArray]
"""Whether a user's candidates are asked for, of each `user_key`."""


@dataclass(frozen=True)
class ListKind:
    """A list that a user may have: by a source, for whom."""

    source: str
    whose: str = OWN

    @property
    def name(self) -> str:
        """How features of it are called."""
        return f"{self.source}_{self.whose}" if self.whose in (COUNTRY, CATEGORY) else self.source


def list_kinds(surface: Surface) -> tuple[ListKind, ...]:
    """The lists that a user of the surface may have."""
    kinds: list[ListKind] = []
    for source in surface.sources:
        if source in POPULARITY:
            kinds.append(ListKind(source, ALL))
        elif source.endswith("_in_segment"):
            kinds += [ListKind(source, COUNTRY), ListKind(source, CATEGORY)]
        elif source == "new":
            kinds += [ListKind(source, ALL), ListKind(source, CATEGORY)]
        else:
            kinds.append(ListKind(source))
    return tuple(kinds)


@dataclass(frozen=True)
class Candidates:
    """The candidates of user b are those at `starts[b]:starts[b + 1]`, by ascending item."""

    histories: Histories
    """The B users."""
    activity: Floats
    """(B, A): `ACTIVITY` of the users; nan where it is not known."""
    starts: Ints
    """(B + 1,)."""
    items: npt.NDArray[np.int32]
    """(C,): indices of items."""
    kinds: tuple[ListKind, ...]
    """The L lists that a user may have."""
    places: Floats
    """(L, C): the place in each list, from 0; nan: it is not there."""
    scores: Floats
    """(L, C): the score in each list; nan: it is not there."""
    best: Floats
    """(L, B): the highest score in each of the user's lists; nan: there is no such list."""
    because: pa.Array
    """(C,): texts or a dictionary of them: the reason of the list in which the candidate stands
    highest, of those that give one; empty where none does."""

    @property
    def rows(self) -> Ints:
        """(C,): of each candidate the place of its user."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @property
    def sources(self) -> Ints:
        """(C,): sets of the sources that gave it, as bits."""
        sets = np.zeros(len(self.items), np.int64)
        for kind, is_there in zip(self.kinds, self.is_there, strict=True):
            np.bitwise_or(sets, source_bit(kind.source), out=sets, where=is_there)
        return sets

    @cached_property
    def is_there(self) -> npt.NDArray[np.bool_]:
        """(L, C): whether it is in each list."""
        return ~np.isnan(self.places)

    def only(self, kept: npt.NDArray[np.bool_]) -> Candidates:
        """Some of the candidates (C,) of the same users."""
        at = np.flatnonzero(kept)
        counts = np.bincount(self.rows[at], minlength=len(self.starts) - 1)
        return Candidates(
            self.histories,
            self.activity,
            np.concatenate([[0], np.cumsum(counts)]),
            self.items[at],
            self.kinds,
            self.places.take(at, axis=1),
            self.scores.take(at, axis=1),
            self.best,
            self.because.take(pa.array(at)),
        )


class PopularLists:
    """Lists that many users share, of one surface and day."""

    def __init__(self, files: Sequence[str], surface: Surface, item_ids: pa.Array):
        self._n_items = len(item_ids)
        rows = _popular_rows(files, surface)
        sources, segments = rows["source"].to_pylist(), rows["segment"].to_pylist()
        self._number = {pair: i for i, pair in enumerate(zip(sources, segments, strict=True))}
        parents, at, known = _entries(rows, item_ids)
        starts = np.searchsorted(parents, np.arange(len(rows) + 1))
        self._starts = starts
        self._places = (np.arange(len(parents)) - starts[parents]).astype(np.float32)
        self._items = np.where(known, at, -1)
        self._scores = as_numpy(pc.list_flatten(rows["scores"])).astype(np.float32)

    def numbers(self, kind: ListKind, histories: Histories) -> Ints:
        """(B,): the number of each user's list of this kind; -1: there is none."""
        if kind.whose == ALL:
            number = self._number.get((kind.source, "all"), -1)
            return np.full(len(histories), number, np.int64)
        column = "country" if kind.whose == COUNTRY else "favourite_category"
        coded = histories.users[column].combine_chunks().dictionary_encode()
        by_code = [
            self._number.get((kind.source, f"{kind.whose}={value}"), -1)
            for value in coded.dictionary.to_pylist()
        ]
        codes = as_numpy(pc.fill_null(coded.indices, len(by_code)))
        return np.array([*by_code, -1], np.int64)[codes]

    def entries(self, numbers: Ints) -> tuple[Ints, Ints]:
        """Of each user's list (B,): the users (N,) and where their entries (N,) stand."""
        rows = np.flatnonzero(numbers >= 0)
        lengths = self._starts[numbers[rows] + 1] - self._starts[numbers[rows]]
        before = np.cumsum(lengths) - lengths
        within = np.arange(lengths.sum()) - np.repeat(before, lengths)
        at = np.repeat(self._starts[numbers[rows]], lengths) + within
        known = self._items[at] >= 0
        return np.repeat(rows, lengths)[known], at[known]

    def of(self, kind: ListKind, histories: Histories) -> _Entries:
        """The entries of all users' lists of a kind."""
        rows, at = self.entries(self.numbers(kind, histories))
        return _Entries(rows, self._items[at], self._places[at], self._scores[at], None)


@dataclass(frozen=True)
class _Entries:
    """Entries of users' lists of one kind, each array (N,)."""

    rows: Ints
    items: Ints
    places: Floats
    scores: Floats
    because: pa.Array | None


def read_candidates(
    inputs: RankInputs,
    surface: Surface,
    item_ids: pa.Array,
    fold: int = 0,
    is_wanted: IsWanted | None = None,
    users: tuple[str, str] = ("", ""),
) -> Iterator[Candidates]:
    """The candidates of users, `BLOCK_USERS` at a time, by ascending `user_key`.

    Args:
        inputs: what is known as of the day.
        surface: where they are shown.
        item_ids: (I,): the surface's items in ascending order.
        fold: of histories and candidates.
        is_wanted: says of which users; None: of all.
        users: the first `user_key`, and the one before which to stop; empty: from the first, or to
            the last.
    """
    popular = PopularLists(inputs.popular, surface, item_ids)
    streams = [
        UserRows(table, files, surface.name, inputs.as_of, users=users)
        for table, files in (
            (REC_HISTORIES, inputs.histories),
            (REC_CANDIDATES, inputs.candidates),
            (REC_RETRIEVED, inputs.retrieved),
        )
    ]
    of_users = UserRows(
        USER_FEATURES, inputs.user_features, None, inputs.as_of, ACTIVITY, users=users
    )
    # Both folds of a user are rows of `rec_histories`.
    while (rows := streams[0].next(2 * BLOCK_USERS)).num_rows:
        last = rows["user_key"][-1].as_py()
        lists = pa.concat_tables([stream.up_to(last) for stream in streams[1:]])
        activity = of_users.up_to(last)
        rows = rows.filter(pc.equal(rows["fold"], fold))
        # What is not timed alone is left out of the other fold: popularity and models are not.
        lists = lists.filter(pc.equal(lists["fold"], fold))
        if is_wanted is not None:
            rows = rows.filter(is_wanted(rows["user_key"]))
        for at in range(0, rows.num_rows, BLOCK_USERS):
            histories = to_histories(rows.slice(at, BLOCK_USERS).combine_chunks(), item_ids)
            known = _activity(activity, histories)
            yield candidates_of(surface, histories, known, lists, popular, item_ids)


def candidates_of(
    surface: Surface,
    histories: Histories,
    activity: Floats,
    lists: pa.Table,
    popular: PopularLists,
    item_ids: pa.Array,
) -> Candidates:
    """The union of what the users' own lists, rows of `rec_candidates` and `rec_retrieved`, and
    those that they share suggest."""
    kinds = list_kinds(surface)
    own = _own_entries(lists, histories.users["user_key"], item_ids)
    by_kind = [
        own.get(kind.source, _NOTHING) if kind.whose == OWN else popular.of(kind, histories)
        for kind in kinds
    ]
    n_items, n_users = max(len(item_ids), 1), len(histories)
    keys = [entries.rows * n_items + entries.items for entries in by_kind]
    pairs, at_of = numbered(keys, n_users * n_items)
    shape = (len(kinds), len(pairs))
    places, scores = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    best = np.full((len(kinds), n_users), np.nan, np.float32)
    for i, (entries, at) in enumerate(zip(by_kind, at_of, strict=True)):
        places[i, at], scores[i, at] = entries.places, entries.scores
        first = entries.places == 0
        best[i, entries.rows[first]] = entries.scores[first]
    rows = pairs // n_items
    return Candidates(
        histories,
        activity,
        np.searchsorted(rows, np.arange(n_users + 1)),
        (pairs % n_items).astype(np.int32),
        kinds,
        places,
        scores,
        best,
        _because(by_kind, at_of, len(pairs)),
    )


MAX_CELLS = 1 << 24
"""Pairs of users and items up to which each has a cell in memory."""


def numbered(keys: Sequence[Ints], n_cells: int) -> tuple[Ints, list[Ints]]:
    """Different keys, ascending, all below `n_cells`; and of each key where among them it stands.

    A cell for each that there could be takes a quarter of the time of sorting, where there are not
    too many; sorting takes a third of that of `np.unique`, which hashes.
    """
    if n_cells <= MAX_CELLS:
        is_there = np.zeros(n_cells, bool)
        for key in keys:
            is_there[key] = True
        different = np.flatnonzero(is_there)
        number = np.empty(n_cells, np.int32)
        number[different] = np.arange(len(different), dtype=np.int32)
        return different, [number[key].astype(np.int64) for key in keys]
    different = np.sort(np.concatenate([np.zeros(0, np.int64), *keys]))
    is_first = np.append(True, different[1:] != different[:-1])[: len(different)]
    different = different[is_first]
    return different, [np.searchsorted(different, key) for key in keys]


def _activity(rows: pa.Table, histories: Histories) -> Floats:
    """(B, A) of rows of `user_features`."""
    at = pc.index_in(histories.users["user_key"], value_set=rows["user_key"].combine_chunks())
    columns = [pc.cast(rows[name].take(at), pa.float32()) for name in ACTIVITY]
    return np.stack([as_numpy(column) for column in columns], axis=1).astype(np.float32)


def _own_entries(
    lists: pa.Table, user_keys: pa.ChunkedArray, item_ids: pa.Array
) -> Mapping[str, _Entries]:
    """Source to the entries of the users' lists, of rows of several sources."""
    by_source = {}
    row = pc.index_in(lists["user_key"], value_set=user_keys.combine_chunks())
    lists = lists.append_column("row", row).filter(pc.is_valid(row))
    for source in pc.unique(lists["source"]).to_pylist():
        of_source = lists.filter(pc.equal(lists["source"], source)).combine_chunks()
        rows = as_numpy(of_source["row"]).astype(np.int64)
        parents, at, known = _entries(of_source, item_ids)
        starts = np.searchsorted(parents, np.arange(len(rows)))
        places = (np.arange(len(parents)) - starts[parents]).astype(np.float32)
        by_source[source] = _Entries(
            rows[parents][known],
            at[known],
            places[known],
            as_numpy(pc.list_flatten(of_source["scores"])).astype(np.float32)[known],
            pc.list_flatten(of_source["because"]).combine_chunks().filter(pa.array(known)),
        )
    return by_source


_NOTHING = _Entries(
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    None,
)


def _entries(rows: pa.Table, item_ids: pa.Array) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Of each entry of `item_ids` of rows: its row, its item, and whether the surface has it."""
    lengths = as_numpy(pc.list_value_length(rows["item_ids"])).astype(np.int64)
    at = places_in(pc.list_flatten(rows["item_ids"]), item_ids)
    known = as_numpy(pc.is_valid(at)).astype(bool)
    items = as_numpy(pc.fill_null(at, 0)).astype(np.int64)
    return np.repeat(np.arange(len(lengths)), lengths), items, known


def _because(by_kind: Sequence[_Entries], at_of: Sequence[Ints], n: int) -> pa.DictionaryArray:
    """(C,): the reason of the list in which a candidate stands highest, of those with a reason."""
    reasons, targets, places = [pa.array([""]).dictionary_encode()], [], []
    for entries, at in zip(by_kind, at_of, strict=True):
        if entries.because is not None:
            reasons.append(entries.because.dictionary_encode())
            targets.append(at)
            places.append(entries.places)
    if not targets:
        return reasons[0].take(pa.array(np.zeros(n, np.int64)))
    texts = pa.chunked_array(reasons).unify_dictionaries().combine_chunks()
    target, place = np.concatenate(targets), np.concatenate(places)
    is_given = as_numpy(pc.not_equal(texts.dictionary, "")).astype(bool)
    given = np.flatnonzero(is_given[as_numpy(texts.indices)[1:]])
    order = given[np.lexsort((given, place[given], target[given]))]
    first = np.ones(len(order), bool)
    first[1:] = target[order][1:] != target[order][:-1]
    chosen = np.zeros(n, np.int64)
    chosen[target[order][first]] = order[first] + 1
    return texts.take(pa.array(chosen))


def _popular_rows(files: Sequence[str], surface: Surface) -> pa.Table:
    """Rows of `rec_popular` of a surface: there are as many as segments and sources."""
    schema = arrow_schema(REC_POPULAR)
    chosen = [("surface", "==", surface.name)]
    tables = [pq.read_table(path, filters=chosen, partitioning=None) for path in files]
    rows = pa.concat_tables(
        [schema.empty_table(), *(table.select(schema.names).cast(schema) for table in tables)]
    )
    return rows.sort_by([("segment", "ascending"), ("source", "ascending")]).combine_chunks()
