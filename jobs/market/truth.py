"""What each user will do, as a probability or expectation in closed form: the oracle.

Known of a user as of midnight D are the traits and whether the user was awake on the day before;
not the history. Awake and asleep follow each other as a Markov chain, and all that is done while
awake is Poisson at a rate times the season, so the chance that nothing happens is a product of
2 x 2 matrices, and a mean number the rate times the expected days awake. Left out, as they follow
from history: cancellations and unfollows that are due. Bots are not in it.

Letters: n users, C categories, H days of a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import ndtr

from jobs.market.events import (
    FRAUD_PAYMENTS,
    FRAUD_TRANSFERS,
    MORE_LINES,
    ON_ITEM,
    P_CANCELLED,
    P_MARKED,
    STARS_AT,
    STARS_SPREAD,
)
from jobs.market.traits import (
    N_CATEGORIES,
    PER_CATEGORY,
    RATES,
    VERBS,
    Block,
    Floats,
    Items,
    Market,
    blocks,
    popularity,
    season,
)


@dataclass(frozen=True)
class _Outlook:
    """Users known as of a day, (n,), and what the days from then on are like."""

    awake: Floats
    leave: Floats
    wake: Floats
    seasons: Floats
    """Of each day from D on."""

    def nothing(self, rate: Floats, days: int) -> Floats:
        """The chance that something with a rate per awake day, (n,) or (n, C), does not happen."""
        shape = (slice(None), *[None] * (rate.ndim - 1))
        leave, wake = self.leave[shape], self.wake[shape]
        up = np.broadcast_to(self.awake[shape], rate.shape).copy()
        down = 1 - up
        for s in self.seasons[:days]:
            up, down = (
                (up * (1 - leave) + down * wake) * np.exp(-rate * s),
                (up * leave + down * (1 - wake)),
            )
        return up + down

    def exposure(self, days: int) -> Floats:
        """Expected awake days, each times its season."""
        up, total = self.awake, np.zeros_like(self.awake)
        for s in self.seasons[:days]:
            up = up * (1 - self.leave) + (1 - up) * self.wake
            total += up * s
        return total


def truth_of(market: Market, traits: Block, items: Items, day: int) -> dict[str, np.ndarray]:
    """Columns of the users of a block that are known as of a day: id, awake, and every task's."""
    known = np.flatnonzero((traits.signed_up < day) & ~traits.bot)
    seasons = np.array([season(market.day(day + k)) for k in range(90)])
    out = _Outlook(
        traits.awake(day - 1)[known].astype(float), traits.leave[known], traits.wake[known], seasons
    )
    rate = {name: traits.rate(name)[known] for name in RATES}
    taste, attacks = traits.interests[known], traits.vulnerability[known]
    standing = rate["order"] * (1 - P_CANCELLED)
    columns: dict[str, np.ndarray] = {
        "user_id": np.char.add("u", (known + traits.first).astype(str)),
        "awake": out.awake.astype(bool),
        "purchase_7d": 1 - out.nothing(standing, 7),
        "purchase_30d": 1 - out.nothing(standing, 30),
        "spend_30d": out.exposure(30) * standing * _order_value(traits, items, known),
    }
    for verb in ("view", "like", "comment", "share", "search"):
        columns[f"{verb}_7d"] = out.exposure(7) * rate[verb]
    seen = out.nothing(rate["ad_view"], 7)
    unclicked = out.nothing(rate["ad_view"] * traits.ad_liking[known], 7)
    columns["ad_click_7d"] = (1 - unclicked) / (1 - seen)
    stars = star_shares(market, traits, known)
    columns["next_rating_90d"] = stars @ np.arange(1, 6)
    for k, name in enumerate(("negative", "neutral", "positive")):
        columns[f"sentiment_next_30d_is_{name}"] = stars[:, k == _SENTIMENT].sum(axis=1)
    engaged = sum(rate[verb] * share for verb, share in zip(VERBS, ON_ITEM, strict=True))
    a_line = 1 - (1 - taste) * np.exp(-MORE_LINES * taste)
    met = (engaged + rate["review"])[:, None] * taste + rate["order"][:, None] * a_line
    interest = 1 - out.nothing(met, 30)
    for c in range(N_CATEGORIES):
        columns[f"interests_30d_is_c{c}"] = interest[:, c]
    quiet = np.sum(list(rate.values()), axis=0)
    columns["churn_28d"] = out.nothing(quiet, 28) * (1 - attacks) ** 28
    columns["return_90d"] = 1 - out.nothing(quiet, 90) * (1 - attacks) ** 90
    for kind, chance in FRAUD_CHANCES.items():
        columns[f"{kind}_fraud_30d"] = 1 - (1 - attacks * chance) ** 30
    return columns


