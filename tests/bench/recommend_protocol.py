"""The protocol of `make bench-recommend`: what is known before a cut, what then is relevant, and the
figures of a method's lists.

All before T is known. Judged are users known before T with at least one relevant item in [T, T + H)
among the items known before T; without repeats, what a user had before T is not relevant to the
user, and masked from every method. Gain is binary. It is computed from the clean tables and from
`interactions` alone, and knows nothing of candidates or lists.

Letters: U users and I items known before T, E judged users, K places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from contracts.clean_tables import CLEAN_TABLES
from contracts.recommendation_tables import INTERACTIONS
from contracts.surfaces import Surface
from flows.lake.lake import Lake
from flows.release.parquet_views import read_files
from flows.storage.duckdb_connections import in_memory
from models.ranking.metrics import (
    NO_ITEM,
    Array,
    coverage,
    gini,
    hit_rate,
    hits,
    interval,
    is_pair,
    n_relevant,
    ndcg,
    novelty,
    recall,
)

K = 100
"""Places of the lists that twins give, and of each source that are looked at."""
EPOCH = date(1970, 1, 1)
CATALOGUES = {"item": ("items", "item_id"), "post": ("posts", "post_id"),
              "user": ("users", "user_key")}  # fmt: skip
"""By kind of target, the clean table and its column that say what there is."""


@dataclass(frozen=True)
class Past:
    """What is known of a surface before a cut: a row for each user, item and day with a goal."""

    users: Array
    """(U,) keys, ascending."""
    items: Array
    """(I,) ids, ascending."""
    rows: Array
    places: Array
    ages: Array
    """Days before the cut, 1 at least."""
    owned: sp.csr_matrix
    """(U, I): 1 where a user had an item."""

    @cached_property
    def counts(self) -> sp.csr_matrix:
        """(U, I): days with a goal."""
        return self.decayed(None)

    def decayed(self, half_life: float | None) -> sp.csr_matrix:
        """(U, I): days with a goal, each halved every so many days of age; None: not at all."""
        weights = np.ones(len(self.ages)) if half_life is None else 2.0 ** (-self.ages / half_life)
        shape = (len(self.users), len(self.items))
        return sp.csr_matrix((weights, (self.rows, self.places)), shape=shape)


@dataclass(frozen=True)
class Question:
    """Who is judged at a cut, by what."""

    past: Past
    judged: Array
    """(E,) users, as numbers of `Past.users`, ascending."""
    row: Array
    """Of each relevant pair the user, a number from 0 to E."""
    item: Array
    masked: sp.csr_matrix
    """(E, I): 1 where an item is no candidate of a user."""
    masks_all: bool = False
    """Whether released lists are masked as well. Else what they show a user who has it is a miss."""

    @property
    def keys(self) -> Array:
        return self.past.users[self.judged]

    def masked_first(self, lists: Array, k: int = K) -> Array:
        """(E, k) lists (E, n) without what is masked, moved up."""
        row, item = self.masked.nonzero()
        rows = np.arange(len(lists))[:, None]
        gone = (lists == NO_ITEM) | is_pair(rows, lists, row, item, len(self.past.items))
        at = np.argsort(gone, axis=1, kind="stable")[:, :k]
        first = np.where(np.take_along_axis(gone, at, 1), NO_ITEM, np.take_along_axis(lists, at, 1))
        return np.pad(first, ((0, 0), (0, k - first.shape[1])), constant_values=NO_ITEM)

    def lists_of(self, users: Sequence[str], item_ids: Sequence[Sequence[str]]) -> Array:
        """(E, n) lists of ids of some users, as numbers; what is not known before T is left out."""
        of = {key: e for e, key in enumerate(self.keys)}
        n = max((len(ids) for ids in item_ids), default=0)
        lists = np.full((len(self.judged), max(n, 1)), NO_ITEM, dtype=np.int64)
        for user, ids in zip(users, item_ids, strict=True):
            if (e := of.get(user)) is not None and len(ids):
                lists[e, : len(ids)] = numbers(self.past.items, np.asarray(ids, dtype=str))
        return lists


@dataclass(frozen=True)
class Figures:
    """What a method reaches at one cut."""

    users: Array
    """(E,) keys."""
    ndcg10: Array
    recall20: Array
    hit10: Array
    novelty: Array
    coverage10: float
    gini: float


def figures(question: Question, lists: Array) -> Figures:
    """Of lists (E, K), best first."""
    past, e = question.past, len(question.judged)
    hit = hits(lists, question.row, question.item, len(past.items))
    relevant = n_relevant(question.row, e)
    n_had = np.asarray((past.counts > 0).sum(axis=0)).ravel()
    return Figures(
        question.keys,
        ndcg(hit, relevant),
        recall(hit, relevant),
        hit_rate(hit),
        novelty(lists, n_had, len(past.users)),
        coverage(lists, len(past.items)),
        gini(lists, len(past.items)),
    )


def averaged(seeds: Sequence[Figures]) -> Figures:
    """The mean over seeds of what a method reaches at one cut, user by user."""
    first = seeds[0]
    means = {
        name: np.mean([getattr(one, name) for one in seeds], axis=0)
        for name in ("ndcg10", "recall20", "hit10", "novelty", "coverage10", "gini")
    }
    return Figures(first.users, **means)


def pooled(cuts: Sequence[Figures], seed: int = 0) -> dict[str, float]:
    """Means over all users of all cuts; a user of several is drawn with all of them."""
    users = np.concatenate([cut.users for cut in cuts])
    by_user = np.concatenate([cut.ndcg10 for cut in cuts])
    low, high = interval(by_user, users, seed)
    return {
        "ndcg10": float(by_user.mean()),
        "low": low,
        "high": high,
        "recall20": float(np.concatenate([cut.recall20 for cut in cuts]).mean()),
        "hit10": float(np.concatenate([cut.hit10 for cut in cuts]).mean()),
        "coverage10": float(np.mean([cut.coverage10 for cut in cuts])),
        "novelty": _mean_of_known(np.concatenate([cut.novelty for cut in cuts])),
        "gini": float(np.mean([cut.gini for cut in cuts])),
    }


def _mean_of_known(values: Array) -> float:
    """0 where no list has an item."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def paired(one: Sequence[Figures], other: Sequence[Figures], seed: int = 0) -> list[float]:
    """By how much nDCG@10 of one method is above that of another, and its interval."""
    users = np.concatenate([cut.users for cut in one])
    gain = np.concatenate([a.ndcg10 - b.ndcg10 for a, b in zip(one, other, strict=True)])
    return [float(gain.mean()), *interval(gain, users, seed)]


