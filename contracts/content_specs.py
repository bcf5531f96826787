"""What processes of content are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from contracts.content import TaughtBy
from contracts.specs import Spec


@dataclass(frozen=True)
class ContentHead:
    """A question that content is asked, and what teaches the answer."""

    name: str
    taught_by: TaughtBy


@dataclass(frozen=True)
class ContentDay:
    """A day on which content landed."""

    landed_on: date
    path: str
    """The Parquet file of `content_scores` to write."""


@dataclass(frozen=True)
class ContentScoresSpec(Spec):
    """Train content models as of their days, and score what landed.

    `models.content.content_scores:score_days` reports `days`, of each which model has scored it
    (`model_id`, `as_of`), `why` that one, and what became of the `heads` of the newest.
    """

    command: ClassVar[str] = "content_scores"

    heads: tuple[ContentHead, ...]
    days: tuple[ContentDay, ...]
    files: Mapping[str, tuple[str, ...]]
    """Clean table to the Parquet files that hold what landed on the days, and in the `REACH_DAYS`
    before each."""
    models: Mapping[str, str]
    """Cut, as YYYY-MM-DD, to the folder of what is trained as of it: one that is there is kept. Of
    the cuts of all days, and of those before each."""
    scratch: str
    """Where the rows of days lie, and stay until somebody removes the folder."""
    n_processes: int | None = None
    """Processes that work at once; None: one for each core, up to four."""


@dataclass(frozen=True)
class ExplainContentSpec(Spec):
    """Name the words that made a text what it was taken for.

    `models.content.explain_text:explain_text` reports `words` and, of each head, its `class` and
    `probability` and the `effects` of the words.
    """

    command: ClassVar[str] = "explain_content"

    content_hash: str
    landed_on: date
    """A day on which it landed."""
    files: Mapping[str, tuple[str, ...]]
    """Clean table to the Parquet files of that day."""
    model_id: str
    """The model that has scored it."""
    models: tuple[str, ...]
    """Folders in which that may be."""
