"""What each source of candidates says of a world: what of its users, and what of its items.

A source gives tastes, the reasons that each user has (such as items that the user bought) with
their weights, and lists, what each reason suggests (items that go together with it) with scores. A
candidate's score is the sum, over the user's reasons, of weight times score. Both are whole
numbers, in 2^20ths, so that sums are exact in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.recommendation_tables import REC_CANDIDATES
from contracts.surfaces import Surface
from jobs.candidates import follow_walks
from jobs.candidates.add_up import add_up
from jobs.candidates.arrow_lists import flat, one_array, starts
from jobs.candidates.caps import Caps
from jobs.candidates.entries import Catalogue, Entries
from jobs.candidates.fixed_point import ONE
from jobs.candidates.follow_walks import follows, follows_of, walks
from jobs.candidates.followed_authors import by_authors, followed_authors
from jobs.candidates.grouped_steps import Key
from jobs.candidates.interests import interests, of_categories
from jobs.candidates.own_items import own
from jobs.candidates.same_tastes import fans, same_tastes
from jobs.candidates.step_rows import (
    FOLLOWS,
    HIDDEN,
    LIKES,
    LISTS,
    OWN,
    PAIRS,
    TASTES,
    World,
    all_rows,
    grouped,
)
from jobs.candidates.together import neighbours, together
from jobs.spark.schema import arrow_schema

CANDIDATES = arrow_schema(REC_CANDIDATES)
COUNTED = (
    "own", "together", "interests", "same_tastes", "followed_authors",
    *follow_walks.SOURCES,
)  # fmt: skip
"""Sources that are computed here; the others are popularity, and what models retrieve."""

_UNEXPLAINED = ("own", follow_walks.FOLLOWS_BACK)
"""Sources of which nothing but the candidate itself explains it."""
_FINAL = (OWN, TASTES, LISTS, HIDDEN)
"""Kinds of rows that nothing more is made of but sums."""


@dataclass(frozen=True)
class Sources:
    """The surfaces, and how their worlds are counted."""

    surfaces: Sequence[Surface]
    n: int
    """Items that a source may give a user."""
    caps: Caps
    n_parts: int
    """Parts of the users and of the items of a world."""
    folds: Mapping[tuple[date, str], Sequence[int]]
    """Of each day and surface."""
    is_small: bool = False
    """Whether a day is counted in one task, for all days have few rows."""

    def asking(self, source: str) -> list[Surface]:
        """The surfaces that ask for a source."""
        return [surface for surface in self.surfaces if source in surface.sources]

    def of_day(self, key: Key, histories: pa.Table, items: pa.Table) -> pa.Table:
        """All candidates of a day: the three steps one after the other."""
        (as_of,) = key
        worlds = [
            (as_of, *map(pa.scalar, (surface, fold)), pa.scalar(0))
            for (day, surface), folds in self.folds.items()
            if day == as_of.as_py()
            for fold in folds
        ]
        rows_of_users = all_rows(
            [
                self.of_users(key, _of(histories, "surface", key[1], "fold", key[2]),
                              _of(items, "surface", key[1]))
                for key in worlds
            ]
        )  # fmt: skip
        candidates = [CANDIDATES.empty_table()]
        for key in worlds:
            rows = _of(rows_of_users, "surface", key[1], "fold", key[2])
            rows = self.of_items(key, rows, _of(items, "surface", key[1]))
            for source in map(pa.scalar, self._surface(_world(key)).sources):
                if len(some := _of(rows, "source", source)):
                    candidates.append(self.added_up((*key[:3], source, key[3]), some))
        return pa.concat_tables(candidates)

    def of_users(self, key: Key, histories: pa.Table, items: pa.Table) -> pa.Table:
        """What a part of the users of a world say."""
        world, entries = _world(key), Entries.of(histories)
        if not len(entries.users):
            return all_rows([])
        surface, catalogue = self._surface(world), Catalogue.of(items)
        tables = [*self._hidden(world, entries, surface)]
        if "own" in surface.sources:
            tables += own(world, entries, catalogue, surface, self.n)
        if "together" in surface.sources:
            tastes, pairs = together(world, entries, catalogue, self.n_parts, self.caps.own)
            tables += [tastes, *self._neighbours(world, pairs, catalogue)]
        if "interests" in surface.sources:
            tables += interests(world, entries, catalogue, self.caps.categories)
        if any(source in surface.sources for source in follow_walks.SOURCES):
            tables += follows(world, entries)
        if world.fold == 0 and surface.target == "user":
            for reading in self.asking("followed_authors"):
                posts = world._replace(surface=reading.name)
                tables += followed_authors(posts, entries, follows_of(entries), self.caps.authors)
        if world.fold == 0 and surface in self._shops:
            people = [
                World(world.as_of, s.name, fold)
                for s in self.asking("same_tastes")
                for fold in self.folds.get((world.as_of, s.name), ())
            ]
            tables += same_tastes(people, entries, catalogue, self.n_parts, self.caps.liked)
        return all_rows(tables)

    def _neighbours(self, world: World, pairs: pa.Table, catalogue: Catalogue) -> list[pa.Table]:
        """What a part of the users say of pairs of items; all users say at once what goes together:
        pairs, most of what there is to say, then go nowhere."""
        if self.n_parts > 1:
            return [pairs]
        return neighbours(world, pairs, catalogue, self.caps.neighbours)

    @property
    def _shops(self) -> list[Surface]:
        """The first surface on which items are shown: what users like of it is their taste."""
        return [surface for surface in self.surfaces if surface.target == "item"][:1]

    def of_items(self, key: Key, rows: pa.Table, items: pa.Table) -> pa.Table:
        """What a part of the items of a world suggest, of what users say; and the rest of it."""
        world, catalogue = _world(key), Catalogue.of(items)
        surface, part = self._surface(world), key[-1].as_py()
        tables = [_of_kind(rows, *_FINAL)]
        if len(pairs := _of_kind(rows, PAIRS)):
            tables += neighbours(world, pairs, catalogue, self.caps.neighbours)
        if len(likes := _of_kind(rows, LIKES)):
            tables += fans(world, likes, catalogue.unavailable, self.caps.fans)
        if len(edges := _of_kind(rows, FOLLOWS)):
            tables += walks(world, edges, catalogue.unavailable, surface.sources, self.caps)
        if part == 0 and world.fold == 0:
            if "interests" in surface.sources:
                tables += of_categories(world, catalogue, self.caps.of_category)
            if "followed_authors" in surface.sources:
                tables += by_authors(world, catalogue, self.caps.posts)
            tables += self._own_posts(world, catalogue, surface)
        return all_rows(tables)

    def added_up(self, key: Key, rows: pa.Table) -> pa.Table:
        """The best items of a part of the users of a world, by one source."""
        *of, source, _ = key
        if source.as_py() == "own":
            best = _of_kind(rows, OWN).select(["key", "ids", "amounts"])
            best, unit = best.rename_columns(["user_key", "item_ids", "scores"]), ONE
        else:
            tastes, hidden, lists = (_of_kind(rows, kind) for kind in (TASTES, HIDDEN, LISTS))
            best = add_up(tastes, hidden, lists, self.n)
            unit = ONE**2
        offsets = pa.array(starts(best["item_ids"]).astype(np.int32))
        scores = (flat(best["scores"]).to_numpy(zero_copy_only=False) / unit).astype(np.float32)
        if source.as_py() in _UNEXPLAINED:
            because = pa.ListArray.from_arrays(offsets, pa.repeat("", len(scores)))
        else:
            because = one_array(best["because"])
        as_of, surface, fold = of
        columns = {
            "as_of": pa.repeat(as_of, len(best)),
            "surface": pa.repeat(surface, len(best)),
            "user_key": one_array(best["user_key"]),
            "fold": pa.repeat(fold, len(best)),
            "source": pa.repeat(source, len(best)),
            "item_ids": one_array(best["item_ids"]),
            "scores": pa.ListArray.from_arrays(offsets, pa.array(scores)),
            "because": because,
        }
        return pa.Table.from_pydict(columns, schema=CANDIDATES)

    def _hidden(self, world: World, entries: Entries, surface: Surface) -> Iterator[pa.Table]:
        """What each user must not be shown, for each source that hides something: what the user
        blocked, or has and surfaces do not repeat."""
        gone = (entries.blocked == 1) | ((entries.owned == 1) & (not surface.repeats))
        some = np.flatnonzero(gone)
        user, ids = entries.user[some], entries.ids.take(pa.array(some))
        nothing = np.empty(0, np.int64)
        for source in _hiding(surface):
            yield grouped(world, HIDDEN, source, entries.users, user, ids, nothing)

    def _own_posts(
        self, world: World, catalogue: Catalogue, surface: Surface
    ) -> Iterator[pa.Table]:
        """The posts of each author, who is not shown them."""
        post = np.argsort(catalogue.author, kind="stable")
        post = post[catalogue.author[post] >= 0]
        ids, nothing = catalogue.ids.take(pa.array(post)), np.empty(0, np.int64)
        for source in _hiding(surface):
            yield grouped(
                world, HIDDEN, source, catalogue.authors, catalogue.author[post], ids, nothing
            )

    def _surface(self, world: World) -> Surface:
        (surface,) = (s for s in self.surfaces if s.name == world.surface)
        return surface


def _world(key: Key) -> World:
    as_of, surface, fold, *_ = (value.as_py() for value in key)
    return World(as_of, surface, fold)


def _hiding(surface: Surface) -> list[str]:
    """Sources of a surface from which something is to be hidden."""
    return [name for name in COUNTED if name in surface.sources and name != "own"]


def _of(rows: pa.Table, *columns_and_values: str | pa.Scalar) -> pa.Table:
    """The rows with these values, of pairs of a column and a value."""
    for column, value in zip(columns_and_values[::2], columns_and_values[1::2], strict=True):
        rows = rows.filter(pc.equal(rows[column], value))
    return rows


def _of_kind(rows: pa.Table, *kinds: str) -> pa.Table:
    return rows.filter(pc.is_in(rows["kind"], pa.array(kinds)))
