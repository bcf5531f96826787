"""The raw files of a simulated market: one per day and kind of log, dirt included."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.market import (
    CANCELLED_AFTER,
    COUNTRIES,
    LATE_BY,
    N_ITEMS,
    REVIEWED_AFTER,
    Block,
    Ints,
    Items,
    Market,
    Texts,
    blocks,
    orders_of,
    pick_items,
    season,
)

P_CANCELLED, P_REVIEWED, P_LATE = 0.04, 0.35, 0.01
P_REPEATED, P_BROKEN, P_NO_USER, P_IMPOSSIBLE = 0.005, 0.002, 0.003, 0.002
"""Shares of dirty rows: sent twice, cut short, without a user, with a value that cannot be."""
WORDS = np.array(
    [
        "good",
        "bad",
        "love",
        "hate",
        "new",
        "old",
        "fast",
        "slow",
        "red",
        "blue",
        "nice",
        "poor",
        "today",
        "again",
        "deal",
        "sale",
        "quality",
        "broken",
        "great",
        "awful",
        "fine",
        "soft",
        "warm",
        "cheap",
        "dear",
    ]
)


class DayFile:
    """A gzip file that comes out the same, byte for byte, each time it is written."""

    def __init__(self, path: Path, header: str | None = None):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._raw: IO[bytes] = path.open("wb")
        self._stream = gzip.GzipFile("", "wb", 1, self._raw, mtime=0)
        self.rows = 0
        if header:
            self._stream.write(header.encode() + b"\n")

    def write(self, lines: Texts | pa.Array) -> None:
        texts = lines.to_pylist() if isinstance(lines, pa.Array) else list(lines)
        if texts:
            self._stream.write(("\n".join(texts) + "\n").encode())
            self.rows += len(texts)

    def close(self) -> int:
        self._stream.close()
        self._raw.close()
        return self.rows


def simulate(market: Market, folder: Path, progress: Callable[[int, int], None]) -> int:
    """Write every day's files under `folder`, and a file SIMULATED when all is there.

    Returns:
        Raw rows written.
    """
    items = Items.of(market)
    rows = 0
    for day in range(market.days):
        rows += write_day(market, items, day, folder)
        progress(day + 1, market.days)
    (folder / "SIMULATED").write_text(f"{market}\n")
    return rows


def write_day(market: Market, items: Items, day: int, folder: Path) -> int:
    """Write the files that land on one day."""
    named = (market.start + timedelta(days=day)).isoformat()
    engagements = DayFile(folder / f"engagements/{named}.jsonl.gz")
    posts = DayFile(folder / f"posts/{named}.jsonl.gz")
    reviews = DayFile(folder / f"reviews/{named}.jsonl.gz")
    orders = DayFile(
        folder / f"orders/{named}.csv.gz",
        "line_id,order_id,user_id,item_id,kind,undoes,quantity,price,currency,time",
    )
    users = DayFile(folder / f"users/{named}.csv.gz", "user_id,name,email,country,signed_up,time")
    for traits in blocks(market):
        dirt = np.random.default_rng((market.seed, 9, traits.first, day))
        engagements.write(_soil(_engagement_lines(market, traits, items, day), dirt))
        posts.write(_soil(_post_lines(market, traits, day), dirt))
        reviews.write(_soil(_review_lines(market, traits, items, day), dirt))
        orders.write(_soil(_order_lines(market, traits, items, day), dirt))
        users.write(_user_lines(market, traits, day))
    written = [file.close() for file in (engagements, posts, reviews, orders, users)]
    if day == 0:
        goods = DayFile(folder / f"items/{named}.csv.gz", "item_id,category,title,time")
        goods.write(
            _join(
                "i",
                np.arange(N_ITEMS),
                ",c",
                items.category,
                ",",
                WORDS[np.arange(N_ITEMS) % len(WORDS)],
                " thing ",
                np.arange(N_ITEMS),
                ",",
                _times(market, 0, np.zeros(N_ITEMS, np.int64)),
            )
        )
        written.append(goods.close())
    return sum(written)


def _join(*parts: str | npt.NDArray[np.generic] | pa.Array) -> pa.Array:
    """Texts put together row by row, in C++."""
    cast = [
        p
        if isinstance(p, str)
        else (p if isinstance(p, pa.Array) else pa.array(p)).cast(pa.string())
        for p in parts
    ]
    return pc.binary_join_element_wise(*cast, "")


def _times(market: Market, day: int, second: Ints) -> pa.Array:
    """Times as ISO texts in UTC."""
    midnight = (market.start + timedelta(days=day)).isoformat()
    at = np.datetime64(midnight, "s") + second.astype("timedelta64[s]")
    return pc.strftime(pa.array(at), format="%Y-%m-%dT%H:%M:%SZ")


def _user_ids(traits: Block, users: Ints, made: np.random.Generator) -> pa.Array:
    """Ids as the source names them; now and then one is missing."""
    ids = _join("u", users + traits.first)
    return pc.if_else(pa.array(made.random(len(users)) < P_NO_USER), "", ids)


def _soil(lines: pa.Array, dirt: np.random.Generator) -> Texts:
    """Send some lines twice and cut some short; then put all in another order."""
    texts = np.array(lines.to_pylist(), dtype=object)
    again = texts[dirt.random(len(texts)) < P_REPEATED]
    for i in np.flatnonzero(dirt.random(len(texts)) < P_BROKEN):
        texts[i] = texts[i][: max(3, len(texts[i]) // 3)]
    every = np.concatenate([texts, again])
    return every[dirt.permutation(len(every))]


def _engagement_lines(market: Market, traits: Block, items: Items, day: int) -> pa.Array:
    """The day's own events less those that are late, and late ones of an earlier day."""
    parts = []
    for happened, late in ((day, False), (day - LATE_BY, True)):
        made = np.random.default_rng((market.seed, 4, traits.first, happened + 400))
        awake = traits.active(happened)
        lift = season(market.start + timedelta(days=happened))
        user = np.repeat(awake, made.poisson(traits.views[awake] * lift))
        n = len(user)
        item = pick_items(user, traits, items, made)
        # A view may lead to more: a like, a comment, a share.
        verb = np.array(["view", "like", "comment", "share"])[
            made.choice(4, n, p=(0.8, 0.14, 0.04, 0.02))
        ]
        on_post = made.random(n) < 0.3
        target = np.where(on_post, made.integers(0, 1000, n), item)
        second = made.integers(0, 86_400, n)
        is_late = made.random(n) < P_LATE
        wrong = made.random(n) < P_IMPOSSIBLE
        lines = _join(
            '{"id":"e',
            np.full(n, happened),
            "-",
            np.arange(n) + traits.first * 10_000,
            '","user":"',
            _user_ids(traits, user, made),
            '","verb":"',
            np.where(wrong, "teleport", verb),
            '","on":"',
            np.where(on_post, "post", "item"),
            '","target":"',
            np.where(on_post, "p", "i"),
            target,
            '","time":"',
            _times(market, happened, second),
            '"}',
        )
        if happened >= 0:
            parts.append(lines.filter(pa.array(is_late == late)))
    return pa.concat_arrays(parts)


