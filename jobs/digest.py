"""Content hashes that do not depend on the order of rows."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F


def digest(columns: Sequence[str]) -> Column:
    """64 bits of a row's content. Spark's hash skips nulls, so where they are is hashed too."""
    return F.xxhash64(*columns, F.array(*(F.col(name).isNull() for name in columns)))
