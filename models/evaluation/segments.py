"""New, active and dormant users: each task is looked at among them apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.data.label_layout import as_numpy

NEW_DAYS, ACTIVE_DAYS = 30, 28
SEGMENT_ROWS = 50
"""Fewer rows than this say nothing of a segment."""
SEGMENTS = ("new", "active", "dormant")
"""Users first seen up to `NEW_DAYS` before the day; of the others, those last seen up to
`ACTIVE_DAYS` before it, and the rest."""
SEEN = ("days_since_first_seen", "days_since_last_seen")
"""The features that tell them apart."""


def segments_of(rows: pa.RecordBatch | pa.Table) -> dict[str, npt.NDArray[np.bool_]]:
    """Segment to which of the (n,) rows are in it; nothing if the rows lack the features."""
    if any(name not in rows.schema.names for name in SEEN):
        return {}
    first, last = (as_numpy(rows.column(name).cast(pa.float64())) for name in SEEN)
    new, active = first <= NEW_DAYS, last <= ACTIVE_DAYS
    return dict(zip(SEGMENTS, (new, ~new & active, ~new & ~active), strict=True))