def _post_lines(market: Market, traits: Block, day: int) -> pa.Array:
    made = np.random.default_rng((market.seed, 5, traits.first, day))
    awake = traits.active(day)
    user = awake[made.random(len(awake)) < 0.05 * np.minimum(traits.views[awake], 3)]
    n = len(user)
    text = _join(
        *(part for _ in range(6) for part in (WORDS[made.integers(0, len(WORDS), n)], " ")),
        np.where(made.random(n) < 0.2, "see https://example.com/a &amp; tell @bob", "!"),
    )
    return _join(
        '{"id":"p',
        np.full(n, day),
        "-",
        user + traits.first,
        '","user":"',
        _user_ids(traits, user, made),
        '","text":"',
        text,
        '","time":"',
        _times(market, day, made.integers(0, 86_400, n)),
        '"}',
    )


def _review_lines(market: Market, traits: Block, items: Items, day: int) -> pa.Array:
    """Reviews of what was ordered some days ago: quality, mood and chance make the stars."""
    bought = orders_of(market, traits, items, day - REVIEWED_AFTER)
    made = np.random.default_rng((market.seed, 6, traits.first, day))
    told = made.random(len(bought.user)) < P_REVIEWED
    user, item, line = bought.user[told], bought.item[told], bought.line[told]
    n = len(user)
    level = 3.6 + traits.mood[user] + items.quality[item] + made.normal(0, 0.7, n)
    stars = np.clip(np.round(level), 1, 5).astype(int)
    stars = np.where(made.random(n) < P_IMPOSSIBLE, 9, stars)
    return _join(
        '{"id":"r',
        np.full(n, day),
        "-",
        line + traits.first * 100,
        '","user":"',
        _user_ids(traits, user, made),
        '","item":"i',
        item,
        '","stars":',
        stars,
        ',"text":"',
        WORDS[made.integers(0, len(WORDS), n)],
        " ",
        WORDS[made.integers(0, len(WORDS), n)],
        '","time":"',
        _times(market, day, made.integers(0, 86_400, n)),
        '"}',
    )


