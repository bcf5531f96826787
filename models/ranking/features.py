"""What a ranker sees of a pair of a user and an item, all as of the day.

Letters: B users, C candidates of all of them, F features, G groups of items (categories, authors),
N entries of histories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from contracts.days import EPOCH
from contracts.recommendation_tables import FIXED_POINT, NO_SUCH_DAY
from contracts.surfaces import Surface
from models.ranking.candidates import ACTIVITY, OWN, Candidates, list_kinds
from models.ranking.catalogue import ITEM_FEATURES, Catalogue
from models.ranking.title_words import title_similarity
from models.retrieval.histories import Histories
from models.retrieval.retrieval_model import weights

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FUSION = 60
"""Places that are added to each before ranks are fused (Cormack et al., 2009)."""
USER_FEATURES = (
    "user_n_items", "user_n_days", "user_days_since_last", "user_gap", "user_popularity",
    "user_log_price", "user_per_day",
    *(f"user_{name}" for name in ACTIVITY),
)  # fmt: skip
PAIR_FEATURES = (
    "n_sources", "fusion", "popularity_gap", "price_gap", "title_similarity", "own_n_goals",
    "own_n_days", "own_days_since_last", "own_gap", "own_due", "own_due_by_user", "own_signal",
    "own_share", "own_impressions", "category_share", "category_days_since_last", "author_share",
    "author_days_since_last",
)  # fmt: skip


def feature_names(surface: Surface) -> tuple[str, ...]:
    """The F features of a surface, in the order of their columns."""
    kinds = list_kinds(surface)
    scored = [kind.name for kind in kinds if kind.whose == OWN]
    return (
        *(f"place_{kind.name}" for kind in kinds),
        *(f"score_{name}" for name in scored),
        *(f"share_{name}" for name in scored),
        *PAIR_FEATURES,
        *(f"item_{name}" for name in ITEM_FEATURES),
        *USER_FEATURES,
    )


def features(surface: Surface, catalogue: Catalogue, candidates: Candidates) -> Floats:
    """(C, F): nan where something is not known, or an item is in no such list.

    Each feature stands in memory as one piece: they are computed, taken and asked for one by one.
    """
    columns: dict[str, npt.NDArray[np.floating]] = _of_lists(candidates)
    users = _of_users(catalogue, candidates.histories)
    rows, items = candidates.rows, candidates.items
    columns |= _of_pairs(catalogue, candidates, users)
    columns |= _of_groups(candidates, catalogue.items.categories, catalogue.as_of_day, "category")
    columns |= _of_groups(candidates, catalogue.items.authors, catalogue.as_of_day, "author")
    columns |= {f"item_{name}": values[items] for name, values in catalogue.numbers.items()}
    columns |= {name: values[rows] for name, values in users.items()}
    activity = candidates.activity[rows]
    columns |= {f"user_{name}": activity[:, i] for i, name in enumerate(ACTIVITY)}
    names = feature_names(surface)
    by_feature = np.empty((len(names), len(items)), np.float32)
    for i, name in enumerate(names):
        by_feature[i] = columns[name]
    return by_feature.T


def _of_lists(candidates: Candidates) -> dict[str, npt.NDArray[np.floating]]:
    """Of each list the place; of the user's own also the score, and its share of the best one."""
    columns: dict[str, npt.NDArray[np.floating]] = {}
    rows = candidates.rows
    fusion, n = np.zeros(len(rows)), np.zeros(len(rows))
    for i, kind in enumerate(candidates.kinds):
        places = candidates.places[i]
        columns[f"place_{kind.name}"] = places
        is_there = candidates.is_there[i]
        n += is_there
        fusion += np.nan_to_num(1 / (FUSION + places), copy=False)
        if kind.whose == OWN:
            best = np.maximum(candidates.best[i], 1e-9)[rows]
            columns[f"score_{kind.name}"] = candidates.scores[i]
            columns[f"share_{kind.name}"] = candidates.scores[i] / best
    return columns | {"n_sources": n, "fusion": fusion}


def _of_users(catalogue: Catalogue, histories: Histories) -> dict[str, Doubles]:
    """(B,) each: how much there is of a user, since when, and what the user's items are like."""
    n, rows = len(histories), histories.rows
    signals = histories.entries["signals"] / FIXED_POINT
    total = np.maximum(np.bincount(rows, signals, n), 1e-9)
    days, first, last = _days(histories)
    n_goals = np.bincount(rows, histories.entries["n_goals"], n)
    had_any = days > 0
    means = {}
    for name in ("n_users", "log_price"):
        values = catalogue.numbers[name][histories.items].astype(np.float64)
        known = ~np.isnan(values)
        weight = np.bincount(rows[known], signals[known], n)
        mean = np.bincount(rows[known], signals[known] * values[known], n)
        means[name] = np.where(weight > 0, mean / np.maximum(weight, 1e-9), np.nan)
    return {
        "user_n_items": np.diff(histories.starts).astype(np.float64),
        "user_n_days": days,
        "user_days_since_last": np.where(had_any, catalogue.as_of_day - last, np.nan),
        "user_gap": np.where(days > 1, (last - first) / np.maximum(days - 1, 1), np.nan),
        "user_popularity": means["n_users"],
        "user_log_price": means["log_price"],
        "user_per_day": np.where(had_any, n_goals / np.maximum(days, 1), np.nan),
        "_signals": total,
    }


