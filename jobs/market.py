"""A simulated market: the raw logs of users with latent interests, activity, price sensitivity and
mood, dirt included. Deterministic from the seed, and any size in bounded memory.

Every number of a day is a function of (seed, block of users, day) alone, so that a day's file can
be written without those before it: what happens later because of an earlier day (a cancellation, a
review, a late arrival) makes that day's events again.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.table import ContractError

BLOCK = 50_000
"""Users made at a time."""
N_CATEGORIES, N_ITEMS = 12, 600
COUNTRIES = ("DE", "FR", "GB", "IT", "NL", "PL", "SE", "US")
COUNTRY_SHARES = (0.22, 0.16, 0.2, 0.1, 0.08, 0.09, 0.05, 0.1)
CANCELLED_AFTER, REVIEWED_AFTER, LATE_BY = 2, 5, 3
"""Days."""
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

Texts = npt.NDArray[np.str_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Market:
    """How large, from when, for how long, and which of all possible markets."""

    users: int
    start: date
    days: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.users < 1 or self.days < 1:
            raise ContractError(
                f"a market needs 1 user and 1 day or more, found {self.users} users "
                f"and {self.days} days"
            )


@dataclass(frozen=True)
class Block:
    """Latent traits of some users, each (n,) or (n, categories)."""

    first: int
    signed_up: Ints
    """Day, counted from the market's start; below 0 for those who were there before."""
    views: Floats
    """Views per active day."""
    buys: Floats
    """Orders per active day."""
    sensitivity: Floats
    """How much a high price puts off, 0 to 1."""
    mood: Floats
    """Added to the stars of every review."""
    interests: Floats
    """Cumulative shares of categories, (n, categories)."""
    turns: Ints
    """(n, spells): days on which the user falls asleep or wakes up; awake before the first."""
    country: Ints

    def __len__(self) -> int:
        return len(self.signed_up)

    def active(self, day: int) -> Ints:
        """Numbers, within the block, of users who are there and awake."""
        asleep = (self.turns <= day).sum(1) % 2
        return np.flatnonzero((asleep == 0) & (self.signed_up <= day))


def block(market: Market, first: int) -> Block:
    """Traits of the users from number `first` on."""
    n = min(BLOCK, market.users - first)
    made = np.random.default_rng((market.seed, 1, first))
    before = made.random(n) < 0.6
    spells = max(6, market.days // 20)
    lengths = np.empty((n, spells))
    lengths[:, 0::2] = made.gamma(1.5, made.gamma(2.0, 25.0, (n, 1)), lengths[:, 0::2].shape)
    lengths[:, 1::2] = made.gamma(1.5, made.gamma(2.0, 15.0, (n, 1)), lengths[:, 1::2].shape)
    signed_up = np.where(before, -made.integers(1, 400, n), made.integers(0, market.days, n))
    liking = made.gamma(0.5, 1.0, (n, N_CATEGORIES)) + 1e-3
    return Block(
        first,
        signed_up,
        views=made.gamma(1.2, 0.8, n) + 0.05,
        buys=np.minimum(made.gamma(0.8, 0.06, n), 0.6),
        sensitivity=made.random(n),
        mood=made.normal(0.0, 0.8, n),
        interests=np.cumsum(liking / liking.sum(1, keepdims=True), axis=1),
        turns=(np.maximum(signed_up, -30)[:, None] + np.cumsum(lengths + 1, axis=1)).astype(
            np.int64
        ),
        country=made.choice(len(COUNTRIES), n, p=COUNTRY_SHARES),
    )


@dataclass(frozen=True)
class Items:
    """The range of goods, each (items,)."""

    category: Ints
    price: Floats
    quality: Floats

    @staticmethod
    def of(market: Market) -> Items:
        made = np.random.default_rng((market.seed, 2))
        return Items(
            np.arange(N_ITEMS) % N_CATEGORIES,
            np.round(made.lognormal(2.8, 0.7, N_ITEMS), 2),
            made.normal(0.0, 0.6, N_ITEMS),
        )


def season(day: date) -> float:
    """How much more is going on than on a plain day: weekends and the weeks before Christmas."""
    return (1.2 if day.weekday() >= 5 else 1.0) * (1.4 if (day.month, day.day) > (11, 20) else 1.0)


@dataclass(frozen=True)
class Orders:
    """Order lines of one block and day, each (n,)."""

    user: Ints
    order: Ints
    line: Ints
    item: Ints
    quantity: Ints
    second: Ints


def pick_items(users: Ints, traits: Block, items: Items, made: np.random.Generator) -> Ints:
    """An item per row: a category by the user's interests, then one by popularity."""
    category = (made.random(len(users))[:, None] > traits.interests[users]).sum(1)
    category = np.minimum(category, N_CATEGORIES - 1)
    per_category = N_ITEMS // N_CATEGORIES
    rank = np.minimum(made.zipf(1.4, len(users)) - 1, per_category - 1)
    return rank * N_CATEGORIES + category


def orders_of(market: Market, traits: Block, items: Items, day: int) -> Orders:
    """What the block's users order on a day."""
    made = np.random.default_rng((market.seed, 3, traits.first, day + 400))
    awake = traits.active(day)
    lift = season(market.start + timedelta(days=day))
    buyers = awake[made.random(len(awake)) < np.minimum(traits.buys[awake] * lift, 0.9)]
    lines = 1 + made.poisson(0.6, len(buyers))
    user = np.repeat(buyers, lines)
    order = np.repeat(np.arange(len(buyers)), lines)
    item = pick_items(user, traits, items, made)
    # A sensitive user passes over a dear item; the first line of an order stays.
    dear = items.price[item] > 30
    first = np.r_[True, order[1:] != order[:-1]] if len(order) else np.zeros(0, bool)
    kept = first | ~(dear & (made.random(len(user)) < traits.sensitivity[user]))
    second = np.repeat(made.integers(0, 86_400, len(buyers)), lines)
    quantity = 1 + made.poisson(0.4, len(user))
    return Orders(
        user[kept], order[kept], np.flatnonzero(kept), item[kept], quantity[kept], second[kept]
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


def blocks(market: Market) -> Iterator[Block]:
    for first in range(0, market.users, BLOCK):
        yield block(market, first)


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
