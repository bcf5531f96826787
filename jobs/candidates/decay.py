"""How much something counts that lies some days back, in whole numbers: they add up to the same in
any order."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts.recommendation_tables import FIXED_POINT


def decayed(age: Column, half_life: int) -> Column:
    """What one counts at an age of so many days, in `FIXED_POINT`ths: half as much every
    `half_life` days, rounded to even."""
    share = F.pow(F.lit(2.0), -age / F.lit(float(half_life)))
    return F.rint(F.lit(float(FIXED_POINT)) * share).cast("bigint")


def last_age(half_life: int) -> int:
    """Days after which one counts for nothing: it is rounded to 0."""
    return half_life * FIXED_POINT.bit_length()
