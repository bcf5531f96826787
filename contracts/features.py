"""Every feature: where it comes from, over which window, what it is when nothing happened.

`jobs/features/user_features.py` computes exactly this list; `models/data/encoders.py` fits one
transform per `encoding`. Adding a feature of an existing aggregate adds a row here, to a
source table or to `measures.py`; see docs/adding-a-feature.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contracts.measures import (
    DISTINCT,
    MEASURES,
    MIN_RATINGS_OF_WORD,
    MOMENTS,
    SEQUENCE_LENGTH,
    TEXT_POSTS,
    TEXT_TOKENS,
    WINDOWS,
)
from contracts.source_table import Encoding
from contracts.table import Column

Aggregate = Literal[
    "measure", "distinct", "since", "graph", "items", "words", "ratio", "latest", "sequence", "text"
]


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
    minimum: int | None = None
    """What it is never below; None of what has no such bound."""
    of_content: bool = False
    """Whether it tells what posts are like: models read it only where `inputs.content` is on."""

    def column(self) -> Column:
        return Column(
            self.name,
            self.type,
            self.doc,
            nullable=self.default is None,
            minimum=self.minimum,
        )


def _over(window: int | None) -> str:
    if window is None:
        return "all time"
    return "the day before" if window == 1 else f"the {window} days before"


def suffix(window: int | None) -> str:
    """How a window is written in a feature's name."""
    return "all" if window is None else f"{window}d"


def _measures() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            f"{m.name}_{suffix(w)}",
            f"{m.doc}, {_over(w)}.",
            "bigint",
            (m.name,),
            "measure",
            w,
            0,
            m.encoding,
            m.minimum,
            m.of_content,
        )
        for m in MEASURES
        for w in (*WINDOWS, None)
    )


def _distincts() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            f"{d.count}_{suffix(w)}",
            f"Distinct {d.doc}, {_over(w)}.",
            "bigint",
            (d.name,),
            "distinct",
            w,
            0,
            "count",
            minimum=0,
        )
        for d in DISTINCT
        for w in (*WINDOWS, *((None,) if d.lifetime else ()))
    )


def _sinces() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            moment.feature,
            f"UTC midnights from {moment.doc} to as_of, 1 for the day before; null if it never "
            "happened.",
            "int",
            (moment.name,),
            "since",
            None,
            None,
            "days",
            minimum=0,
        )
        for moment in MOMENTS
    )


GRAPH = (
    ("n_following", "Users followed as of then", "count"),
    ("n_followers", "Users who followed the user as of then", "count"),
    ("n_mutual", "Users followed who follow back", "count"),
    ("followed_active_7d", "Users followed who did something in the 7 days before", "count"),
    ("followed_orders_30d", "Orders of the users followed in the 30 days before", "count"),
    ("followed_orders_90d", "Orders of the users followed in the 90 days before", "count"),
    ("followed_spend_minor_90d", "What the users followed spent in the 90 days before, in minor "
     "units", "money"),
    ("followed_reviews_90d", "Reviews of the users followed in the 90 days before", "count"),
    ("followed_stars_90d", "Sum of the stars of those reviews", "count"),
)  # fmt: skip
"""Of the follow graph as of a midnight: `jobs/features/follow_graph.py`."""

RECENT_ITEMS = (
    ("n_recent_items", f"Distinct items among the last {SEQUENCE_LENGTH} events", "count"),
    ("recent_items_engagements_30d", "Engagements of everybody with those items in the 30 days "
     "before", "count"),
    ("recent_items_order_lines_30d", "Order lines of everybody with those items in the 30 days "
     "before", "count"),
    ("recent_items_reviews_90d", "Reviews by everybody of those items in the 90 days before",
     "count"),
    ("recent_items_stars_90d", "Sum of the stars of those reviews", "count"),
    ("last_category_engagements_30d", "Engagements of everybody with the category of the newest "
     "item in the 30 days before", "count"),
    ("last_category_order_lines_30d", "Order lines of everybody in that category in the 30 days "
     "before", "count"),
    ("last_category_reviews_90d", "Reviews by everybody in that category in the 90 days before",
     "count"),
    ("last_category_stars_90d", "Sum of the stars of those reviews", "count"),
)  # fmt: skip
"""Statistics of items and categories as of a midnight, joined through a user's recent items."""

