"""What each user would choose of each surface: the expected number of goals, in closed form. The
ranking by it is the best that anybody can give who knows the traits, but not what chance will make
of them.

Only what may be shown as of midnight D is in it; how goods then go in and out of stock and fashion
is known. Where chance depends on what others do after D (friends' new friends), it is as of D.

Letters: n users, N goods, L things of a list, P posts, C categories.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.surfaces import SURFACES
from jobs.market.catalogue import N_ADS, N_ITEMS, Ads, Items
from jobs.market.choices import ad_click_chances, ad_shares
from jobs.market.events import MORE_LINES, ON_POST
from jobs.market.lines import join, number_of
from jobs.market.outlook import Outlook
from jobs.market.posts import OF_FOLLOWED, READ_AFTER, Readable
from jobs.market.social import BACK, OF_FRIENDS, STRAY, alike, graph_of
from jobs.market.traits import (
    BLOCK,
    N_CATEGORIES,
    VERBS,
    Block,
    Floats,
    Ints,
    Market,
    blocks,
)

LONGEST_LIST = 200
HORIZONS: Mapping[str, int] = {surface.name: surface.horizon_days for surface in SURFACES}
_USERS = 2_000
"""Users that are looked at at a time, which bounds memory."""


@dataclass(frozen=True)
class Lists:
    """What each of some users would choose, best first."""

    user: Ints
    """(rows,), ascending."""
    thing: Ints
    """(rows,): the place of its name in `names`."""
    expected: Floats
    """(rows,): goals to expect of it within the surface's horizon."""
    names: pa.Array
    """How the logs name all that can be chosen."""


def products(out: Outlook) -> Lists:
    """Orders and reviews of goods that are sold and in stock as of D."""
    items, days = Items.of(out.market), HORIZONS["products"]
    rate = out.rate("order") * (1 + MORE_LINES) + out.rate("review")
    expected = out.goods(out.exposures(days)) * rate[:, None]
    awake, rows = out.days_awake(days), np.arange(len(out.users))[:, None]
    for k in range(days):
        item, hazard = out.staples(k)
        np.add.at(expected, (rows, item), -awake[:, k, None] * np.expm1(-hazard))
    expected *= items.available(out.day - 1) & (items.launched < out.day)
    return _best(out, expected, join("i", np.arange(N_ITEMS)))


def ads(out: Outlook) -> Lists:
    """Clicks on ads, each as likely to be shown as it is."""
    shown = out.traits.interests[out.users][:, Ads.of(out.market).category] * ad_shares(out.market)
    clicks = shown * ad_click_chances(out.market, out.traits, out.users)
    seen = out.exposures(HORIZONS["ads"]).sum(axis=1) * out.rate("ad_view")
    return _best(out, clicks * seen[:, None], join("a", np.arange(N_ADS)))


def posts(out: Outlook) -> Lists:
    """Views, likes, comments, shares and clicks of posts by others from before D."""
    readable = Readable.on(out.market, out.traits, out.day)
    rate = sum(out.rate(verb) * share for verb, share in zip(VERBS, ON_POST, strict=True))
    exposures, lives = out.exposures(HORIZONS["posts"]), len(READ_AFTER)
    reads = np.zeros((len(out.users), lives))
    for after in range(lives):
        for k in range(min(lives - after, exposures.shape[1])):
            reads[:, after] += rate * exposures[:, k] * READ_AFTER[after + k]
    expected = _readers(out, readable) * reads[:, readable.after]
    number = number_of(out.traits, readable.number)
    return _best(out, expected, join("p", number, "-", readable.made_on))


def _readers(out: Outlook, readable: Readable) -> Floats:
    """(n, P): the chance of each post to be what a user reads of the day on which it was made."""
    graph, author = graph_of(out.market, out.traits, out.day - 1), readable.author
    interests = out.traits.interests[out.users]
    read = np.zeros((len(out.users), len(author)))
    followed = np.zeros(read.shape, bool)
    row, place = _spread(*graph.followed_by(out.users))
    order = np.argsort(author, kind="stable")
    start, end = (
        np.searchsorted(author[order], graph.key[place] % BLOCK, side) for side in ("left", "right")
    )
    path, post = _spread(start, end)
    followed[row[path], order[post]] = True
    for after in range(len(READ_AFTER)):
        of_day = readable.after == after
        appeal, category = readable.appeal[of_day], readable.category[of_day]
        total = np.bincount(category, appeal, N_CATEGORIES)
        elsewhere = interests[:, total == 0].sum(axis=1)[:, None]
        by_interest = interests[:, category] / total[category] * appeal
        by_interest += elsewhere * appeal / appeal.sum()
        by_interest *= author[of_day] != out.users[:, None]
        by_interest /= np.maximum(by_interest.sum(axis=1, keepdims=True), 1e-300)
        by_followed = followed[:, of_day] * appeal
        weight = by_followed.sum(axis=1, keepdims=True)
        some = OF_FOLLOWED * (weight > 0)
        by_followed /= np.where(weight > 0, weight, 1.0)
        read[:, of_day] = (1 - some) * by_interest + some * by_followed
    return read


