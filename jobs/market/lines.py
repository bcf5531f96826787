"""A day's events as the lines of log files. Letters: n rows.

Texts are put together column by column in C++; a day's lines are one Arrow array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.market.accounts import AccountEvents
from jobs.market.catalogue import Items
from jobs.market.events import Engagements, Orders, Reviews
from jobs.market.hidden import Hidden
from jobs.market.posts import Posts
from jobs.market.rows import AD, ITEM, NOTHING, POST
from jobs.market.shown import Impressions
from jobs.market.social import Follows
from jobs.market.traits import COUNTRIES, N_CATEGORIES, Block, Ints, Market

Part: TypeAlias = str | npt.NDArray[np.generic] | pa.Array
Fault = npt.NDArray[np.int8]
IMPOSSIBLE, SKEWED, CURRENCY, ANONYMOUS = range(1, 5)
"""What is wrong with a row's values."""

_TOPICS = [
    [f"{stem}{ending}" for ending in ("", "s", "lover", "news", "club", "talk", "shop", "life")]
    for stem in ("garden", "guitar", "bike", "novel", "camera", "kitchen", "chess", "running",
                 "coffee", "lego", "yoga", "film")
]  # fmt: skip
_HAPPY = ["great", "love", "nice", "happy", "wonderful", "thanks", "best", "good"]
_SAD = ["awful", "hate", "broken", "sad", "terrible", "never", "worst", "bad"]
_COMMON = ["the", "and", "today", "again", "with", "for", "about", "some", "new", "old", "this",
           "that", "maybe", "really", "just", "more"]  # fmt: skip
_TOPIC_WORDS = pa.array([word for topic in _TOPICS for word in topic])
_MOOD_WORDS = pa.array([*_SAD, *_HAPPY])
_COMMON_WORDS = pa.array(_COMMON)
_TWISTS = pa.array(
    [
        " see https://example.com/a?b=1",
        " ask @bob",
        " 3 &lt; 5 &amp; so on",
        " it\\\\u2019s",
        *[""] * 8,
    ]
)
_CLOCK = pa.array([f"T{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}Z" for s in range(86_400)])
_ON = pa.array(["post", "item", "user", "ad", ""])
_VERB = pa.array(["view", "like", "comment", "share", "search", "click", "view", "click"])
_ACCOUNT = pa.array(["login", "payment", "transfer"])
_COUNTRY = pa.array(COUNTRIES)


@dataclass(frozen=True)
class Log:
    """One kind of log file."""

    name: str
    header: str | None
    """None for JSON lines."""
    faults: tuple[int, ...]
    """What may be wrong with the values of a row."""

    @property
    def suffix(self) -> str:
        return "jsonl.gz" if self.header is None else "csv.gz"


_VALUES = (IMPOSSIBLE, SKEWED, ANONYMOUS)
LOGS = {
    log.name: log
    for log in (
        Log("engagements", None, _VALUES),
        Log("posts", None, (SKEWED, ANONYMOUS)),
        Log("reviews", None, _VALUES),
        Log("follows", "id,user,follows,what,time", _VALUES),
        Log(
            "orders",
            "line_id,order_id,user_id,item_id,kind,undoes,quantity,price,currency,time",
            (*_VALUES, CURRENCY),
        ),
        Log("account", "id,user,kind,ok,device,to,amount,currency,time", (*_VALUES, CURRENCY)),
        Log("fraud_marks", "id,event,time", (SKEWED,)),
        Log("impressions", "id,user,on,target,position,time", _VALUES),
        Log("blocks", "id,user,on,target,time", _VALUES),
        Log("users", "user_id,name,email,country,birth_year,signed_up,time", ()),
        Log("items", "item_id,category,title,price,currency,available,min_age,time", ()),
    )
}


def join(*parts: Part) -> pa.Array:
    """Texts put together row by row."""
    cast = [
        p
        if isinstance(p, str)
        else (p if isinstance(p, pa.Array) else pa.array(p)).cast(pa.string())
        for p in parts
    ]
    return pc.binary_join_element_wise(*cast, "")


def times(market: Market, day: int, second: Ints, fault: Fault | None = None) -> pa.Array:
    """Times as ISO texts in UTC; a skewed clock is a month ahead."""
    clock = _CLOCK.take(pa.array(second % 86_400))
    plain = market.day(day).isoformat()
    if fault is None:
        return join(plain, clock)
    ahead = pa.scalar(market.day(day + 31).isoformat())
    return join(pc.if_else(pa.array(fault == SKEWED), ahead, pa.scalar(plain)), clock)


def user_ids(traits: Block, users: Ints, fault: Fault) -> pa.Array:
    """Ids as the source names them; empty for the anonymous."""
    return pc.if_else(pa.array(fault == ANONYMOUS), "", join("u", users + traits.first))


