"""Hashes of users and of rows, the same on every machine: what splits and samples are chosen by.

Letters: B rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa


def user_hashes(rows: pa.RecordBatch | pa.Table) -> npt.NDArray[np.uint64]:
    """(B,): a hash of the user alone, the same on every machine and day."""
    users = pd.util.hash_array(rows.column("user_key").to_pandas().to_numpy(object))
    mixed: npt.NDArray[np.uint64] = (users * np.uint64(0x94D049BB133111EB)) >> np.uint64(33)
    return mixed


def row_hashes(rows: pa.RecordBatch | pa.Table) -> npt.NDArray[np.uint64]:
    """(B,): a hash of user and day, the same on every machine."""
    users = pd.util.hash_array(rows.column("user_key").to_pandas().to_numpy(object))
    days = rows.column("as_of").cast(pa.int32()).to_numpy(zero_copy_only=False).astype(np.uint64)
    mixed: npt.NDArray[np.uint64] = users ^ (days * np.uint64(0x9E3779B97F4A7C15))
    return mixed * np.uint64(0xBF58476D1CE4E5B9)