def people(out: Outlook) -> Lists:
    """New follows."""
    market, traits, users = out.market, out.traits, out.users
    graph = graph_of(market, traits, out.day - 1)
    back = graph.unreturned()
    start, end = np.searchsorted(back, users * BLOCK), np.searchsorted(back, (users + 1) * BLOCK)
    row, place = _spread(start, end)
    found = [(row, back[place] % BLOCK, BACK / (end - start)[row])]
    left = 1 - STRAY - BACK * (end > start)
    start, end = graph.followed_by(users)
    row, place = _spread(start, end)
    friend, chance = graph.key[place] % BLOCK, OF_FRIENDS / (end - start)[row]
    start, end = graph.followed_by(friend)
    path, place = _spread(start, end)
    row, chance, other = row[path], chance[path] / (end - start)[path], graph.key[place] % BLOCK
    new = ~graph.out_of_question(users[row], other)
    row, other, chance = row[new], other[new], chance[new]
    found.append((row, other, chance))
    left = left - np.bincount(row, chance, len(users))
    others, weight = alike(market, traits, graph, users, out.day)
    total = weight.sum(axis=1)
    share = left[:, None] * weight / np.where(total > 0, total, 1.0)[:, None]
    row = np.repeat(np.arange(len(users)), others.shape[1])
    found.append((row, others.ravel(), share.ravel()))
    return _people(out, *(np.concatenate(column) for column in zip(*found, strict=True)))


def _people(out: Outlook, row: Ints, other: Ints, share: Floats) -> Lists:
    """Lists of the people that users may follow next, as rows of users, people and shares of the
    user's next follow; what is there twice adds up."""
    key, place = np.unique(row * BLOCK + other, return_inverse=True)
    share = np.asarray(np.bincount(place, share), np.float64)
    known = (share > 0) & (out.traits.signed_up[key % BLOCK] < out.day)
    key, share = key[known], np.asarray(share[known])
    order = np.lexsort((key, -share, key // BLOCK))
    row, other, share = key[order] // BLOCK, key[order] % BLOCK, share[order]
    listed = np.arange(len(row)) - np.searchsorted(row, row) < LONGEST_LIST
    row, other, share = row[listed], other[listed], share[listed]
    follows = out.exposures(HORIZONS["people"]).sum(axis=1) * out.rate("follow")
    names = join("u", np.arange(out.traits.n) + out.traits.first)
    return Lists(out.users[row], other, share * follows[row], names)


def _spread(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Ranges one after the other: of each place in them the range, and the place."""
    length = end - start
    row = np.repeat(np.arange(len(start)), length)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(length) - length - start, length)


def _best(out: Outlook, expected: Floats, names: pa.Array) -> Lists:
    """Of each user, (n, things), those of which most is expected; ties by place."""
    n, things = expected.shape
    length = min(LONGEST_LIST, things)
    if length < things:
        best = np.sort(np.argpartition(-expected, length - 1, axis=1)[:, :length], axis=1)
    else:
        best = np.broadcast_to(np.arange(things), (n, things))
    value = np.take_along_axis(expected, best, axis=1)
    order = np.argsort(-value, axis=1, kind="stable")
    best, value = np.take_along_axis(best, order, axis=1), np.take_along_axis(value, order, axis=1)
    some = value > 0
    return Lists(np.repeat(out.users, some.sum(axis=1)), best[some], value[some], names)


PREFERENCES: Mapping[str, Callable[[Outlook], Lists]] = {
    "products": products,
    "ads": ads,
    "posts": posts,
    "people": people,
}
"""Of each surface."""


def preferences_of(
    market: Market, traits: Block, day: int, surface: str
) -> Iterator[tuple[Ints, Lists]]:
    """The users of a block who are known as of a day, some at a time, and their lists."""
    out = Outlook.of(market, traits, day)
    for start in range(0, len(out.users), _USERS):
        part = out.take(slice(start, start + _USERS))
        yield part.users, PREFERENCES[surface](part)


_NAMES = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema(
    {"user_id": pa.string(), "item_ids": pa.list_(_NAMES), "values": pa.list_(pa.float32())}
)


def write_preferences(market: Market, day: int, folder: Path) -> None:
    """Write `preferences/as_of=DAY/SURFACE.parquet`: a row per user known by then, with what the
    user would choose, best first, and the number of goals to expect of each."""
    for surface in PREFERENCES:
        path = folder / f"preferences/as_of={market.day(day).isoformat()}/{surface}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(
            path,
            _SCHEMA,
            compression="zstd",
            use_dictionary=["user_id", "item_ids.list.element"],
            use_byte_stream_split=["values.list.element"],
        ) as writer:
            for traits in blocks(market):
                for users, lists in preferences_of(market, traits, day, surface):
                    writer.write_table(_table(traits, users, lists))


def _table(traits: Block, users: Ints, lists: Lists) -> pa.Table:
    offsets = np.searchsorted(lists.user, np.append(users, BLOCK))
    # Three digits say enough, and take half the room.
    values = (lists.expected.astype(np.float32).view(np.int32) & ~0x1FFF).view(np.float32)
    things = pa.DictionaryArray.from_arrays(lists.thing.astype(np.int32), lists.names)
    return pa.table(
        [
            join("u", users + traits.first),
            pa.ListArray.from_arrays(offsets.astype(np.int32), things),
            pa.ListArray.from_arrays(offsets.astype(np.int32), pa.array(values)),
        ],
        schema=_SCHEMA,
    )
