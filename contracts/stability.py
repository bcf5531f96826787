"""The population stability index: how far a distribution has moved, as credit scoring has it."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEAST_SHARE = 1e-4
"""What a bin's share counts as at least: an empty bin would make the index infinite."""


def stability_index(expected: Sequence[float], observed: Sequence[float]) -> float:
    """The sum of (p - q) ln(p / q) over the shares p and q of the same bins: 0.1 is little, 0.25
    much. It is the same whichever of the two came first.

    Args:
        expected: Shares of a first distribution, bin by bin.
        observed: Those of a second one.
    """
    pairs = (
        (max(p, LEAST_SHARE), max(q, LEAST_SHARE)) for p, q in zip(expected, observed, strict=True)
    )
    return sum((p - q) * math.log(p / q) for p, q in pairs)