CATEGORY_PREFIX = "last_category_"
"""Begins the name of what all users of one category share: a number of the category, of which there
are as many values as there are categories."""

RATED_WORDS = (
    ("n_rated_words", f"Words of `text_tokens` that stand at least {MIN_RATINGS_OF_WORD} times in "
     "everybody's reviews of the 90 days before", "count"),
    ("rated_words_above", "Sum over those words: by how many thousandths of a star the mean of the "
     "reviews with the word is above that of all words", "count"),
)  # fmt: skip
"""The tone of a user's newest posts, as of a midnight: `jobs/features/rated_words.py`."""


def _joined() -> tuple[Feature, ...]:
    features: list[Feature] = []
    listed: tuple[tuple[Aggregate, tuple[tuple[str, str, str], ...]], ...] = (
        ("graph", GRAPH),
        ("items", RECENT_ITEMS),
        ("words", RATED_WORDS),
    )
    for aggregate, rows in listed:
        for name, doc, encoding in rows:
            kind: Encoding = "money" if encoding == "money" else "count"
            minimum = None if aggregate == "words" else 0
            features.append(
                Feature(name, f"{doc}.", "bigint", (name,), aggregate, None, 0, kind, minimum)
            )
    return tuple(features)


SPANS: tuple[int | None, ...] = (30, 90, None)
RATIOS: tuple[tuple[str, str, str, str, Encoding, tuple[int | None, ...]], ...] = (
    ("spend_per_order", "Mean order value, in minor units", "spend_minor", "n_orders", "money",
     SPANS),
    ("undone_share", "Value undone over value ordered", "undone_minor", "spend_minor", "ratio",
     SPANS),
    ("mean_stars", "Mean stars given", "sum_stars", "n_reviews", "ratio", SPANS),
    ("mean_stars_above_items", "Mean of how many thousandths of a star reviews are above their "
     "item's", "stars_above_items", "n_reviews", "ratio", SPANS),
    ("negative_share", "Share of negative reviews", "n_negative_reviews", "n_reviews", "ratio",
     SPANS),
    ("positive_share", "Share of positive reviews", "n_positive_reviews", "n_reviews", "ratio",
     SPANS),
    ("mean_post_sentiment", "Mean of by how many thousandths posts are more probably positive than "
     "negative", "post_sentiment_milli", "n_posts_of_known_sentiment", "ratio", (7, 30, 90)),
    ("negative_post_share", "Share of negative posts among those of known sentiment",
     "n_negative_posts", "n_posts_of_known_sentiment", "ratio", (7, 30, 90)),
    ("toxic_post_share", "Share of toxic posts among those of which it is known",
     "n_toxic_posts", "n_posts_of_known_toxicity", "ratio", SPANS),
    ("links_per_post", "Links per post", "n_links_posted", "n_posts", "ratio", SPANS),
    ("textless_post_share", "Share of posts without a text", "n_posts_without_text", "n_posts",
     "ratio", SPANS),
    ("orders_per_view", "Orders over views", "n_orders", "n_views", "ratio", SPANS),
    ("ad_click_rate", "Ads clicked over ads seen", "n_ad_clicks", "n_ad_views", "ratio", SPANS),
    ("failed_login_share", "Failed logins over logins", "n_failed_logins", "n_logins", "ratio",
     (7, 30, None)),
    ("mean_payment", "Mean payment, in minor units", "paid_minor", "n_payments", "money",
     (7, 30, None)),
    ("mean_transfer", "Mean transfer, in minor units", "transferred_minor", "n_transfers", "money",
     (7, 30, None)),
)  # fmt: skip
NAMED_RATIOS = (
    ("payment_over_usual_7d", "Largest payment of the 7 days before over the mean of all time",
     "max_payment_minor_7d", "mean_payment_all"),
    ("payment_over_usual_30d", "Largest payment of the 30 days before over the mean of all time",
     "max_payment_minor_30d", "mean_payment_all"),
    ("transfer_over_usual_30d", "Largest transfer of the 30 days before over the mean of all time",
     "max_transfer_minor_30d", "mean_transfer_all"),
    ("login_bursts_per_day", "Days with three failed logins or more over all days known",
     "n_login_bursts_all", "days_since_first_seen"),
    ("reciprocity", "Share of the users followed who follow back", "n_mutual", "n_following"),
    ("followed_active_share_7d", "Share of the users followed who did something in the 7 days "
     "before", "followed_active_7d", "n_following"),
    ("followed_mean_orders_30d", "Mean orders of the users followed in the 30 days before",
     "followed_orders_30d", "n_following"),
    ("followed_mean_stars_90d", "Mean stars that the users followed gave in the 90 days before",
     "followed_stars_90d", "followed_reviews_90d"),
    ("recent_items_mean_stars_90d", "Mean stars that everybody gave those items in the 90 days "
     "before", "recent_items_stars_90d", "recent_items_reviews_90d"),
    ("recent_items_mean_order_lines_30d", "Mean order lines of everybody per recent item in the 30 "
     "days before", "recent_items_order_lines_30d", "n_recent_items"),
    ("last_category_mean_stars_90d", "Mean stars that everybody gave in the category of the newest "
     "item in the 90 days before", "last_category_stars_90d", "last_category_reviews_90d"),
    ("rated_words_mean_above", "Mean of that over those words", "rated_words_above",
     "n_rated_words"),
)  # fmt: skip