def _days(histories: Histories) -> tuple[Doubles, Doubles, Doubles]:
    """(B,) each: days of which it is known that the user was there, the first and the last."""
    n = len(histories)
    rows = np.tile(histories.rows, 2)
    days = np.concatenate([histories.entries["first_days"], histories.entries["last_days"]])
    known = days != NO_SUCH_DAY
    rows, days = rows[known], days[known]
    different = np.unique(rows * 2**32 + days)
    counts = np.bincount(different >> 32, minlength=n).astype(np.float64)
    first, last = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(first, rows, days)
    np.maximum.at(last, rows, days)
    return counts, first, last


def _of_pairs(
    catalogue: Catalogue, candidates: Candidates, users: Mapping[str, Doubles]
) -> dict[str, npt.NDArray[np.floating]]:
    """What the user had to do with the item, and how alike it is to what the user has."""
    own = own_entries(candidates)
    rows, items = candidates.rows, candidates.items
    last, gap = _known(own.get("last_days")), _known(own.get("gaps"))
    since = catalogue.as_of_day - last
    days = own.get("n_days")
    signal = own.get("signals") / FIXED_POINT
    n_days, user_gap = users["user_n_days"][rows], users["user_gap"][rows]
    return {
        "popularity_gap": catalogue.numbers["n_users"][items] - users["user_popularity"][rows],
        "price_gap": catalogue.numbers["log_price"][items] - users["user_log_price"][rows],
        "title_similarity": _title_similarity(catalogue, candidates),
        "own_n_goals": own.get("n_goals"),
        "own_n_days": days,
        "own_days_since_last": since,
        "own_gap": gap,
        "own_due": since / np.maximum(gap, 1),
        "own_due_by_user": since / np.maximum(user_gap, 1),
        "own_signal": signal / users["_signals"][rows],
        "own_share": days / np.maximum(n_days, 1),
        "own_impressions": own.get("n_impressions"),
    }


def _title_similarity(catalogue: Catalogue, candidates: Candidates) -> Doubles:
    """(C,): see `title_similarity`."""
    as_of = EPOCH + timedelta(days=catalogue.as_of_day)
    had = weights(candidates.histories, len(catalogue), as_of)
    return title_similarity(catalogue.title_words, had, candidates.rows, candidates.items)


@dataclass(frozen=True)
class OwnEntries:
    """The entries of histories that candidates are about."""

    histories: Histories
    at: Ints
    """(C,): where each candidate's entry is; -1: there is none."""

    def get(self, name: str) -> Doubles:
        """(C,): a column of the entries; nan where there is none."""
        values = np.append(self.histories.entries[name].astype(np.float64), np.nan)
        found: Doubles = values[self.at]
        return found


def own_entries(candidates: Candidates) -> OwnEntries:
    """The entry of each candidate in its user's history."""
    histories = candidates.histories
    n = 1 + max(candidates.items.max(initial=0), histories.items.max(initial=0))
    keys = histories.rows * n + histories.items
    asked = candidates.rows * n + candidates.items
    at = np.searchsorted(keys, asked)
    found = at < len(keys)
    found[found] = keys[at[found]] == asked[found]
    return OwnEntries(histories, np.where(found, at, -1))


def _of_groups(
    candidates: Candidates, codes: npt.NDArray[np.int32], as_of_day: int, name: str
) -> dict[str, npt.NDArray[np.floating]]:
    """What share of the user's signals the item's category or author has, and since when."""
    histories, n = candidates.histories, int(codes.max(initial=0)) + 1
    group = codes[histories.items]
    has = group >= 0
    keys, at = np.unique(histories.rows[has] * n + group[has], return_inverse=True)
    signals = histories.entries["signals"][has] / FIXED_POINT
    sums = np.bincount(at, signals, len(keys))
    totals = np.maximum(np.bincount(histories.rows[has], signals, len(histories)), 1e-9)
    last = np.full(len(keys), NO_SUCH_DAY, np.int64)
    np.maximum.at(last, at, histories.entries["last_days"][has])
    rows, asked_group = candidates.rows, codes[candidates.items]
    asked = rows * n + asked_group
    place = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    found = (asked_group >= 0) & (keys[place] == asked) if len(keys) else np.zeros(len(rows), bool)
    shares, since = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    # Of an item without a category nothing is known; of one of a category that the user never had,
    # that.
    shares[asked_group >= 0] = 0
    shares[found] = sums[place[found]] / totals[rows[found]]
    since[found] = as_of_day - _known(last[place[found]].astype(np.float64))
    return {f"{name}_share": shares, f"{name}_days_since_last": since}


def _known(days: Doubles) -> Doubles:
    """Days, nan where there is none."""
    return np.where(days == NO_SUCH_DAY, np.nan, days)
