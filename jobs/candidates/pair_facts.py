"""Facts about users and what surfaces recommend, as columns of NumPy arrays.

Letters of shapes: R facts, P pairs of a user and a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.surfaces import INTERACTION_EVENTS, TARGETS, Surface
from jobs.candidates.arrow_lists import numbers, one_array
from jobs.candidates.fixed_point import Integers, starts_of
from jobs.features.point_in_time import known_on

DID, EDGE, BLOCK, BLOCKED_BY = "did", "edge", "block", "blocked by"
"""What facts say: what a user did with a target or was shown; that a user follows or no longer
follows another; that a user blocks a target or no longer does; and the same to who is blocked."""
AUTHOR = "author "
"""Before `BLOCK` and `BLOCKED_BY`: it is about the author of the target."""
BLOCKS = (BLOCK, BLOCKED_BY, AUTHOR + BLOCK, AUTHOR + BLOCKED_BY)
FOLLOW, IMPRESSION = "follow", "impression"
USER = "user"
ROWS_PER_PART = 4_000_000
"""Facts that one task counts, about; each as often as there are as-of days."""
LEFT_OUT_OF = 5
"""One of so many pairs is left out of fold 1."""
_STATE = {
    "at": "bigint", "id": "string", "stands": "boolean", "is_timeless": "boolean",
    "is_left_out": "boolean",
}  # fmt: skip
"""Columns that only facts have of which the newest of a pair holds."""


AMOUNTS = ("units", "amount_minor", "sum_stars")
"""What `interactions` say besides."""


def done_facts(interactions: DataFrame, *more: str) -> DataFrame:
    """What users did, and were shown; with the units of orders, and others of `AMOUNTS`."""
    return interactions.select(
        F.lit(DID).alias("what"), "user_key", "target_kind", "target_id", "event",
        F.unix_date("day").alias("day"), F.unix_date(known_on(F.col("day"))).alias("known"), "n",
        "units", *more,
    )  # fmt: skip


def edge_facts(follows: DataFrame) -> DataFrame:
    """One row per fact about an edge that features may see.

    A pair and its reverse are left out together: one would give the other away.
    """
    ordered = (F.least("user_key", "followed_key"), F.greatest("user_key", "followed_key"))
    left_out = F.pmod(F.xxhash64(*ordered), F.lit(LEFT_OUT_OF)) == 0
    return follows.where("valid_from is not null and user_key <> followed_key").select(
        F.lit(EDGE).alias("what"),
        "user_key",
        F.lit(USER).alias("target_kind"),
        F.col("followed_key").alias("target_id"),
        *_state("valid_from", "follow_id", F.col("kind") == FOLLOW),
        F.col("occurred_at").isNull().alias("is_timeless"),
        left_out.alias("is_left_out"),
    )


def block_facts(blocks: DataFrame, items: DataFrame) -> list[DataFrame]:
    """One row per fact about a block: of who blocks, of whom somebody blocks, and of what either of
    them wrote, to the other. `items` are `rec_items` of the as-of days."""
    forth = blocks.select(
        F.lit(BLOCK).alias("what"), "user_key", "target_kind", "target_id",
        *_state("occurred_at", "block_id", F.col("kind") == BLOCK),
    )  # fmt: skip
    of_users = forth.where(F.col("target_kind") == USER)
    back = of_users.withColumns(
        {
            "what": F.lit(BLOCKED_BY),
            "user_key": F.col("target_id"),
            "target_id": F.col("user_key"),
        }
    )
    written = items.where("author_key is not null").select("item_id", "author_key").distinct()
    by_author = (
        of_users.unionByName(back)
        .withColumnRenamed("target_id", "author_key")
        .join(written, "author_key")
        .drop("author_key")
        .withColumnRenamed("item_id", "target_id")
        .withColumns({"what": F.concat(F.lit(AUTHOR), "what"), "target_kind": F.lit("post")})
    )
    return [forth, back, by_author]


def _state(at: str, id_: str, stands: Column) -> list[Column]:
    """Columns of a fact, of which the newest of a pair holds."""
    return [
        F.unix_date(known_on(F.to_date(at))).alias("known"),
        F.unix_micros(at).alias("at"),
        F.col(id_).alias("id"),
        stands.alias("stands"),
    ]


def united(parts: Sequence[DataFrame]) -> DataFrame:
    """Facts of several tables; what one does not say is null."""
    rows = reduce(lambda a, b: a.unionByName(b, allowMissingColumns=True), parts)
    absent = {name: type_ for name, type_ in _STATE.items() if name not in rows.columns}
    return rows.withColumns({name: F.lit(None).cast(type_) for name, type_ in absent.items()})


def parts_of(interactions: DataFrame, as_ofs: Sequence[date]) -> int:
    """Into how many parts facts go; their number is collected."""
    return 1 + interactions.count() * len(as_ofs) // ROWS_PER_PART


def day_number(day: date) -> int:
    """Days since 1970."""
    return (day - date(1970, 1, 1)).days


@dataclass(frozen=True)
class Rules:
    """What each event, by its place in `INTERACTION_EVENTS`, is to a surface."""

    kind: int
    """Which of `TARGETS` the surface recommends."""
    strength: Integers
    """As a signal; 0: none."""
    is_goal: NDArray[np.bool_]
    owns: NDArray[np.bool_]

    @classmethod
    def of(cls, surface: Surface) -> Rules:
        return cls(
            TARGETS.index(surface.target),
            np.array([surface.signals.get(event, 0) for event in INTERACTION_EVENTS], np.int64),
            np.array([event in surface.goals for event in INTERACTION_EVENTS]),
            np.array([event in surface.owned_by for event in INTERACTION_EVENTS]),
        )


@dataclass(frozen=True)
class Pairs:
    """Users and targets as numbers."""

    users: pa.StringArray
    targets: pa.StringArray

    @property
    def n_users(self) -> int:
        return max(len(self.users), 1)


@dataclass(frozen=True)
class Done:
    """What users did or were shown, by pair and day; (R,) each."""

    kind: Integers
    pair: Integers
    """Number of the target times the number of users, plus the user's."""
    event: Integers
    day: Integers
    known: Integers
    n: Integers
    amounts: Mapping[str, Integers]
    """Those of `AMOUNTS` that rows have."""

    def take(self, rows: Integers) -> Done:
        """Some of the rows."""
        kind, pair, event, day, known, n = (
            values[rows]
            for values in (self.kind, self.pair, self.event, self.day, self.known, self.n)
        )
        amounts = {name: values[rows] for name, values in self.amounts.items()}
        return Done(kind, pair, event, day, known, n, amounts)