def _ratios() -> tuple[Feature, ...]:
    """A ratio stands after the features that it divides."""
    windowed = tuple(
        (f"{name}_{suffix(w)}", f"{doc}, {_over(w)}", f"{over}_{suffix(w)}", f"{under}_{suffix(w)}",
         encoding, w)
        for name, doc, over, under, encoding, spans in RATIOS
        for w in spans
    )  # fmt: skip
    ratio: Encoding = "ratio"
    of_content = {feature.name for feature in _measures() if feature.of_content}
    named = tuple((*row, ratio, None) for row in NAMED_RATIOS)
    return tuple(
        Feature(
            name, f"{doc}; null where the divisor is 0.", "double", (over, under), "ratio", w, None,
            encoding, of_content=over in of_content,
        )
        for name, doc, over, under, encoding, w in (*windowed, *named)
    )  # fmt: skip


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
        "attributes",
        "What the mapping says of the user besides, as sorted texts `name=value`, of the user's "
        "newest version before as_of; null if it says nothing.",
        "array<string>",
        ("attributes",),
        "latest",
        None,
        None,
        "attributes",
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


def _sequence(name: str, doc: str, type_: str, source: str) -> Feature:
    return Feature(name, doc, type_, (source,), "sequence", None, None, "sequence")


_SEQUENCES = (
    _sequence(
        "seq_verb",
        f"What the last {SEQUENCE_LENGTH} events were, oldest first.",
        "array<string>",
        "verb",
    ),
    _sequence(
        "seq_item",
        "Item of each of those events; empty where there is none.",
        "array<string>",
        "item_id",
    ),
    _sequence(
        "seq_category",
        "Category of that item as known by as_of; empty where there is none.",
        "array<string>",
        "category_id",
    ),
    _sequence(
        "seq_hours",
        "Whole hours from each of those events to as_of.",
        "array<int>",
        "occurred_at",
    ),
    _sequence(
        "seq_amount_minor",
        "Amount of each of those events in minor units, 0 without one.",
        "array<bigint>",
        "amount_minor",
    ),
)

_TEXT = (
    Feature(
        "text_tokens",
        f"Hashes of the last {TEXT_TOKENS} words, oldest first, of the newest {TEXT_POSTS} posts "
        f"of the {max(WINDOWS)} days before.",
        "array<int>",
        ("text",),
        "text",
        max(WINDOWS),
        None,
        "text",
    ),
)

FEATURES: tuple[Feature, ...] = (
    *_measures(),
    *_distincts(),
    *_sinces(),
    *_joined(),
    *_ratios(),
    *_LATEST,
    *_SEQUENCES,
    *_TEXT,
)


def features_with(encoding: Encoding) -> tuple[Feature, ...]:
    return tuple(feature for feature in FEATURES if feature.encoding == encoding)


NUMERIC: tuple[Feature, ...] = tuple(
    f for f in FEATURES if f.encoding not in ("id", "attributes", "sequence", "text")
)
