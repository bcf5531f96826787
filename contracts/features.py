"""Every feature: where it comes from, over which window, what it is when nothing happened.

`jobs/user_features.py` computes exactly this list; `models/encoders.py` fits one transform per
`encoding`. Adding a feature of an existing kind adds a row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contracts.table import Column

WINDOWS = (1, 7, 30, 90)
"""Days before `as_of` that windows reach back."""

SEQUENCE_LENGTH = 50
"""Events kept per user in `user_state`, the newest first to go last."""

Aggregate = Literal["sum", "distinct", "since", "ratio", "latest", "sequence"]
Encoding = Literal["count", "money", "days", "ratio", "id", "sequence"]


@dataclass(frozen=True)
class Measure:
    """An integer per user and day in `user_days`, summed by windows and by `user_state`."""

    name: str
    doc: str
    table: str
    """The clean table it is counted from."""
    encoding: Encoding = "count"


MEASURES = (
    Measure("n_orders", "Distinct orders placed", "orders"),
    Measure("n_order_lines", "Order lines placed", "orders"),
    Measure("n_units", "Units ordered", "orders"),
    Measure("spend_minor", "Value of what was ordered, in minor units", "orders", "money"),
    Measure("n_undone_lines", "Order lines cancelled or returned", "orders"),
    Measure(
        "undone_minor", "Value of what was cancelled or returned, in minor units", "orders", "money"
    ),
    Measure("n_views", "View events", "engagements"),
    Measure("n_likes", "Like events", "engagements"),
    Measure("n_comments", "Comment events", "engagements"),
    Measure("n_shares", "Share events", "engagements"),
    Measure("n_posts", "Posts written", "posts"),
    Measure("n_reviews", "Reviews written", "reviews"),
    Measure("sum_stars", "Sum of the stars given in reviews", "reviews"),
)

DISTINCT = ("item", "category")
"""What `user_item_days` counts exactly over windows."""

LAST_MOMENTS = (
    ("first_seen_at", "the first event or the sign-up"),
    ("last_seen_at", "the last event"),
    ("last_order_at", "the last order"),
    ("last_review_at", "the last review"),
)
"""Moments kept in `user_state` (first: the minimum; last: the maximum)."""


@dataclass(frozen=True)
class Feature:
    """One column of `user_features`."""

    name: str
    doc: str
    type: str
    source: tuple[str, ...]
    """Columns it is made of; numerator then denominator for a ratio of other features."""
    aggregate: Aggregate
    window: int | None
    """Days before `as_of`; None is all time."""
    default: int | None
    """Value for a user to whom nothing happened; None is null."""
    encoding: Encoding

    def column(self) -> Column:
        ranged = self.aggregate in ("sum", "distinct", "since")
        return Column(
            self.name,
            self.type,
            self.doc,
            nullable=self.default is None,
            minimum=0 if ranged else None,
        )


def _over(window: int | None) -> str:
    return (
        "all time"
        if window is None
        else "the day before"
        if window == 1
        else (f"the {window} days before")
    )


def suffix(window: int | None) -> str:
    """How a window is written in a feature's name."""
    return "all" if window is None else f"{window}d"


def _sums() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            f"{m.name}_{suffix(w)}",
            f"{m.doc}, {_over(w)}.",
            "bigint",
            (m.name,),
            "sum",
            w,
            0,
            m.encoding,
        )
        for m in MEASURES
        for w in (*WINDOWS, None)
    )


def _distincts() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            f"n_distinct_{_plural(what)}_{suffix(w)}",
            f"Distinct {_plural(what)} ordered, reviewed or engaged with, {_over(w)}.",
            "bigint",
            (what,),
            "distinct",
            w,
            0,
            "count",
        )
        for what in DISTINCT
        for w in WINDOWS
    )


def _plural(what: str) -> str:
    return {"item": "items", "category": "categories"}[what]


def _sinces() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            f"days_since_{moment.removesuffix('_at')}",
            f"Whole days from {doc} to as_of; null if it never happened.",
            "int",
            (moment,),
            "since",
            None,
            None,
            "days",
        )
        for moment, doc in LAST_MOMENTS
    )


def _ratios() -> tuple[Feature, ...]:
    made: tuple[tuple[str, str, str, str, Encoding], ...] = (
        ("spend_per_order", "Mean order value, in minor units", "spend_minor", "n_orders", "money"),
        ("undone_share", "Value undone over value ordered", "undone_minor", "spend_minor", "ratio"),
        ("mean_stars", "Mean stars given", "sum_stars", "n_reviews", "ratio"),
        ("orders_per_view", "Orders over views", "n_orders", "n_views", "ratio"),
    )
    return tuple(
        Feature(
            f"{name}_{suffix(w)}",
            f"{doc}, {_over(w)}; null where the divisor is 0.",
            "double",
            (f"{over}_{suffix(w)}", f"{under}_{suffix(w)}"),
            "ratio",
            w,
            None,
            encoding,
        )
        for name, doc, over, under, encoding in made
        for w in (30, 90, None)
    )


_LATEST = (
    Feature(
        "country",
        "Country of the user's newest version before as_of.",
        "string",
        ("country",),
        "latest",
        None,
        None,
        "id",
    ),
    Feature(
        "last_item_category",
        "Category of the item of the newest event with one.",
        "string",
        ("category_id",),
        "latest",
        None,
        None,
        "id",
    ),
)

_SEQUENCES = (
    Feature(
        "seq_verb",
        f"What the last {SEQUENCE_LENGTH} events were, oldest first.",
        "array<string>",
        ("verb",),
        "sequence",
        None,
        None,
        "sequence",
    ),
    Feature(
        "seq_item",
        "Item of each of those events; empty where there is none.",
        "array<string>",
        ("item_id",),
        "sequence",
        None,
        None,
        "sequence",
    ),
    Feature(
        "seq_hours",
        "Whole hours from each of those events to as_of.",
        "array<int>",
        ("occurred_at",),
        "sequence",
        None,
        None,
        "sequence",
    ),
    Feature(
        "seq_amount_minor",
        "Amount of each of those events in minor units, 0 without one.",
        "array<bigint>",
        ("amount_minor",),
        "sequence",
        None,
        None,
        "sequence",
    ),
)

FEATURES: tuple[Feature, ...] = (
    *_sums(),
    *_distincts(),
    *_sinces(),
    *_ratios(),
    *_LATEST,
    *_SEQUENCES,
)


def features_with(encoding: Encoding) -> tuple[Feature, ...]:
    return tuple(feature for feature in FEATURES if feature.encoding == encoding)


NUMERIC: tuple[Feature, ...] = tuple(f for f in FEATURES if f.encoding not in ("id", "sequence"))
