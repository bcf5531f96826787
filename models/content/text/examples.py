"""What a text model learns from: heads, and texts with labels that may be missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ContractError

MISSING = -1
"""Class number of a text that a head has no label of."""


@dataclass(frozen=True)
class Head:
    """One question that is asked of every text."""

    name: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ContractError(f"head {self.name!r}: expected letters, digits and underscores")
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ContractError(
                f"head {self.name}: expected two or more different classes, found {self.classes}"
            )


@dataclass(frozen=True)
class Texts:
    """Texts, and what each of them is about."""

    texts: Sequence[str]
    targets: Sequence[str] | None = None
    """A second text for each, as the stance of a text is one towards something; '' for none."""

    def __post_init__(self) -> None:
        if self.targets is not None and len(self.targets) != len(self.texts):
            raise ContractError(f"{len(self.targets)} targets of {len(self.texts)} texts")

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, rows: slice) -> Texts:
        return Texts(self.texts[rows], None if self.targets is None else self.targets[rows])


@dataclass(frozen=True)
class Examples:
    """Texts with class numbers per head, (N,) each; `MISSING` where there is no label."""

    texts: Texts
    labels: Mapping[str, NDArray[np.int64]]

    def of(self, head: Head) -> NDArray[np.int64]:
        """A head's class numbers, (N,).

        Raises:
            ContractError: there are more or fewer than texts, or one is no class of the head.
        """
        if head.name not in self.labels:
            return np.full(len(self.texts), MISSING)
        labels = np.asarray(self.labels[head.name], np.int64)
        if labels.shape != (len(self.texts),):
            raise ContractError(
                f"head {head.name}: {len(labels)} labels of {len(self.texts)} texts"
            )
        unknown = np.setdiff1d(labels, np.arange(MISSING, len(head.classes)))
        if len(unknown):
            raise ContractError(
                f"head {head.name}: expected classes 0 to {len(head.classes) - 1}, or {MISSING} "
                f"for a missing label, found {unknown[0]}"
            )
        return labels

    def labelled(self, head: Head) -> NDArray[np.int64]:
        """Rows that have a label of a head, ascending."""
        return np.flatnonzero(self.of(head) != MISSING)


def pooled(parts: Sequence[Examples], heads: Sequence[Head]) -> Examples:
    """All examples, those of one part behind those of another."""
    has_targets = any(part.texts.targets is not None for part in parts)
    texts = [text for part in parts for text in part.texts.texts]
    targets = [
        target for part in parts for target in (part.texts.targets or [""] * len(part.texts))
    ]
    labels = {head.name: np.concatenate([part.of(head) for part in parts]) for head in heads}
    return Examples(Texts(texts, targets if has_targets else None), labels)
