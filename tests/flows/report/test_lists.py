"""How a page shows what orders the lists of each surface."""

from __future__ import annotations

from flows.report.lists import list_rows

FIGURES = {
    "popular_10d": {"mean": 0.25, "low": 0.2, "high": 0.3},
    "mixture": {"mean": 0.5, "low": 0.4, "high": 0.6},
}


def test_a_surface_is_shown_with_its_order_beside_the_best_list_alone() -> None:
    learnt = {
        "order_by": "mixture",
        "best_list": "popular_10d",
        "ndcg10": FIGURES,
        "gain": {"mean": 0.25, "low": 0.125, "high": 0.375},
        "learned_from": "past days",
        "days": ["2025-03-01", "2025-03-31"],
    }
    of_list = {"order_by": "source", "best_list": "popular_10d"}
    alone = {**of_list, "ndcg10": FIGURES, "learned_from": "hidden edges", "days": ["2025-04-30"]}
    nobody = {**of_list, "ndcg10": {}, "learned_from": "nothing", "days": []}
    lists = [("ads", 9, 900, 0), ("people", 9, 9, 9), ("posts", 1200, 0, 1), ("products", 1, 1, 1)]
    assert list_rows(lists, {"ads": learnt, "people": alone, "posts": nobody}) == [
        ("ads", "9", "900", "0", "mixture", "0.5", "0.25 (popular_10d)",
         "+0.25 (+0.125 to +0.375)", "2 past days"),
        ("people", "9", "9", "9", "popular_10d", "0.25", "0.25 (popular_10d)", "—",
         "hidden edges"),
        ("posts", "1,200", "0", "1", "popular_10d", "—", "— (popular_10d)", "—", "nothing"),
        ("products", "1", "1", "1", "—", "—", "—", "—", "—"),
    ]  # fmt: skip
