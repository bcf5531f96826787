"""What content is: texts that users and sellers post, and what heads say of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from contracts.source_table import SourceTable
from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.reviews import REVIEWS

MAX_CLASSES = 64
"""Classes that a head may have: what has more is no label."""


@dataclass(frozen=True)
class ContentSource:
    """A clean table whose rows have texts."""

    table: SourceTable
    id: str
    """The column that names what has a text."""
    text: str
    """The column with the text."""
    only: tuple[str, str] | None = None
    """A column, and the value of those rows that are of the kind; None: all are."""

    @property
    def has_author(self) -> bool:
        """Whether somebody wrote it."""
        return "user_key" in self.table.names

    @property
    def has_labels(self) -> bool:
        """Whether a mapping may say labels of it."""
        return "labels" in self.table.names


CONTENT_SOURCES = (
    ContentSource(POSTS, "post_id", "text"),
    ContentSource(ITEMS, "item_id", "title"),
    ContentSource(REVIEWS, "review_id", "text"),
    ContentSource(ENGAGEMENTS, "engagement_id", "text", only=("verb", "comment")),
)

SENTIMENT, TOXICITY = "sentiment", "toxicity"
FIXED_CLASSES: Mapping[str, tuple[str, ...]] = {
    SENTIMENT: ("negative", "neutral", "positive"),
    TOXICITY: ("fine", "toxic"),
}
"""Heads whose classes features are made of. Those of others are what the labels say."""

TaughtBy = Literal["labels", "stars"]
"""What a head learns from: labels of a mapping, or the stars of reviews, through their texts."""

LEARN_EVERY_DAYS = 28
"""Days from one content model to the next: what landed on a day is scored by the newest model as of
then or before, counted in whole periods since 1970, so that every night agrees on it."""
KEEP_MODEL_DAYS = 3 * LEARN_EVERY_DAYS
"""Days that a content model is kept from when it was trained."""
LEARN_DAYS = 364
"""Days before a content model whose labels it learns from; the newest `LEARN_EVERY_DAYS` of them
choose and calibrate."""
MAX_EXAMPLES = 50_000
"""Labelled pieces that a content model learns from, the newest."""
REACH_DAYS = LEARN_DAYS + 2 * LEARN_EVERY_DAYS
"""Days before a day whose content may have a part in how content of the day is scored."""


def content_hash(text: str) -> str:
    """SHA-256 of a text as its clean table has it, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def cut_of(day: date) -> date:
    """The midnight before which all landed that the model has seen that scores a day's content."""
    return day - timedelta(days=(day - date(1970, 1, 1)).days % LEARN_EVERY_DAYS)
