"""What each user will do, as a probability or expectation in closed form: the oracle.

Known of a user as of midnight D are the traits and whether the user was awake on the day before;
not the history. Left out, as they follow from history: cancellations and unfollows that are due.
Bots are not in it.

Letters: n users, C categories, H days of a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import ndtr

from jobs.market.accounts import FRAUD_PAYMENTS, FRAUD_TRANSFERS, P_MARKED
from jobs.market.catalogue import Ads, Items
from jobs.market.choices import ad_click_chances, ad_shares
from jobs.market.events import MORE_LINES, ON_ITEM, P_CANCELLED, STARS_AT, STARS_SPREAD
from jobs.market.outlook import Outlook
from jobs.market.traits import N_CATEGORIES, RATES, TASTES, VERBS, Block, Floats, Market, blocks


def truth_of(market: Market, traits: Block, day: int) -> dict[str, np.ndarray]:
    """Columns of the users of a block that are known as of a day: id, awake, and every task's."""
    out = Outlook.of(market, traits, day)
    known = out.users
    rate = {name: out.rate(name) for name in RATES}
    attacks = traits.vulnerability[known]
    standing = rate["order"] * (1 - P_CANCELLED)

    def again(k: int) -> Floats:
        return out.staples(k, 1 - P_CANCELLED)[1].sum(axis=1)

    columns: dict[str, np.ndarray] = {
        "user_id": np.char.add("u", (known + traits.first).astype(str)),
        "awake": out.awake.astype(bool),
        "purchase_7d": 1 - out.nothing(standing, 7, again),
        "purchase_30d": 1 - out.nothing(standing, 30, again),
        "spend_30d": (1 - P_CANCELLED) * _spend(out),
    }
    for verb in ("view", "like", "comment", "share", "search"):
        columns[f"{verb}_7d"] = out.exposures(7).sum(axis=1) * rate[verb]
    seen = out.nothing(rate["ad_view"], 7)
    unclicked = out.nothing(rate["ad_view"] * _ad_clicks(out), 7)
    columns["ad_click_7d"] = (1 - unclicked) / (1 - seen)
    stars = star_shares(out)
    columns["next_rating_90d"] = stars @ np.arange(1, 6)
    for k, name in enumerate(("negative", "neutral", "positive")):
        columns[f"sentiment_next_30d_is_{name}"] = stars[:, k == _SENTIMENT].sum(axis=1)
    interest = _interest(out)
    for c in range(N_CATEGORIES):
        columns[f"interests_30d_is_c{c}"] = interest[:, c]
    quiet = np.sum(list(rate.values()), axis=0)

    def bought(k: int) -> Floats:
        return out.staples(k)[1].sum(axis=1)

    columns["churn_28d"] = out.nothing(quiet, 28, bought) * (1 - attacks) ** 28
    columns["return_90d"] = 1 - out.nothing(quiet, 90, bought) * (1 - attacks) ** 90
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


def _spend(out: Outlook) -> Floats:
    """(n,): expected value of the orders of 30 days, in minor units."""
    price = Items.of(out.market).price
    lines = (1 + MORE_LINES) * out.rate("order")
    spend = lines * np.einsum("ni,i->n", out.goods(out.exposures(30)), price)
    awake = out.days_awake(30)
    for k in range(30):
        item, hazard = out.staples(k)
        spend += awake[:, k] * (-np.expm1(-hazard) * price[item]).sum(axis=1)
    return 100 * spend * (1 + out.traits.basket[out.users])


def _ad_clicks(out: Outlook) -> Floats:
    """(n,): the chance that an ad is clicked, over all that may be shown."""
    shown = out.traits.interests[out.users][:, Ads.of(out.market).category] * ad_shares(out.market)
    clicks = ad_click_chances(out.market, out.traits, out.users)
    return np.einsum("na,na->n", shown, clicks)


def _interest(out: Outlook) -> Floats:
    """(n, C): the chance to have to do with an item of each category in 30 days."""
    taste, category = out.traits.interests[out.users], Items.of(out.market).category
    engaged = sum(out.rate(verb) * share for verb, share in zip(VERBS, ON_ITEM, strict=True))
    a_line = 1 - (1 - taste) * np.exp(-MORE_LINES * taste)
    met = (engaged + out.rate("review"))[:, None] * taste + out.rate("order")[:, None] * a_line

    def again(k: int) -> Floats:
        item, hazard = out.staples(k)
        of_category = np.zeros(taste.shape)
        np.add.at(of_category, (np.arange(len(item))[:, None], category[item]), hazard)
        return of_category

    return 1 - out.nothing(met, 30, again)


_QUALITIES = np.linspace(-3.5, 3.5, 141)
"""Qualities between whose chances of stars those of an item lie: right to 1e-4."""


def star_shares(out: Outlook) -> Floats:
    """(n, 5): chances of the stars of a user's next review within 90 days, over all goods that it
    may be of on each day."""
    up_to = out.nothing_until(out.rate("review"), 90)
    first = -np.diff(up_to, axis=1) / (1 - up_to[:, -1:])
    weight = _by_quality(out.goods(first), Items.of(out.market).quality)
    level = STARS_AT + out.traits.mood[out.users, None] + _QUALITIES
    steps = np.arange(1.5, 5.0)
    below = [(weight * ndtr((step - level) / STARS_SPREAD)).sum(axis=1) for step in steps]
    return np.diff(np.stack(below, axis=1), axis=1, prepend=0, append=1)


def _by_quality(goods: Floats, quality: Floats) -> Floats:
    """Weights of items, (n, N), as weights of the two of `_QUALITIES` that each lies between."""
    place = (quality.clip(*_QUALITIES[[0, -1]]) - _QUALITIES[0]) / (_QUALITIES[1] - _QUALITIES[0])
    low = place.astype(np.int64).clip(max=len(_QUALITIES) - 2)
    order = np.argsort(low, kind="stable")
    found, start = np.unique(low[order], return_index=True)
    weight = np.zeros((len(goods), len(_QUALITIES)))
    for step in (0, 1):
        part = goods[:, order] * (1 - np.abs(place - low - step))[order]
        weight[:, found + step] += np.add.reduceat(part, start, axis=1)
    return weight


def write_truth(market: Market, day: int, folder: Path) -> Path:
    """Write `as_of=DAY.parquet`: a row per user known by then."""
    path = folder / f"as_of={market.day(day).isoformat()}.parquet"
    _write(path, (truth_of(market, traits, day) for traits in blocks(market)))
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
        **{f"taste_{k}": traits.taste[:, k] for k in range(TASTES)},
        **{
            name: getattr(traits, name)
            for name in (
                "signed_up", "leave", "wake", "mood", "basket", "ad_liking", "vulnerability",
                "wealth", "bot", "voice", "birth_year",
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
