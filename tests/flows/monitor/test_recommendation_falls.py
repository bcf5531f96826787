"""When recommendations that were released raise an alert."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from contracts.recommendation_tables import REC_OUTCOMES
from contracts.segments import ALL
from flows.lake.lake import Lake
from flows.monitor.recommendation_falls import fallen, fallen_since

DAY = date(2025, 6, 1)


def row(days: int, ndcg10: float, high: float = 1.0, **fields: Any) -> dict[str, Any]:
    """A row of `rec_outcomes`, so many days before."""
    rest = {column.name: 0 for column in REC_OUTCOMES.columns if not column.nullable}
    about = {"surface": "products", "segment": ALL, "method": "published", "gain_high": None}
    rest |= {"ranker_id": "r", "release_id": "l", **about}
    return {**rest, "as_of": DAY - timedelta(days=days), "ndcg10": ndcg10, "high": high, **fields}


def popular(days: int, ndcg10: float, gain_high: float) -> dict[str, Any]:
    return row(days, ndcg10, method="popular", gain_high=gain_high)


def test_lists_below_popularity_have_fallen_where_the_interval_says_so() -> None:
    rows = [
        row(0, 0.08), popular(0, 0.1, gain_high=-0.01),
        row(0, 0.08, surface="ads"), popular(0, 0.1, gain_high=0.01) | {"surface": "ads"},
        popular(0, 0.1, gain_high=-0.01) | {"segment": "new"},
    ]  # fmt: skip
    assert [str(fall) for fall in fallen(rows, [DAY])] == [
        "products as of 2025-06-01: the lists reached an nDCG@10 of 0.08, decayed popularity 0.1"
    ]


def test_lists_below_the_mean_of_their_days_before_have_fallen() -> None:
    before = [row(1, 0.1), row(2, 0.2), row(28, 0.3)]
    far = row(29, 0.9)
    assert [str(fall) for fall in fallen([*before, far, row(0, 0.1, high=0.19)], [DAY])] == [
        "products as of 2025-06-01: the lists reached an nDCG@10 of 0.1, 3 days before 0.2"
    ]
    assert fallen([*before, row(0, 0.1, high=0.21)], [DAY]) == ()  # by chance
    assert fallen([*before[1:], far, row(0, 0.1, high=0.11)], [DAY]) == ()  # too few days


def test_only_days_that_have_become_known_are_looked_at() -> None:
    rows = [row(0, 0.08), popular(0, 0.1, gain_high=-0.01)]
    assert fallen(rows, [DAY + timedelta(days=1)]) == ()


def test_the_lake_says_what_was_usual(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert fallen_since(lake, [DAY]) == ()
    for n, ndcg10 in ((1, 0.1), (2, 0.2), (28, 0.3), (40, 0.9)):
        lake.replace_rows(REC_OUTCOMES, [row(n, ndcg10)], [DAY - timedelta(days=n)], {})
    rows = [row(0, 0.1, high=0.15), popular(0, 0.05, gain_high=0.1)]
    lake.replace_rows(REC_OUTCOMES, rows, [DAY], {})
    (fall,) = fallen_since(lake, [DAY])
    assert (fall.reached, fall.of, round(fall.beside, 3)) == (0.1, "3 days before", 0.2)
    assert fallen_since(lake, []) == ()
