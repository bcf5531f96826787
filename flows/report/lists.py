"""How a page shows what is recommended: rows of tables, a surface each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.counts import n_of
from flows.report.rendering import interval, number
from flows.report.sections import Rows

LIST_NAMES = (
    "surface", "users", "items on their lists", "short lists", "ordered by", "nDCG@10",
    "of the best list alone", "gain (95 %)", "learned from",
)  # fmt: skip
"""Of the columns of the table of lists."""


def list_rows(lists: Rows, rankers: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Per surface: its lists, what gives their order, and how well that did on the newest past day,
    which it was chosen on, beside the best single list."""
    return [
        (surface, *(f"{n:,}" for n in numbers), *_order(rankers.get(surface, {})))
        for surface, *numbers in lists
    ]


def _order(report: Mapping[str, Any]) -> tuple[str, ...]:
    """What orders, nDCG@10 of it and of the best single list, the gain, and what was learned from;
    of a ranker's report.

    A surface that learns from too little, or of which nobody was judged, has no gain.
    """
    figures, best = report.get("ndcg10", {}), report.get("best_list", "")
    by = report.get("order_by", "—")
    gain = report.get("gain")
    of_order, of_best = (figures.get(name, {}).get("mean") for name in (by, best))
    return (
        best if by == "source" else by,
        number(of_best if by == "source" else of_order),
        f"{number(of_best)} ({best})" if best else "—",
        "—" if gain is None else interval({**gain, "gain": gain["mean"]}),
        _learned_from(report),
    )


def _learned_from(report: Mapping[str, Any]) -> str:
    """What there was to learn from and to choose by, of a ranker's report."""
    learned_from = report.get("learned_from", "—")
    return n_of(len(report["days"]), "past day") if learned_from == "past days" else learned_from


def list_outcome_rows(outcomes: Rows) -> list[tuple[str, ...]]:
    """Per surface: the newest day whose outcome is known, and its figures."""
    return [
        (surface, str(day), f"{n:,}", *(f"{figure:.3f}" for figure in figures))
        for surface, day, n, *figures in outcomes
    ]