def number_of(traits: Block, of: Ints | int) -> Ints:
    """Numbers of a day's events that do not meet those of another block."""
    return np.asarray(of) * 1_000 + traits.first // 50_000


def engagement_lines(
    market: Market, traits: Block, day: int, e: Engagements, fault: Fault
) -> pa.Array:
    target = _targets(traits, e.kind, e.target, e.target_day)
    nothing = pa.array(e.kind == NOTHING)
    query = _TOPIC_WORDS.take(pa.array(e.target % N_CATEGORIES * 8 + e.second % 8))
    return join(
        '{"id":"e',
        number_of(traits, e.number),
        f'-{day}","user":"',
        user_ids(traits, e.user, fault),
        '","verb":"',
        pc.if_else(pa.array(fault == IMPOSSIBLE), "teleport", _VERB.take(pa.array(e.verb))),
        '","on":"',
        _ON.take(pa.array(e.kind)),
        '","target":"',
        pc.if_else(nothing, "", target),
        '","text":"',
        pc.if_else(nothing, query, ""),
        '","time":"',
        times(market, day, e.second, fault),
        '"}',
    )


def _targets(traits: Block, kind: Ints, target: Ints, target_day: Ints) -> pa.Array:
    """Posts, goods, ads and users as the source names them."""
    posts = kind == POST
    prefix = np.where(posts, "p", np.where(kind == AD, "a", np.where(kind == ITEM, "i", "u")))
    number = np.where((kind == ITEM) | (kind == AD), target, target + traits.first)
    return join(
        prefix,
        np.where(posts, number_of(traits, target), number),
        pc.if_else(pa.array(posts), join("-", target_day), ""),
    )


def impression_lines(
    market: Market, traits: Block, day: int, s: Impressions, fault: Fault
) -> pa.Array:
    return join(
        "s",
        number_of(traits, s.number),
        f"-{day},",
        user_ids(traits, s.user, fault),
        ",",
        _ON.take(pa.array(s.kind)),
        ",",
        _targets(traits, s.kind, s.target, s.target_day),
        ",",
        np.where(fault == IMPOSSIBLE, -s.position, s.position),
        ",",
        times(market, day, s.second, fault),
    )


def block_lines(market: Market, traits: Block, day: int, h: Hidden, fault: Fault) -> pa.Array:
    return join(
        "b",
        number_of(traits, h.number),
        f"-{day},",
        user_ids(traits, h.user, fault),
        ",",
        pc.if_else(pa.array(fault == IMPOSSIBLE), "moon", _ON.take(pa.array(h.kind))),
        ",",
        _targets(traits, h.kind, h.target, np.full(len(h), day)),
        ",",
        times(market, day, h.second, fault),
    )


def post_lines(market: Market, traits: Block, day: int, p: Posts, fault: Fault) -> pa.Array:
    w = p.words
    topic = [_TOPIC_WORDS.take(pa.array(p.category * 8 + w[:, k] % 8)) for k in range(3)]
    mood = [_MOOD_WORDS.take(pa.array(p.happy * 8 + w[:, k] % 8)) for k in (3, 4)]
    common = [_COMMON_WORDS.take(pa.array(w[:, k] % 16)) for k in (5, 6, 7)]
    return join(
        '{"id":"p',
        number_of(traits, p.number),
        f'-{day}","user":"',
        user_ids(traits, p.user, fault),
        '","text":"',
        topic[0], " ", common[0], " ", mood[0], " ", topic[1], " ", common[1], " ", topic[2], " ",
        mood[1], " ", common[2],
        _TWISTS.take(pa.array(p.twist)),
        '","category":"c',
        p.category,
        '","time":"',
        times(market, day, p.second, fault),
        '"}',
    )  # fmt: skip


def review_lines(market: Market, traits: Block, day: int, r: Reviews, fault: Fault) -> pa.Array:
    """The words of a review are of its stars: of three, half are glad."""
    glad = np.where(r.stars == 3, r.words[:, 0] % 2, r.stars > 3)
    mood = [_MOOD_WORDS.take(pa.array(glad * 8 + r.words[:, k] % 8)) for k in (1, 2)]
    return join(
        '{"id":"r',
        number_of(traits, r.number),
        f'-{day}","user":"',
        user_ids(traits, r.user, fault),
        '","item":"i',
        r.item,
        '","stars":',
        np.where(fault == IMPOSSIBLE, 9, r.stars),
        ',"text":"',
        mood[0],
        " ",
        _COMMON_WORDS.take(pa.array(r.words[:, 3] % 16)),
        " ",
        mood[1],
        '","time":"',
        times(market, day, r.second, fault),
        '"}',
    )


