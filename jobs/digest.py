"""Content hashes that do not depend on the order of rows."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F


def digest(columns: Sequence[str]) -> Column:
    """64 bits of a row's content. Spark's hash skips nulls, so where they are is hashed too."""
    return F.xxhash64(*columns, F.array(*(F.col(name).isNull() for name in columns)))


def table_digest(row_digest: Column) -> Column:
    """A hash of a set of rows, as 48 hex digits and the count: sum and exclusive or of theirs.

    Two sets differ with near certainty if their digests' count, sum or exclusive or differ.
    """
    # Sums modulo 2**64 would overflow under ANSI; halves of 32 bits cannot before 2**31 rows.
    low, high = row_digest.bitwiseAND(F.lit(0xFFFFFFFF)), F.shiftrightunsigned(row_digest, 32)
    parts = (F.sum(low), F.sum(high), F.bit_xor(row_digest), F.count("*"))
    return F.concat_ws("-", *(F.lpad(F.hex(part), 16, "0") for part in parts))