def _order_lines(market: Market, traits: Block, items: Items, day: int) -> pa.Array:
    """The day's orders, and cancellations of earlier ones."""
    made = np.random.default_rng((market.seed, 7, traits.first, day))
    parts = []
    if day >= 0:
        new = orders_of(market, traits, items, day)
        n = len(new.user)
        quantity = np.where(made.random(n) < P_IMPOSSIBLE, -new.quantity, new.quantity)
        parts.append(
            _join(
                *_order_ids("", traits, day, new.order, new.line),
                ",",
                _user_ids(traits, new.user, made),
                ",i",
                new.item,
                ",purchase,,",
                quantity,
                ",",
                items.price[new.item],
                ",EUR,",
                _times(market, day, new.second),
            )
        )
    if day >= CANCELLED_AFTER:
        old = orders_of(market, traits, items, day - CANCELLED_AFTER)
        n_orders = int(old.order.max()) + 1 if len(old.order) else 0
        gone = (made.random(n_orders) < P_CANCELLED)[old.order]
        user, order, line, item = (a[gone] for a in (old.user, old.order, old.line, old.item))
        back = _join(
            *_order_ids("x", traits, day - CANCELLED_AFTER, order, line),
            ",",
            _user_ids(traits, user, made),
            ",i",
            item,
            ",cancellation,",
            _join("o", np.full(len(user), day - CANCELLED_AFTER), "-", order + traits.first),
            ",",
            old.quantity[gone],
            ",",
            items.price[item],
            ",EUR,",
            _times(market, day, old.second[gone]),
        )
        parts.append(back)
    return pa.concat_arrays(parts) if parts else pa.array([], pa.string())


def _order_ids(
    mark: str, traits: Block, day: int, order: Ints, line: Ints
) -> tuple[str | npt.NDArray[np.generic], ...]:
    """line_id and order_id, with their comma."""
    of_day = np.full(len(order), day)
    return (
        f"{mark}l",
        of_day,
        "-",
        line + traits.first * 100,
        f",{mark}o",
        of_day,
        "-",
        order + traits.first,
    )


def _user_lines(market: Market, traits: Block, day: int) -> pa.Array:
    """Sign-ups of the day; on the first, everybody who was there before."""
    new = np.flatnonzero((traits.signed_up == day) | ((day == 0) & (traits.signed_up < 0)))
    number = new + traits.first
    signed_up = _times(market, 0, traits.signed_up[new] * 86_400)
    return _join(
        "u",
        number,
        ",Name ",
        number,
        ",u",
        number,
        "@example.com,",
        np.array(COUNTRIES)[traits.country[new]],
        ",",
        signed_up,
        ",",
        _times(market, day, np.zeros(len(new), np.int64)),
    )