FRAUD_CHANCES: Mapping[str, float] = {
    "payment": 1 - float(np.exp(-FRAUD_PAYMENTS * P_MARKED)),
    "login": P_MARKED,
    "transfer": 1 - float(np.exp(-FRAUD_TRANSFERS * P_MARKED)),
}
"""That an attack leaves at least one marked event of a kind."""
_SENTIMENT = np.array([0, 0, 1, 2, 2])


def _order_value(traits: Block, items: Items, known: np.ndarray) -> Floats:
    """(n,): mean value of an order, in minor units."""
    prices = items.price.reshape(PER_CATEGORY, N_CATEGORIES)
    price = traits.interests[known] @ (popularity() @ prices)
    return 100 * price * (1 + MORE_LINES) * (1 + traits.basket[known])


_MOODS = np.linspace(-6, 6, 2401)


@lru_cache(maxsize=2)
def _stars_below(market: Market) -> npt.NDArray[np.float64]:
    """(C, 4, moods): the chance of fewer than 2, 3, 4, 5 stars for a review in a category."""
    quality = Items.of(market).quality.reshape(PER_CATEGORY, N_CATEGORIES)
    steps = np.arange(1.5, 5.0)
    return np.stack(
        [
            [
                ndtr((step - STARS_AT - _MOODS[:, None] - quality[None, :, c]) / STARS_SPREAD)
                @ popularity()
                for step in steps
            ]
            for c in range(N_CATEGORIES)
        ]
    )


def star_shares(market: Market, traits: Block, known: np.ndarray) -> Floats:
    """(n, 5): chances of the stars of a user's next review, over all goods it may be of.

    Mood is one number, so each category's chances are tabled over it (in steps of 0.005, which is
    right to 1e-5) and looked up.
    """
    mood = traits.mood[known]
    shares = np.zeros((len(known), 5))
    for c, columns in enumerate(_stars_below(market)):
        below = np.stack([np.interp(mood, _MOODS, column) for column in columns], axis=1)
        shares += traits.interests[known, c, None] * np.diff(below, axis=1, prepend=0, append=1)
    return shares


def write_truth(market: Market, items: Items, day: int, folder: Path) -> Path:
    """Write `as_of=DAY.parquet`: a row per user known by then."""
    path = folder / f"as_of={market.day(day).isoformat()}.parquet"
    _write(path, (truth_of(market, traits, items, day) for traits in blocks(market)))
    return path


def write_latents(market: Market, folder: Path) -> Path:
    """Write `latents.parquet`: a row per user, traits in columns."""
    path = folder / "latents.parquet"
    _write(path, (_latents(traits) for traits in blocks(market)))
    return path


def _latents(traits: Block) -> dict[str, np.ndarray]:
    return {
        "user_id": np.char.add("u", (np.arange(traits.n) + traits.first).astype(str)),
        **{f"rate_{name}": traits.rate(name) for name in RATES},
        **{f"interest_c{c}": traits.interests[:, c] for c in range(N_CATEGORIES)},
        **{
            name: getattr(traits, name)
            for name in (
                "signed_up", "leave", "wake", "mood", "basket", "ad_liking", "vulnerability",
                "wealth", "bot",
            )
        },
    }  # fmt: skip


def _write(path: Path, parts: Iterable[Mapping[str, np.ndarray]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer: pq.ParquetWriter | None = None
    for part in parts:
        table = pa.table({name: pa.array(column) for name, column in part.items()})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
