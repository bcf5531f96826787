"""New, active and dormant users, told apart by their features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.segments import ACTIVE_DAYS, NEW_DAYS, SEGMENTS
from models.data.label_layout import as_numpy

SEGMENT_ROWS = 50
"""Fewer rows than this say nothing of a segment."""
SEEN = ("days_since_first_seen", "days_since_last_seen")
"""The features that tell them apart."""


def segments_of(rows: pa.RecordBatch | pa.Table) -> dict[str, npt.NDArray[np.bool_]]:
    """Segment to which of the (n,) rows are in it; nothing if the rows lack the features."""
    if any(name not in rows.schema.names for name in SEEN):
        return {}
    first, last = (as_numpy(rows.column(name).cast(pa.float64())) for name in SEEN)
    new, active = first <= NEW_DAYS, last <= ACTIVE_DAYS
    return dict(zip(SEGMENTS, (new, ~new & active, ~new & ~active), strict=True))
