"""What users really chose in the days after a midnight, of what was there to be shown by then.

After the last day of a market no log says so; the market goes on for it.
Letters: R pairs of user and thing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.market.catalogue import Items
from jobs.market.events import AD_CLICK, engagements_of, orders_of, reviews_of
from jobs.market.lines import join, number_of
from jobs.market.preferences import HORIZONS
from jobs.market.rows import AD, POST
from jobs.market.social import follows_of
from jobs.market.traits import Block, Ints, Market, blocks


def chosen(market: Market, traits: Block, day: int, surface: str) -> tuple[Ints, pa.Array]:
    """Users and what they chose, (R,) each, one pair per goal of a surface within its horizon."""
    days = [_on(market, traits, day, d, surface) for d in range(day, day + HORIZONS[surface])]
    return np.concatenate([user for user, _ in days]), pa.concat_arrays([name for _, name in days])


def _on(market: Market, traits: Block, as_of: int, day: int, surface: str) -> tuple[Ints, pa.Array]:
    if surface == "products":
        bought, rated = orders_of(market, traits, day), reviews_of(market, traits, day)
        user = np.concatenate([bought.user, rated.user])
        item = np.concatenate([bought.item, rated.item])
        known = Items.of(market).launched[item] < as_of
        return user[known], join("i", item[known])
    if surface == "people":
        f = follows_of(market, traits, day)
        f = f.take(~f.undone & (traits.signed_up[f.followed] < as_of))
        return f.user, join("u", f.followed + traits.first)
    e = engagements_of(market, traits, day)
    if surface == "ads":
        e = e.take((e.kind == AD) & (e.verb == AD_CLICK))
        return e.user, join("a", e.target)
    e = e.take((e.kind == POST) & (e.target_day < as_of))
    return e.user, join("p", number_of(traits, e.target), "-", e.target_day)


def write_outcomes(market: Market, day: int, folder: Path) -> None:
    """Write `outcomes/as_of=DAY/SURFACE.parquet`: a row per goal of a user known by then."""
    parts: dict[str, list[pa.Table]] = {surface: [] for surface in HORIZONS}
    for traits in blocks(market):
        known = (traits.signed_up < day) & ~traits.bot
        for d in range(day, day + max(HORIZONS.values())):  # a day is dear to make twice
            for surface, horizon in HORIZONS.items():
                if d < day + horizon:
                    user, name = _on(market, traits, day, d, surface)
                    number = join("u", user[known[user]] + traits.first)
                    name = name.filter(pa.array(known[user]))
                    parts[surface].append(pa.table({"user_id": number, "item_id": name}))
    for surface, tables in parts.items():
        path = folder / f"outcomes/as_of={market.day(day).isoformat()}/{surface}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.concat_tables(tables), path)