def follow_lines(market: Market, traits: Block, day: int, f: Follows, fault: Fault) -> pa.Array:
    return join(
        np.where(f.undone, "x", "f"),
        number_of(traits, f.number),
        "-",
        f.made_on,
        ",",
        user_ids(traits, f.user, fault),
        ",u",
        f.followed + traits.first,
        ",",
        np.where(fault == IMPOSSIBLE, "adore", np.where(f.undone, "unfollow", "follow")),
        ",",
        times(market, day, f.second, fault),
    )


def order_lines(
    market: Market, traits: Block, items: Items, day: int, ordered_on: int, o: Orders, fault: Fault
) -> pa.Array:
    """Order lines of the day, or cancellations on the day of orders from before."""
    cancelled = ordered_on != day
    mark, order = (
        ("x" if cancelled else ""),
        join("o", number_of(traits, o.order), f"-{ordered_on}"),
    )
    return join(
        f"{mark}l",
        number_of(traits, o.number),
        f"-{ordered_on},{mark}",
        order,
        ",",
        user_ids(traits, o.user, fault),
        ",i",
        o.item,
        ",cancellation," if cancelled else ",purchase,",
        order if cancelled else "",
        ",",
        np.where(fault == IMPOSSIBLE, -o.quantity, o.quantity),
        ",",
        items.price[o.item],
        ",",
        _currencies(fault),
        ",",
        times(market, day, o.second, fault),
    )


def account_lines(
    market: Market, traits: Block, day: int, a: AccountEvents, fault: Fault
) -> pa.Array:
    login = pa.array(a.kind == 0)
    return join(
        "a",
        number_of(traits, a.number),
        f"-{day},",
        user_ids(traits, a.user, fault),
        ",",
        pc.if_else(pa.array(fault == IMPOSSIBLE), "wish", _ACCOUNT.take(pa.array(a.kind))),
        ",",
        np.where(a.succeeded, "true", "false"),
        ",d",
        np.where(a.device < 100, a.user + traits.first, a.device),
        "-",
        np.minimum(a.device, 100),
        ",",
        pc.if_else(pa.array(a.kind == 2), join("u", a.counterpart + traits.first), ""),
        ",",
        pc.if_else(login, "", join(a.cents // 100, ".", a.cents // 10 % 10, a.cents % 10)),
        ",",
        pc.if_else(login, "", _currencies(fault)),
        ",",
        times(market, day, a.second, fault),
    )


def _currencies(fault: Fault) -> pa.Array:
    """Euros, or the code that ISO 4217 keeps for tests, which no mapping has a rate for."""
    return pc.if_else(pa.array(fault == CURRENCY), "XTS", "EUR")


def mark_lines(
    market: Market, traits: Block, day: int, frauds: list[tuple[int, AccountEvents]], fault: Fault
) -> pa.Array:
    """Marks that are made on the day of frauds from before."""
    events = pa.concat_arrays(
        [pa.array([], pa.string())]
        + [join("a", number_of(traits, a.number), f"-{on}") for on, a in frauds]
    )
    second = np.concatenate([np.zeros(0, np.int64), *(a.second for _, a in frauds)])
    return join("m-", events, ",", events, ",", times(market, day, second, fault))


def user_lines(market: Market, traits: Block, day: int) -> pa.Array:
    """Sign-ups of the day; on the first, everybody who was there before."""
    new = np.flatnonzero((traits.signed_up == day) | ((day == 0) & (traits.signed_up < 0)))
    number = new + traits.first
    since = np.datetime64(market.start.isoformat()) + traits.signed_up[new]
    return join(
        "u",
        number,
        ",Name ",
        number,
        ",u",
        number,
        "@example.com,",
        _COUNTRY.take(pa.array(traits.country[new])),
        ",",
        pc.if_else(pa.array(traits.birth_year[new] == 0), "", join(traits.birth_year[new])),
        ",",
        np.datetime_as_string(since, unit="D"),
        "T00:00:00Z,",
        times(market, day, np.zeros(len(new), np.int64)),
    )


def item_lines(market: Market, items: Items, day: int) -> pa.Array:
    """A version of each item that is new on a day, or whose stock changes; of all on the first."""
    now, before = items.available(day), items.available(day - 1)
    known = items.launched <= day
    n = np.flatnonzero(known & ((day == 0) | (now != before) | (items.launched == day)))
    names = _TOPIC_WORDS.take(pa.array(items.category[n] * 8 + n % 8))
    return join(
        "i", n, ",c", items.category[n], ",", names, " ", n, ",", items.price[n], ",EUR,",
        np.where(now[n], "true", "false"), ",",
        pc.if_else(pa.array(items.min_age[n] == 0), "", join(items.min_age[n])), ",",
        times(market, day, np.zeros(len(n), np.int64)),
    )  # fmt: skip