@dataclass(frozen=True)
class States:
    """Facts of which the newest of a pair holds, by pair and time; (R,) each."""

    kind: Integers
    pair: Integers
    known: Integers
    stands: NDArray[np.bool_]
    is_timeless: NDArray[np.bool_]
    is_left_out: NDArray[np.bool_]

    def newest(self, kind: int, today: int) -> Integers:
        """Where the fact stands that holds as of a day, of each pair of a kind of target."""
        rows = np.flatnonzero((self.kind == kind) & (self.known < today))
        begin = starts_of(self.pair[rows])
        return rows[np.append(begin[1:], len(rows))[: len(begin)] - 1]


def pairs_of(rows: pa.Table, more: pa.Table | None = None) -> Pairs:
    """The distinct users of facts, and the targets of them and of `more` rows."""
    targets = [one_array(rows["target_id"])]
    if more is not None:
        targets.append(one_array(more["target_id"]))
    return Pairs(pc.unique(one_array(rows["user_key"])), pc.unique(pa.concat_arrays(targets)))


def done(rows: pa.Table, pairs: Pairs) -> Done:
    """What facts say that users did."""
    of = rows.filter(pc.equal(rows["what"], DID))
    pair, day = _pair(of, pairs), integers(of, "day")
    order = np.lexsort((day, pair))
    event = numbers(one_array(of["event"]), pa.array(INTERACTION_EVENTS))
    amounts = {name: integers(of, name) for name in AMOUNTS if name in of.column_names}
    facts = Done(
        kinds(of), pair, event, day, integers(of, "known"), integers(of, "n"), amounts
    )  # fmt: skip
    return facts.take(order)


def states(rows: pa.Table, pairs: Pairs, *what: str) -> States:
    """What facts of some kinds say of pairs."""
    of = rows.filter(pc.is_in(rows["what"], pa.array(what)))
    pair, stands = _pair(of, pairs), booleans(of, "stands")
    timeless, left_out = booleans(of, "is_timeless"), booleans(of, "is_left_out")
    ids = one_array(of["id"])
    rank = np.empty(len(ids), np.int64)
    rank[pc.sort_indices(ids).to_numpy()] = np.arange(len(ids))
    order = np.lexsort((~timeless, stands, rank, integers(of, "at"), pair))
    known = integers(of, "known")[order]
    return States(
        kinds(of)[order], pair[order], known, stands[order], timeless[order], left_out[order]
    )


def _pair(rows: pa.Table, pairs: Pairs) -> Integers:
    target = numbers(one_array(rows["target_id"]), pairs.targets)
    return target * pairs.n_users + numbers(one_array(rows["user_key"]), pairs.users)


def kinds(rows: pa.Table) -> Integers:
    """Which of `TARGETS` rows are about."""
    return numbers(one_array(rows["target_kind"]), pa.array(TARGETS))


def integers(rows: pa.Table, column: str) -> Integers:
    values = pc.fill_null(one_array(rows[column]), 0)
    return values.to_numpy(zero_copy_only=False).astype(np.int64)


def booleans(rows: pa.Table, column: str) -> NDArray[np.bool_]:
    values = pc.fill_null(one_array(rows[column]), False)
    return values.to_numpy(zero_copy_only=False).astype(bool)
