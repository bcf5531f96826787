"""Go through as-of days with all rows of some users, and emit their features as of each.

NumPy and Arrow only. The same rows, to the bit, as `jobs/features/user_features.py` makes day by
day; that definition stays, runs single days, and is what this one is tested against.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.features import FEATURES, GRAPH
from contracts.measures import (
    ACTIVE_DAY,
    DISTINCT,
    FIRST_SEEN,
    LIFETIME,
    MEASURES,
    MOMENTS,
    SEQUENCE_LENGTH,
    WINDOWS,
)
from contracts.source_table import AD_VIEW
from jobs.features.item_features import FROM_ITEM
from jobs.one_pass.output_columns import Aggregates, columns_of
from jobs.one_pass.recent_text import RatedWords, RecentText
from jobs.one_pass.running_aggregates import (
    NEVER,
    Buckets,
    Categories,
    Flags,
    Ints,
    LastRows,
    Maxima,
    Moments,
    Pairs,
    RecentItems,
    Sums,
    distinct,
    summed,
)
from jobs.one_pass.task_rows import (
    CATEGORY,
    EVENT_ROW,
    FIRST_MET,
    GRAPH_ROW,
    ITEM,
    STATE,
    THING,
    TILE,
    USER,
    Rows,
    by_time,
    codes,
    whole_numbers,
)

_MICROS_PER_DAY = 86_400_000_000
_SUM = np.array([m.combine == "sum" for m in MEASURES])
_N_EVENTS = next(i for i, m in enumerate(MEASURES) if m.name == "n_events")


def sweep(rows: pa.Table, days: Sequence[int], since: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Each day with a row per user that it knows, sorted by key: the columns of `FEATURES`.

    Days are counted from 1970. What became known before `since` is in the rows of `STATE` and
    counts for windows only.
    """
    of_task = Rows(rows, np.array(days, np.int64))
    if not of_task.n_users:
        return
    state = Sweep(of_task, since)
    for k, day in enumerate(days):
        features = state.advance(k)
        if features.present.any():
            yield day, columns_of(FEATURES, features, of_task.keys, day)


