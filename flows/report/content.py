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

    names = ("head", "learned from", "judged by", "log loss", "of the shares alone")
    """Of the columns of `rows`."""

    def __bool__(self) -> bool:
        return bool(self.said)

    @property
    def which(self) -> str:
        """Which model scores, and why."""
        if not self.said["model_id"]:
            return "No model scores: no head is on."
        return f"The model as of {self.said['as_of']} scores: {self.said['why']}."

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Per head that is on in the newest model: labelled texts, and how well it does on those of
        the newest that it has not seen, beside the shares of its classes."""
        return [
            (
                head["name"],
                f"{head['n_train']:,}",
                f"{head['n_judged']:,}",
                number(head["log_loss"]),
                number(head["constant_log_loss"]),
            )
            for head in self.said["heads"]
            if head["off"] is None
        ]

    @property
    def off(self) -> dict[str, str]:
        """Heads that are off, and why."""
        return {h["name"]: h["off"] for h in self.said["heads"] if h["off"] is not None}
