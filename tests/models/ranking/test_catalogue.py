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
            item(
                "many", n_users=4, n_users_30d=4, n_new_users_30d=4, popularity_10d=3 * FIXED_POINT
            ),
            item("none"),
        ],
        arrow_schema(REC_ITEMS),
    )
    numbers = without_users(catalogue_of(rows, DAY), np.array([1, 1, 0])).numbers
    assert numbers["n_users"].tolist() == pytest.approx(np.log1p([0, 3, 0]).tolist())
    assert numbers["n_users_30d"].tolist() == pytest.approx(np.log1p([0, 3, 0]).tolist())
    assert numbers["new_users_30d"].tolist() == pytest.approx(np.log1p([0, 3, 0]).tolist())
    # Shares of the mean, which is (0 + 3 x 3/4 + 0) / 3.
    assert numbers["popularity_10d"].tolist() == pytest.approx(np.log1p([0, 3, 0]).tolist())


def test_new_users_are_told_from_those_who_come_again() -> None:
    rows = pa.Table.from_pylist(
        [
            item("on the rise", n_users_30d=30, n_new_users_7d=14, n_new_users_30d=30),
            item("bought again", n_users_30d=30, n_new_users_30d=3),
            item("not wanted"),
        ],
        arrow_schema(REC_ITEMS),
    )
    numbers = catalogue_of(rows, DAY).numbers
    assert numbers["new_users_7d"].tolist() == pytest.approx(np.log1p([14, 0, 0]).tolist())
    shares = numbers["new_share"].tolist()
    assert shares == pytest.approx([1, 0.1, np.nan], nan_ok=True)
    # 2.02 a day of the last week beside 1.02 of the month, 0.02 beside 0.12, as many.
    trends = np.log([2.02 / 1.02, 0.02 / 0.12, 1]).tolist()
    assert numbers["new_trend"].tolist() == pytest.approx(trends, abs=1e-6)
