"""What is counted: per user and day, per item and day, and what is told apart over windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.clean_tables import CLEAN_TABLES
from contracts.source_table import Event, ItemMeasure, Measure

WINDOWS = (1, 7, 30, 90)
"""Days before `as_of` that windows reach back."""

N_EVENTS = Measure("n_events", "Events of any kind by the user", "count(*)")
"""Counted from all tables of what users did."""

MEASURES: tuple[Measure, ...] = (
    N_EVENTS,
    *(m for table in CLEAN_TABLES for m in (*table.measures, *table.received)),
)
"""Integers per user and day in `user_days`."""

EVENTS: Mapping[str, Event] = {t.name: t.event for t in CLEAN_TABLES if t.event is not None}
"""Clean tables of what users did to what their rows are in a sequence of events."""

COUNTED_FROM: Mapping[str, tuple[str, ...]] = {
    N_EVENTS.name: tuple(EVENTS),
    **{m.name: (t.name,) for t in CLEAN_TABLES for m in (*t.measures, *t.received)},
}
"""Measure to the clean tables that it is counted from."""


@dataclass(frozen=True)
class Distinct:
    """Things that are told apart exactly over windows.

    Never a sum over tiles: a thing that is met on two days, or whose rows land on two, is one.
    """

    name: str
    count: str
    """How the counts are called, before their window."""
    doc: str
    kind: str
    """The `kind` of the rows in `user_item_days`; a category is that of an item, an `ACTIVE_DAY`
    that of a tile in which the user did something."""
    lifetime: bool = False
    """Whether they are counted over all time too: `user_state` then keeps a hash of each."""

    @property
    def hashes(self) -> str:
        """The column of `user_state` with a hash of each, if they are counted over all time."""
        return f"{self.name}_hashes"


ACTIVE_DAY = "day"
"""What a user meets by doing anything on it: no row of `user_item_days`, the tiles say it."""

DISTINCT = (
    Distinct("order", "n_orders", "orders placed", "order", lifetime=True),
    Distinct("item", "n_distinct_items", "items ordered, reviewed or engaged with", "item"),
    Distinct("category", "n_distinct_categories", "categories of those items", "item"),
    Distinct(
        "counterpart",
        "n_distinct_counterparts",
        "users followed, paid, or engaged with themselves or through their posts",
        "counterpart",
    ),
    Distinct("device", "n_distinct_devices", "devices of account events", "device"),
    Distinct(ACTIVE_DAY, "n_active_days", "days on which the user did something", ACTIVE_DAY),
)
LIFETIME = tuple(d for d in DISTINCT if d.lifetime)
THINGS = tuple(dict.fromkeys(thing.kind for table in CLEAN_TABLES for thing in table.things))
"""Kinds of rows in `user_item_days`."""


@dataclass(frozen=True)
class Moment:
    """When something happened first, or last: a column of `user_state`; features count the days
    since."""

    name: str
    doc: str
    verbs: tuple[str, ...] = ()
    """What events count; none is all of them."""
    first: bool = False

    @property
    def feature(self) -> str:
        """How the days since then are called."""
        return f"days_since_{self.name.removesuffix('_at')}"


FIRST_SEEN = Moment("first_seen_at", "the first event or the sign-up", first=True)
MOMENTS = (
    FIRST_SEEN,
    Moment("last_seen_at", "the last event"),
    Moment("last_order_at", "the last order", ("order",)),
    Moment("last_review_at", "the last review", ("review",)),
    Moment("last_post_at", "the last post", ("post",)),
    Moment("last_login_at", "the last login", ("login",)),
)

EVENT_VERBS = tuple(dict.fromkeys(verb for event in EVENTS.values() for verb in event.verbs))
"""What an event of the sequence can be. Ads that were merely shown are no event of it."""

SEQUENCE_LENGTH = 50
"""Events kept per user in `user_state`, the newest last."""

TEXT_POSTS, TEXT_TOKENS, TEXT_BUCKETS = 16, 64, 8192
"""The text of a user: of the newest so many posts of the widest window, the newest so many words,
each hashed into one of so many buckets from 1."""
MIN_RATINGS_OF_WORD = 5
"""Times that a word must stand in reviews of the widest window for their stars to say something of
it."""


ITEM_MEASURES: tuple[ItemMeasure, ...] = tuple(
    sorted((m for t in CLEAN_TABLES for m in t.item_measures), key=lambda measure: measure.name)
)
"""Integers per item and day in `item_days`."""
ITEM_WINDOWS = (7, 30, 90)
