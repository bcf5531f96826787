"""The text model: the mean of its members' probabilities, calibrated per head.

N texts, C classes of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ContractError
from models.content.text.calibration import Calibration
from models.content.text.examples import Head, Texts

BATCH = 1024
"""Texts that go through all members together; memory does not grow with their number."""
Probabilities = NDArray[np.float32]
LINEAR, CNN, ENCODER = "linear", "cnn", "encoder"
"""Names of members."""


class Member(Protocol):
    """One of the models whose mean is published."""

    def logits(self, texts: Texts) -> Mapping[str, NDArray[np.float32]]:
        """Of each head, (N, C)."""
        ...


@dataclass(frozen=True)
class TextModel:
    """Members by name with a calibration each per head, and one of their mean."""

    heads: tuple[Head, ...]
    members: Mapping[str, Member]
    member_calibrations: Mapping[str, Mapping[str, Calibration]]
    calibrations: Mapping[str, Calibration]

    def probabilities(self, texts: Texts) -> dict[str, Probabilities]:
        """Of each head, (N, C); a text's do not depend on those around it."""
        parts = list(self.by_batch(texts))
        if not parts:
            return {h.name: np.zeros((0, len(h.classes)), np.float32) for h in self.heads}
        return {h.name: np.concatenate([part[h.name] for part in parts]) for h in self.heads}

    def by_batch(self, texts: Texts) -> Iterator[dict[str, Probabilities]]:
        """Probabilities of `BATCH` texts after another."""
        for begin in range(0, len(texts), BATCH):
            outputs = self.member_outputs(texts[begin : begin + BATCH])
            yield {
                head.name: np.exp(
                    self.calibrations[head.name].log_probabilities(
                        self.mean_of(head, {m: outputs[m][head.name] for m in self.members})
                    )
                ).astype(np.float32)
                for head in self.heads
            }

    def member_outputs(self, texts: Texts) -> dict[str, Mapping[str, NDArray[np.float32]]]:
        """Each member's logits of each head."""
        return {name: member.logits(texts) for name, member in self.members.items()}

    def mean_of(self, head: Head, logits: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Mean of log-probabilities, (N, C): equal weights, which small validation parts cannot
        improve on."""
        return mean_log_probabilities(
            [self.member_calibrations[m][head.name].log_probabilities(z) for m, z in logits.items()]
        )

    def alone(self, member: str) -> TextModel:
        """One member as a model of its own.

        Raises:
            ContractError: the model has no such member.
        """
        if member not in self.members:
            raise ContractError(f"no member {member}; there are {', '.join(self.members)}")
        own = self.member_calibrations[member]
        neutral = {h.name: Calibration(1.0, (0.0,) * len(h.classes)) for h in self.heads}
        return TextModel(self.heads, {member: self.members[member]}, {member: own}, neutral)


def mean_log_probabilities(of_members: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
    return np.asarray(sum(of_members) / len(of_members), np.float32)