@dataclass(frozen=True)
class World:
    """All interactions of a home, and what there is, with the day from which it is known."""

    interactions: Mapping[str, Array]
    catalogue: Mapping[str, tuple[Array, Array]]
    """By kind of target: ids, and the day on which each landed."""

    def question(self, surface: Surface, cut: date, repeats: bool) -> Question:
        """What the surface is judged by at a cut."""
        rows, t = self.interactions, (cut - EPOCH).days
        before = np.maximum(rows["day"], rows["landed_on"]) < t
        of_surface = rows["target_kind"] == surface.target
        goal = of_surface & np.isin(rows["event"], surface.goals)
        users = self._known("user", rows["user_key"][before], t)
        items = self._known(surface.target, rows["target_id"][before & of_surface], t)
        past = _past(rows, before & goal, before & of_surface, surface, users, items, t)
        end = ((cut + timedelta(days=surface.horizon_days)) - EPOCH).days
        after = goal & (rows["day"] >= t) & (rows["day"] < end)
        row, item = (numbers(users, rows["user_key"][after]),
                     numbers(items, rows["target_id"][after]))  # fmt: skip
        known = (row != NO_ITEM) & (item != NO_ITEM)
        if not repeats:
            known[known] &= np.asarray(past.owned[row[known], item[known]]).ravel() == 0
        pairs = np.unique(np.stack([row[known], item[known]], axis=1), axis=0)
        judged, of_judged = np.unique(pairs[:, 0], return_inverse=True)
        masked = past.owned[judged] if not repeats else past.owned[judged] * 0
        masked.eliminate_zeros()
        return Question(past, judged, of_judged, pairs[:, 1], masked)

    def _known(self, kind: str, seen: Array, t: int) -> Array:
        ids, landed = self.catalogue.get(kind, (seen[:0], np.zeros(0, dtype=np.int64)))
        return np.union1d(np.unique(seen), ids[landed < t])


def _past(
    rows: Mapping[str, Array],
    goals: Array,
    any_event: Array,
    surface: Surface,
    users: Array,
    items: Array,
    t: int,
) -> Past:
    def coordinates(mask: Array) -> tuple[Array, Array]:
        return numbers(users, rows["user_key"][mask]), numbers(items, rows["target_id"][mask])

    row, item = coordinates(goals)
    by_day = np.unique(np.stack([row, item, t - rows["day"][goals]], axis=1), axis=0)
    had = any_event & np.isin(rows["event"], surface.owned_by or surface.goals)
    owned = sp.csr_matrix(
        (np.ones(had.sum()), coordinates(had)), shape=(len(users), len(items))
    ).sign()
    return Past(users, items, by_day[:, 0], by_day[:, 1], by_day[:, 2], owned)


def numbers(known: Array, ids: Array) -> Array:
    """The place of each id among the known, ascending ones; `NO_ITEM` of others."""
    if not len(known):
        return np.full(len(ids), NO_ITEM, dtype=np.int64)
    at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    place: Array = np.where(known[at] == ids, at, NO_ITEM)
    return place


def world_of(home: Path) -> World:
    """What a home has cleaned."""
    lake = Lake(home / "lake")
    names = ("user_key", "target_kind", "target_id", "event", "day", "landed_on")
    rows = _columns([file.path for file in lake.files(INTERACTIONS)], names)
    catalogue = {}
    for kind, (name, column) in CATALOGUES.items():
        table = next(table for table in CLEAN_TABLES if table.name == name)
        if files := lake.files(table):
            there = _columns([file.path for file in files], (column, "landed_on"))
            ids, first = np.unique(there[column], return_inverse=True)
            landed = np.full(len(ids), np.iinfo(np.int64).max)
            np.minimum.at(landed, first, there["landed_on"])
            catalogue[kind] = (ids, landed)
    return World(rows, catalogue)


def _columns(paths: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """Columns of Parquet files; days are numbers since 1970."""
    days = ("day", "landed_on")
    listed = ", ".join(f"{n} - DATE '1970-01-01' AS {n}" if n in days else n for n in names)
    with in_memory() as connection:
        read_files(connection, paths).create_view("files")
        read = connection.execute(f"SELECT {listed} FROM files ORDER BY ALL").fetchnumpy()
    return {n: read[n].astype(np.int64) if n in days else read[n].astype(str) for n in names}
