"""How much something counts that lies some days back, in whole numbers: they add up to the same in
any order."""

from __future__ import annotations

import numpy as np

from contracts.recommendation_tables import FIXED_POINT
from jobs.candidates.fixed_point import Integers


def decay(half_life: int, oldest: int) -> Integers:
    """What one counts at each age in days up to `oldest`, in `FIXED_POINT`ths, (oldest + 1,): half
    as much every `half_life` days, rounded to even."""
    ages = np.arange(max(oldest, 0) + 1)
    return np.rint(FIXED_POINT * np.exp2(-ages / half_life)).astype(np.int64)


def last_age(half_life: int) -> int:
    """Days after which one counts for nothing: it is rounded to 0."""
    return half_life * FIXED_POINT.bit_length()
