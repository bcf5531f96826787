"""How a page shows what texts are scored by: rows of a table, a head each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flows.report.rendering import number


@dataclass(frozen=True)
class ContentModel:
    """What scores the newest texts."""

    said: Mapping[str, Any]
    """What a receipt of content says; empty where texts are not scored."""

    names = (
        "head", "learned from", "judged by", "log loss", "of the shares alone", "model as of",
    )  # fmt: skip
    """Of the columns of `rows`."""

    def __bool__(self) -> bool:
        return bool(self.said)

    @property
    def why(self) -> str:
        """Why this model scores."""
        return str(self.said["why"])

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Per head that is on: labelled texts, and how well it does on the newest of them, which it
        has not learned from, beside the shares of its classes."""
        return [
            (
                head["name"],
                f"{head['n_train']:,}",
                f"{head['n_validation']:,}",
                number(head["log_loss"]),
                number(head["constant_log_loss"]),
                self.said["as_of"],
            )
            for head in self.said["heads"]
            if head["off"] is None
        ]

    @property
    def off(self) -> dict[str, str]:
        """Heads that are off, and why."""
        return {h["name"]: h["off"] for h in self.said["heads"] if h["off"] is not None}
