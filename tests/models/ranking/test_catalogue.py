"""What can be recommended, as numbers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from contracts.recommendation_tables import FIXED_POINT, REC_ITEMS
from models.data.arrow_schema import arrow_schema
from models.ranking.catalogue import catalogue_of, without_users
from tests.models.ranking.hand_made_tables import DAY, item


def test_users_who_are_left_out_are_no_popularity_either() -> None:
    rows = pa.Table.from_pylist(
        [
            item("one", n_users=1, popularity_10d=FIXED_POINT),
            item("many", n_users=4, n_users_30d=4, popularity_10d=3 * FIXED_POINT),
            item("none"),
        ],
        arrow_schema(REC_ITEMS),
    )
    numbers = without_users(catalogue_of(rows, DAY), np.array([1, 1, 0])).numbers
    assert numbers["n_users"].tolist() == pytest.approx(np.log1p([0, 3, 0]).tolist())
    assert numbers["n_users_30d"].tolist() == pytest.approx(np.log1p([0, 3, 0]).tolist())
    # Shares of the mean, which is (0 + 3 x 3/4 + 0) / 3.
    assert numbers["popularity_10d"].tolist() == pytest.approx(np.log1p([0, 3, 0]).tolist())