class Sweep:
    """All that is kept of the users from one day to the next."""

    def __init__(self, rows: Rows, since: int):
        self._rows, self._days = rows, rows.days
        n, n_days = rows.n_users, len(rows.days)
        self._present_from = np.full(n, n_days, np.int64)
        self._start_measures(since)
        self._start_items()
        self._start_things()
        self._start_events()
        self._start_versions()
        self._text, self._words = RecentText(rows), RatedWords(rows)
        graph = rows.matrix(GRAPH_ROW, len(GRAPH))
        self._graph = np.zeros((len(GRAPH), n), np.int64)
        self._graph_rows = (rows.users(GRAPH_ROW), graph)
        changes = np.searchsorted(self._days, rows.ints(GRAPH_ROW, "day")).astype(np.int64)
        self._graph_at = Buckets(changes, n_days)

    def _known_from(self, users: Ints, enters: Ints) -> None:
        np.minimum.at(self._present_from, users, enters)

    def _start_measures(self, since: int) -> None:
        rows, n, m = self._rows, self._rows.n_users, len(MEASURES)
        users = rows.users(STATE)
        state = rows.matrix(STATE, len(MOMENTS) + m + len(LIFETIME))
        self._known_from(users, np.zeros(len(users), np.int64))
        moments = np.full((len(MOMENTS), n), NEVER, np.int64)
        moments[:, users] = state[:, : len(MOMENTS)].T
        self._moments = Moments(moments, [m.first for m in MOMENTS])
        life = np.zeros((m, n), np.int64)
        life[:, users] = state[:, len(MOMENTS) : len(MOMENTS) + m].T
        self._start_lifetimes(users, state[:, len(MOMENTS) + m :])
        tile_users, enters = rows.users(TILE), rows.enters(TILE)
        self._known_from(tile_users, enters)
        tiles, day = rows.matrix(TILE, m), rows.ints(TILE, "day")
        is_new = rows.ints(TILE, "known") >= since
        at, measure = np.nonzero(tiles)
        value, is_sum = tiles[at, measure], _SUM[measure]
        cell = measure * n + tile_users[at]
        s, x = is_sum, ~is_sum
        self._sums = Sums(
            life.ravel(), self._days, WINDOWS, cell[s], value[s], day[at[s]], enters[at[s]],
            is_new[at[s]],
        )  # fmt: skip
        self._maxima = Maxima(
            life.ravel(), self._days, WINDOWS, cell[x], value[x], day[at[x]], enters[at[x]]
        )
        # A user of whom only what others did is known was first seen on that day.
        of_others = (tiles[:, _N_EVENTS] == 0) & is_new
        self._seen_by_others = (tile_users[of_others], day[of_others])
        self._seen_by_others_at = Buckets(enters[of_others], len(self._days))

    def _start_lifetimes(self, users: Ints, counts: Ints) -> None:
        """Things that are counted over all time: those that the state has, (its rows, kinds)."""
        rows = self._rows
        kind = rows.of(FIRST_MET)["name"]
        first, enters = rows.users(FIRST_MET), rows.enters(FIRST_MET)
        self._lifetimes = {}
        for d, so_far in zip(LIFETIME, counts.T, strict=True):
            life = np.zeros(rows.n_users, np.int64)
            life[users] = so_far
            mine = pc.equal(kind, d.kind).to_numpy()
            self._lifetimes[d.name] = (life, first[mine], Buckets(enters[mine], len(self._days)))

    def _start_items(self) -> None:
        """Statistics and category of the items that users met, and statistics of the categories.

        Of each only the days on which they change are kept.
        """
        n_days, width = len(self._days), len(FROM_ITEM)
        items, of_categories = self._rows.of(ITEM), self._rows.of(CATEGORY)
        self._items = items["thing"].combine_chunks()
        names = items["texts"].combine_chunks().flatten()
        self._categories = pc.unique(names.drop_null())
        self._named = pa.concat_arrays([self._categories, pa.array([""], pa.string())])
        self._item_stats = np.zeros((width, len(self._items)), np.int64)
        self._item_category = np.full(len(self._items), -1, np.int64)
        self._category_stats = np.zeros((width, len(self._categories)), np.int64)
        item, at, stats = self._changes(items)
        self._item_changes = (item, stats, codes(pa.chunked_array([names]), self._categories))
        self._item_at = Buckets(at, n_days)
        row, at, stats = self._changes(of_categories)
        self._category_changes = (codes(of_categories["thing"], self._categories)[row], stats)
        self._category_at = Buckets(at, n_days)

    def _changes(self, rows: pa.Table) -> tuple[Ints, Ints, Ints]:
        """The row that each change is of, the place of its day, and the numbers from then on."""
        width = 1 + len(FROM_ITEM)
        lists = rows["numbers"].combine_chunks()
        lengths = whole_numbers(pc.list_value_length(lists)) // width
        flat = whole_numbers(lists.flatten()).reshape(-1, width)
        at = np.searchsorted(self._days, flat[:, 0]).astype(np.int64)
        return np.repeat(np.arange(len(lists)), lengths), at, flat[:, 1:]

    def _advance_items(self, k: int) -> None:
        item, stats, category = self._item_changes
        at = self._item_at[k]
        self._item_stats[:, item[at]] = stats[at].T
        if len(at):
            self._item_category = self._item_category.copy()  # who has seen it compares
            self._item_category[item[at]] = category[at]
        of, stats = self._category_changes
        at = self._category_at[k]
        self._category_stats[:, of[at]] = stats[at].T

    def _start_things(self) -> None:
        rows = self._rows
        met, users, enters = rows.of(THING), rows.users(THING), rows.enters(THING)
        day = rows.ints(THING, "day")
        self._pairs: dict[str, Pairs] = {}
        self._pairs[ACTIVE_DAY] = self._active_days()
        for kind in sorted({d.kind for d in DISTINCT} - {ACTIVE_DAY}):
            mine = pc.equal(met["name"], kind).to_numpy()
            things = met["thing"].filter(pa.array(mine))
            names = pc.unique(things)
            self._pairs[kind] = Pairs(
                users[mine], codes(things, names), len(names), day[mine], enters[mine],
                len(self._days),
            )  # fmt: skip
            if kind == "item":
                of_table = codes(pa.chunked_array([names]), self._items)
                self._met_categories = Categories(
                    self._pairs[kind], of_table[self._pairs[kind].thing]
                )

    def _active_days(self) -> Pairs:
        """The days on which each user did something, as the tiles have them."""
        rows = self._rows
        active = rows.matrix(TILE, len(MEASURES))[:, _N_EVENTS] > 0
        users, enters = rows.users(TILE)[active], rows.enters(TILE)[active]
        day = rows.ints(TILE, "day")[active]
        start = int(day.min()) if len(day) else 0
        n_days = int(day.max()) - start + 1 if len(day) else 1
        return Pairs(users, day - start, n_days, day, enters, len(self._days))

    def _start_events(self) -> None:
        rows, n_days = self._rows, len(self._days)
        events, users, enters = rows.of(EVENT_ROW), rows.users(EVENT_ROW), rows.enters(EVENT_ROW)
        micros = rows.ints(EVENT_ROW, "micros")
        self._known_from(users, enters)
        self._verbs = pc.unique(events["name"])
        verb = codes(events["name"], self._verbs)
        self._event_days = (users, micros // _MICROS_PER_DAY, verb)
        self._event_at = Buckets(enters, n_days)
        kept = verb != codes(pa.chunked_array([[AD_VIEW]]), self._verbs)[0]
        order = np.flatnonzero(kept)[by_time(
            users[kept], micros[kept], events.filter(pa.array(kept)),
            ("id", "name", "thing", "amount"),
        )]  # fmt: skip
        things = events["thing"].take(pa.array(order))
        self._things = pc.unique(events["thing"])
        self._users, self._micros, self._verb = users[order], micros[order], verb[order]
        self._thing = codes(things, self._things)
        self._amount = rows.ints(EVENT_ROW, "amount")[order]
        self._sequence = LastRows(self._users, enters[order], rows.n_users, SEQUENCE_LENGTH)
        self._sequence_at = Buckets(enters[order], n_days)
        empty = codes(pa.chunked_array([[""]]), self._things)[0]
        self._met_item = np.where(self._thing == empty, -1, self._thing)
        self._thing_item = codes(pa.chunked_array([self._things]), self._items)
        self._recent = RecentItems(rows.n_users)

    def _start_versions(self) -> None:
        rows, n = self._rows, self._rows.n_users
        users, enters = rows.users(USER), rows.enters(USER)
        self._known_from(users, enters)
        self._countries = pc.unique(rows.of(USER)["name"].drop_null())
        country = codes(rows.of(USER)["name"], self._countries)
        order = np.lexsort((rows.ints(USER, "day"), rows.ints(USER, "micros")))
        self._versions = tuple(x[order] for x in (users, country, rows.ints(USER, "amount")))
        self._attributes = rows.of(USER)["texts"].combine_chunks().take(pa.array(order))
        self._with_attributes = whole_numbers(pc.list_value_length(self._attributes)) > 0
        self._version_at = Buckets(enters[order], len(self._days))
        self._country = np.full(n, -1, np.int64)
        self._newest_version = np.full(n, -1, np.int64)

    def advance(self, k: int) -> Aggregates:
        """Everything as of day `k`, users that are not known yet included."""
        day = int(self._days[k])
        n, m = self._rows.n_users, len(MEASURES)
        self._sums.advance(k)
        self._maxima.advance(k)
        measures = np.where(
            _SUM[None, :, None],
            self._sums.values.reshape(-1, m, n),
            self._maxima.values.reshape(-1, m, n),
        )
        users, change = self._graph_rows
        at = self._graph_at[k]
        for column, values in enumerate(self._graph):
            np.add.at(values, users[at], change[at, column])
        self._advance_moments(k)
        self._advance_items(k)
        sequence = self._sequence.at(k)
        items, last = self._recent_items(k, sequence.rows)
        self._words.advance(k)
        text = self._text.at(k, day)
        return Aggregates(
            present=self._present_from <= k,
            measures=measures,
            distincts=self._distincts(k, day),
            moments=self._moments.values,
            joined={name: self._graph[i] for i, (name, _, _) in enumerate(GRAPH)}
            | items
            | self._words.of(*text),
            latest={
                "country": (self._country, self._countries),
                "category_id": (last, self._categories),
                "attributes": (self._newest_attributes(), self._attributes),
            },
            lists={
                "verb": (sequence.counts, self._verb[sequence.rows], self._verbs),
                "item_id": (sequence.counts, self._thing[sequence.rows], self._things),
                "category_id": (sequence.counts, self._met_category(sequence.rows), self._named),
                "occurred_at": (sequence.counts, self._hours(day, sequence.rows), None),
                "amount_minor": (sequence.counts, self._amount[sequence.rows], None),
                "text": (*text, None),
            },
        )

    def _advance_moments(self, k: int) -> None:
        users, day, verb = self._event_days
        at = self._event_at[k]
        for moment, of in enumerate(MOMENTS):
            mine = at
            if of.verbs:
                mine = at[np.isin(verb[at], codes(pa.chunked_array([of.verbs]), self._verbs))]
            self._moments.happened(moment, users[mine], day[mine])
        first_seen = MOMENTS.index(FIRST_SEEN)
        others, on = self._seen_by_others
        at = self._seen_by_others_at[k]
        self._moments.happened(first_seen, others[at], on[at])
        who, country, seen = self._versions  # from the oldest version to the newest
        at = np.sort(self._version_at[k])
        self._moments.happened(first_seen, who[at], seen[at])
        at = at[at > self._newest_version[who[at]]]
        self._country[who[at]], self._newest_version[who[at]] = country[at], at

    def _newest_attributes(self) -> Ints:
        """The version that says the attributes of each user, (U,); -1 where none are said."""
        version = self._newest_version
        said = np.zeros(len(version), bool)
        known = version >= 0
        said[known] = self._with_attributes[version[known]]
        return np.where(said, version, -1)

    def _distincts(self, k: int, day: int) -> dict[str, Ints]:
        n = self._rows.n_users
        for pairs in self._pairs.values():
            pairs.advance(k)
        counts = {}
        for d in DISTINCT:
            pairs = self._pairs[d.kind]
            if d.name == "category":
                counts[d.name] = self._met_categories.counts(
                    self._item_category, max(len(self._categories), 1), day, WINDOWS, n
                )
            else:
                counts[d.name] = distinct(pairs.user, pairs.last, day, WINDOWS, n)
        for name, (life, users, enter) in self._lifetimes.items():
            np.add.at(life, users[enter[k]], 1)
            counts[name] = np.vstack([counts[name], life])
        return counts

    def _recent_items(self, k: int, newest: Ints) -> tuple[dict[str, Ints], Ints]:
        """The columns of `RECENT_ITEMS`, and the category of the newest item."""
        n, stats, category = self._rows.n_users, self._item_stats, self._item_category
        changed: Flags = np.zeros(n, bool)
        changed[self._users[self._sequence_at[k]]] = True
        user, thing = self._recent.advance(
            changed, self._users[newest], self._met_item[newest], max(len(self._things), 1)
        )
        item = self._thing_item[thing] if len(thing) else thing
        has_item = item >= 0
        columns = {"n_recent_items": np.bincount(user, minlength=n).astype(np.int64)}
        last_item = np.full(n, -1, np.int64)
        met = self._recent.last >= 0
        last_item[met] = self._thing_item[self._recent.last[met]]
        last = np.full(n, -1, np.int64)
        known = last_item >= 0
        last[known] = category[last_item[known]]
        for i, name in enumerate(FROM_ITEM):
            columns[f"recent_items_{name}"] = summed(user[has_item], stats[i][item[has_item]], n)
            of_category = np.append(self._category_stats[i], 0)
            columns[f"last_category_{name}"] = np.where(last >= 0, of_category[last], 0)
        return columns, last

    def _met_category(self, newest: Ints) -> Ints:
        """The category of each event's item as of the day; the code past the last is none."""
        item = self._thing_item[self._thing[newest]]
        category = np.full(len(newest), -1, np.int64)
        category[item >= 0] = self._item_category[item[item >= 0]]
        return np.where(category >= 0, category, len(self._categories))

    def _hours(self, day: int, newest: Ints) -> Ints:
        """As Spark divides: in doubles, then down to a whole number."""
        hours: Ints = np.floor((day * _MICROS_PER_DAY - self._micros[newest]) / 3_600_000_000)
        return hours
