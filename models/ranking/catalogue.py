"""What a surface can recommend as of a day, as numbers.

Letters: I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from contracts.days import EPOCH
from contracts.recommendation_tables import FIXED_POINT, NEW_USER_DAYS, NO_SUCH_DAY
from contracts.specs import RankInputs
from contracts.surfaces import HALF_LIVES, Surface
from models.data.label_layout import as_numpy
from models.ranking.block import Items
from models.ranking.title_words import title_words
from models.retrieval.histories import read_items

Floats = npt.NDArray[np.float32]

SMOOTHING = 20
"""Impressions that the mean success rate of a surface counts as, beside an item's own."""


@dataclass(frozen=True)
class Catalogue:
    """Items of a surface by ascending `item_id`."""

    rows: pa.Table
    """(I,): rows of `rec_items`."""
    items: Items
    """What the policy asks of them."""
    as_of_day: int
    """The day as of which they are, since 1970."""
    numbers: Mapping[str, Floats]
    """Feature to (I,): nan where it is not known."""

    def __len__(self) -> int:
        return len(self.items)

    @property
    def ids(self) -> pa.StringArray:
        return self.items.ids

    @cached_property
    def title_words(self) -> sparse.csr_array:
        """(I, W): the weights of the words of titles."""
        return title_words(self.rows["title"].combine_chunks())


def read_catalogue(inputs: RankInputs, surface: Surface) -> Catalogue:
    """The items of a surface as of a day."""
    return catalogue_of(read_items(inputs.items, surface.name, inputs.as_of), inputs.as_of)


def catalogue_of(rows: pa.Table, as_of: date) -> Catalogue:
    """Rows of `rec_items` of one surface, by ascending `item_id`, as numbers."""
    as_of_day = (as_of - EPOCH).days
    return Catalogue(rows, Items.of(rows), as_of_day, _numbers(rows, as_of_day))


def without_users(catalogue: Catalogue, n_users: npt.NDArray[np.int64]) -> Catalogue:
    """The catalogue as if so many users (I,) of each item had not been seen: counts of users, and
    popularity by the share of users who are left."""
    rows = catalogue.rows
    left = 1 - n_users / np.maximum(_floats(rows, "n_users"), 1)
    for name in _OF_USERS:
        counts = np.rint(_floats(rows, name) * np.maximum(left, 0)).astype(np.int64)
        at = rows.schema.get_field_index(name)
        column = pa.array(counts).cast(rows.schema.field(name).type)
        rows = rows.set_column(at, rows.schema.field(name), column)
    return catalogue_of(rows, EPOCH + timedelta(days=catalogue.as_of_day))


def _numbers(rows: pa.Table, as_of_day: int) -> dict[str, Floats]:
    """Measures of popularity are shares of the surface's mean, for days are compared; trends are
    ratios of them: above 1 an item is on the rise."""
    column = {name: _floats(rows, name) for name in _COLUMNS}
    popularity = {days: column[f"popularity_{days}d"] / FIXED_POINT for days in HALF_LIVES}
    means = {days: max(float(p.mean()), 1e-6) if len(p) else 1.0 for days, p in popularity.items()}
    per_day = {days: popularity[days] / days for days in HALF_LIVES}
    shown, reached = column["n_impressions_30d"], column["n_goals_30d"]
    rate = float(reached.sum() / max(shown.sum(), 1.0))
    new_users = {days: column[f"n_new_users_{days}d"] for days in NEW_USER_DAYS}
    week, month = NEW_USER_DAYS
    numbers = {
        **{f"popularity_{d}d": np.log1p(p / means[d]) for d, p in popularity.items()},
        **{
            f"trend_{a}d_{b}d": np.log((per_day[a] + 1e-3) / (per_day[b] + 1e-3))
            for a, b in _TRENDS
        },
        "n_users": np.log1p(column["n_users"]),
        "n_users_30d": np.log1p(column["n_users_30d"]),
        "recent_share": column["n_users_30d"] / np.maximum(column["n_users"], 1),
        **{f"new_users_{days}d": np.log1p(new_users[days]) for days in NEW_USER_DAYS},
        "new_share": _ratio(new_users[month], column["n_users_30d"]),
        "new_trend": np.log((new_users[week] / week + _FEW) / (new_users[month] / month + _FEW)),
        "age": as_of_day - column["first_day"],
        "days_since_last": _since(column["last_day"], as_of_day),
        "log_price": np.log1p(column["price_minor"]),
        "mean_stars": _ratio(column["sum_stars_90d"], column["n_reviews_90d"]),
        "n_reviews": np.log1p(column["n_reviews_90d"]),
        "n_impressions": np.log1p(shown),
        "success_rate": np.where(
            shown > 0, (reached + SMOOTHING * rate) / (shown + SMOOTHING), np.nan
        ),
    }
    return {name: values.astype(np.float32) for name, values in numbers.items()}


_TRENDS = ((1, 10), (3, 30), (10, 30))
_FEW = 0.02
"""New users a day, added to both sides of their trend: one more of hardly any is no trend."""
_COLUMNS = (
    *(f"popularity_{days}d" for days in HALF_LIVES),
    *(f"n_new_users_{days}d" for days in NEW_USER_DAYS),
    "n_users", "n_users_30d", "n_impressions_30d", "n_goals_30d", "sum_stars_90d",
    "n_reviews_90d", "first_day", "last_day", "price_minor",
)  # fmt: skip


_OF_USERS = (*(f"popularity_{days}d" for days in HALF_LIVES), "n_users", "n_users_30d",
             *(f"n_new_users_{days}d" for days in NEW_USER_DAYS), "n_goals_30d")  # fmt: skip


def _floats(rows: pa.Table, name: str) -> npt.NDArray[np.float64]:
    return as_numpy(pc.cast(rows[name], pa.float64())).astype(np.float64)


def _since(days: npt.NDArray[np.float64], as_of_day: int) -> npt.NDArray[np.float64]:
    return np.where(days == NO_SUCH_DAY, np.nan, as_of_day - days)


def _ratio(
    sums: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


ITEM_FEATURES = tuple(_numbers(pa.table({name: pa.array([], pa.int64()) for name in _COLUMNS}), 0))
"""Names of `Catalogue.numbers`."""
