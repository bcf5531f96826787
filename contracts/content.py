"""What content is: the kinds of pieces, what may become of one, and what heads say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from contracts.source_table import SourceTable
from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.reviews import REVIEWS

TEXT, IMAGE = MODALITIES = ("text", "image")

STATUSES = ("ok", "empty", "undecodable", "too_large", "truncated", "unsupported")
"""What becomes of a piece: only those that are `ok` are encoded and scored."""

MAX_CLASSES = 64
"""Classes that a head may have: what has more is no label."""


@dataclass(frozen=True)
class ContentSource:
    """A clean table whose rows carry content."""

    kind: str
    """What a piece is."""
    table: SourceTable
    id: str
    """The column that names it."""
    text: str | None
    image: str | None
    item: str | None
    """The column that names the item that it is of."""
    where: str | None = None
    """SQL, as Spark and DuckDB read it: rows that are of the kind; None is all."""

    @property
    def has_author(self) -> bool:
        """Whether somebody wrote it."""
        return "user_key" in self.table.names

    @property
    def has_labels(self) -> bool:
        """Whether a mapping may say labels of it."""
        return "labels" in self.table.names


CONTENT_SOURCES = (
    ContentSource("post", POSTS, "post_id", "text", "image", None),
    ContentSource("item", ITEMS, "item_id", "title", "image", "item_id"),
    ContentSource("review", REVIEWS, "review_id", "text", None, "item_id"),
    ContentSource("comment", ENGAGEMENTS, "engagement_id", "text", None, None, "verb = 'comment'"),
)
KINDS = tuple(source.kind for source in CONTENT_SOURCES)

SENTIMENT, TOXICITY = "sentiment", "toxicity"
FIXED_CLASSES: Mapping[str, tuple[str, ...]] = {
    SENTIMENT: ("negative", "neutral", "positive"),
    TOXICITY: ("fine", "toxic"),
}
"""Heads whose classes features are made of. Those of others are what the labels say."""

TaughtBy = Literal["labels", "stars"]
"""What a head learns from: labels of a mapping, or the stars of reviews, through their texts."""
