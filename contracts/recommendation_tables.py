"""Tables of what is recommended to whom: what it is made of, the lists, and how they did."""

from __future__ import annotations

from typing import Any

from contracts.source_table import LANDED_ON, USER_KEY
from contracts.surfaces import (
    FILTERS,
    HALF_LIVES,
    INTERACTION_EVENTS,
    SHORTFALLS,
    SOURCES,
    SURFACES,
    TARGETS,
)
from contracts.table import ELEMENT, VALUE, Column, Table

FIXED_POINT = 2**20
"""What 1 is in sums of decayed counts: whole numbers add up to the same in any order."""

NO_SUCH_DAY = -1
"""In arrays of days since 1970, and of gaps in days: none."""

NEW_USER_DAYS = (7, 30)
"""Days in which users who give an item their first signal are counted as new to it."""

_AS_OF = Column("as_of", "date", "Midnight UTC; only what happened and landed before it is seen.")
_SURFACE = Column("surface", "string", "Where it is shown.", values=tuple(s.name for s in SURFACES))
_ITEM = Column(
    "item_id", "string", "The item or ad; the keyed hash of a post; a person's `user_key`."
)
_FOLD = Column(
    "fold",
    "int",
    "0: all that is known. 1: one fifth of what has no time (edges that only say from when "
    "features may see them) is left out, to learn from.",
    minimum=0,
    maximum=1,
)


def _each(name: str, type: str, doc: str, **more: Any) -> Column:
    """An array with an element for each of `item_ids`."""
    return Column(name, type, doc, beside="item_ids", **more)


INTERACTIONS = Table(
    name="interactions",
    doc="Tiles: what a user did with an item, an ad, a post or another user on a UTC day, by the "
    "day on which it landed.",
    grain=("user_key", "target_kind", "target_id", "event", "day", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        USER_KEY,
        Column("target_kind", "string", "What the target is.", values=TARGETS),
        Column(
            "target_id",
            "string",
            "The item or ad; the keyed hash of a post; a person's `user_key`.",
        ),
        Column("event", "string", "What was done.", values=INTERACTION_EVENTS),
        Column("day", "date", "UTC day on which it happened."),
        LANDED_ON,
        Column("n", "bigint", "How often.", minimum=1),
        Column("units", "bigint", "Units ordered, or undone; 0 of other events.", minimum=0),
        Column("amount_minor", "bigint", "Value of orders, in minor units; 0 else.", minimum=0),
        Column("sum_stars", "bigint", "Sum of the stars of reviews; 0 of others.", minimum=0),
        Column(
            "sum_positions",
            "bigint",
            "Sum of the positions, from 1, at which it was shown; 0 where not said.",
            minimum=0,
        ),
    ),
)

REC_ITEMS = Table(
    name="rec_items",
    doc="What a surface can recommend as of a midnight: everything known of its kind, and how it "
    "fares.",
    grain=("surface", "item_id", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        _AS_OF,
        _SURFACE,
        _ITEM,
        Column("category_id", "string", "Its category as of then.", nullable=True),
        Column("author_key", "string", "Who wrote the post: a keyed hash.", nullable=True),
        Column("title", "string", "Its title, where it has one.", nullable=True),
        Column(
            "price_minor",
            "bigint",
            "Its price in minor units: the listed one, else the mean of what units cost in the 90 "
            "days before.",
            nullable=True,
            minimum=0,
        ),
        Column("available", "boolean", "Whether it may be shown: not sold out, withdrawn or old."),
        Column("min_age", "int", "Years that a user must have.", nullable=True, minimum=0),
        Column("first_day", "bigint",
               "Day, since 1970, on which it was first known: its first version or interaction."),
        Column("last_day", "bigint", "Day, since 1970, of the last signal; -1: there was none.",
               minimum=-1),
        Column("n_users", "bigint", "Users who ever gave a signal.", minimum=0),
        Column("n_users_30d", "bigint", "Users who gave a signal, 30 days before.", minimum=0),
        *(
            Column(f"n_new_users_{days}d", "bigint", "Users whose first signal ever came in the "
                   f"{days} days before.", minimum=0)
            for days in NEW_USER_DAYS
        ),
        Column("n_impressions_30d", "bigint", "Times it was shown, 30 days before.", minimum=0),
        Column("n_goals_30d", "bigint", "Goals reached with it, 30 days before.", minimum=0),
        Column("sum_stars_90d", "bigint", "Sum of stars of reviews, 90 days before.", minimum=0),
        Column("n_reviews_90d", "bigint", "Reviews, 90 days before.", minimum=0),
        *(
            Column(f"popularity_{days}d", "bigint", f"Goals, each halved every {days} "
                   f"{'day' if days == 1 else 'days'} of age, in {FIXED_POINT}ths.", minimum=0)
            for days in HALF_LIVES
        ),
    ),
)  # fmt: skip

REC_HISTORIES = Table(
    name="rec_histories",
    doc="What each known user had to do with what a surface recommends, as of a midnight: one "
    "entry of the arrays per item, in the order of their ids. Users without any have empty ones.",
    grain=("surface", "user_key", "fold", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        _AS_OF,
        _SURFACE,
        USER_KEY,
        _FOLD,
        Column("country", "string", "The user's country as of then.", nullable=True),
        Column("birth_year", "int", "The user's year of birth, where known.", nullable=True),
        Column(
            "favourite_category",
            "string",
            "Category of most of the user's decayed signals (half-life of 30 days); ties by id.",
            nullable=True,
        ),
        Column("item_ids", "array<string>", "Items, ascending.", erased=ELEMENT),
        _each(
            "signals",
            "array<bigint>",
            f"Strength of all signals, each halved every 30 days of age, in {FIXED_POINT}ths; 0 of "
            "what is blocked.",
        ),
        _each("n_days", "array<bigint>", "Days with a goal."),
        _each("n_goals", "array<bigint>", "Goals reached with it."),
        _each("first_days", "array<bigint>", "First day with any signal, since 1970; -1: none."),
        _each("last_days", "array<bigint>", "Last day with any signal, since 1970; -1: none."),
        _each("gaps", "array<bigint>", "Median days between days with a goal; -1: fewer than 2."),
        _each("owned", "array<int>", "1 if the user has it (follows them now), else 0."),
        _each("blocked", "array<int>", "1 if the user blocked it, its author, or is blocked."),
        _each(
            "n_impressions",
            "array<bigint>",
            "Times it was shown in the 30 days before, since the user last did something with it.",
        ),
    ),
)

REC_POPULAR = Table(
    name="rec_popular",
    doc="The most popular of what a surface recommends, as of a midnight: over all users, by "
    "country, and by category; and what is new.",
    grain=("surface", "segment", "source", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        _AS_OF,
        _SURFACE,
        Column("segment", "string", "`all`, `country=…` or `category=…`."),
        Column("source", "string", "Source of candidates.", values=tuple(SOURCES)),
        Column("item_ids", "array<string>", "Items, best first.", erased=ELEMENT),
        _each("scores", "array<float>", "Their scores by the source, never rising."),
    ),
)

_CANDIDATES = (
    _AS_OF,
    _SURFACE,
    USER_KEY,
    _FOLD,
    Column("source", "string", "Source of candidates.", values=tuple(SOURCES)),
    Column(
        "item_ids", "array<string>", "Items, best first: the place is the rank.", erased=ELEMENT
    ),
    _each("scores", "array<float>", "Their scores by the source, never rising."),
    Column(
        "because",
        "array<string>",
        "Of each the own item, category or person that explains it most; empty where none does.",
        beside="item_ids",
        erased=VALUE,
    ),
)

REC_CANDIDATES = Table(
    name="rec_candidates",
    doc="What counting suggests for each user as of a midnight, by source.",
    grain=("surface", "user_key", "fold", "source", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=_CANDIDATES,
)

REC_RETRIEVED = Table(
    name="rec_retrieved",
    doc="What models retrieve for each user as of a midnight, by source: matrix factorisation, "
    "linear item-to-item models, what similar users did lately, and two-tower networks.",
    grain=REC_CANDIDATES.grain,
    day="as_of",
    partition=("as_of",),
    columns=_CANDIDATES,
)

RANKER_EVENTS = tuple(dict.fromkeys(event for surface in SURFACES for event in surface.events))
"""Events of which a recommended item has a probability."""

_FROM = (
    Column(
        "ranker_id",
        "string",
        "Hash of what ranked it; a source, as `source:popular_10d`, where nothing was learnt.",
    ),
    Column("policy_id", "string", "Hash of the policy and of what each outcome is worth."),
    Column("release_id", "string", "Release that first published the row."),
)

REC_LISTS = Table(
    name="rec_lists",
    doc="The list of each known user on each surface, as one row: what a key-value store serves.",
    grain=("surface", "user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        _AS_OF,
        _SURFACE,
        USER_KEY,
        Column("item_ids", "array<string>", "Items, in the order in which they are shown.",
               erased=ELEMENT),
        _each("values", "array<float>", "Of each, the expected worth for the surface."),
        *(
            Column(
                f"p_{event}",
                "array<float>",
                f"Of each, the calibrated probability of a {event} within the surface's horizon; "
                "empty where it has no such outcome or nothing was learnt of it.",
                minimum=0,
                maximum=1,
                beside="item_ids",
            )
            for event in RANKER_EVENTS
        ),
        _each("sources", "array<string>", "Of each, the sources that gave it, by commas."),
        Column("because", "array<string>", "Of each, what explains it; empty where nothing does.",
               beside="item_ids", erased=VALUE),
        Column(
            "propensities",
            "array<float>",
            "Of each, the probability with which the policy shows it at its place.",
            minimum=0,
            maximum=1,
            beside="item_ids",
        ),
        Column("n_candidates", "bigint", "Candidates before the policy.", minimum=0),
        *(
            Column(f"n_{name}", "bigint", f"Candidates left out as {name}.", minimum=0)
            for name in FILTERS
        ),
        Column("n_capped", "bigint", "Candidates moved down by a cap on category or author.",
               minimum=0),
        Column(
            "shortfall",
            "string",
            "Why there are fewer items than asked; null where there are not.",
            nullable=True,
            values=SHORTFALLS,
            if_erased=SHORTFALLS[-1],
        ),
        *_FROM,
    ),
)  # fmt: skip

RECOMMENDATIONS = Table(
    name="recommendations",
    doc="What to show every user: one row per surface, user and position.",
    grain=("surface", "user_key", "position", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        _AS_OF,
        _SURFACE,
        USER_KEY,
        Column("position", "int", "From 1; an erasure may leave gaps.", minimum=1),
        _ITEM,
        Column("title", "string", "Its title, where it has one.", nullable=True),
        Column("value", "float", "Expected worth for the surface; 1 / place where a source ranks."),
        *(
            Column(
                f"p_{event}",
                "float",
                f"Calibrated probability of a {event} within the surface's horizon; null where it "
                "has no such outcome or nothing was learnt of it.",
                nullable=True,
                minimum=0,
                maximum=1,
            )
            for event in RANKER_EVENTS
        ),
        Column("sources", "string", "Sources that gave it, by commas."),
        Column(
            "because",
            "string",
            "The own item, category or person that explains it most.",
            nullable=True,
            erased=VALUE,
        ),
        Column(
            "because_title",
            "string",
            "The title of what explains it, where that is an item of the surface that has one.",
            nullable=True,
        ),
        Column(
            "propensity",
            "float",
            "Probability with which the policy shows it at this place.",
            minimum=0,
            maximum=1,
        ),
        *_FROM,
    ),
)

OUTCOME_METHODS = ("published", "popular", "own")
REC_OUTCOMES = Table(
    name="rec_outcomes",
    doc="How recommendations did against what then happened, once it is known; beside what was "
    "popular and what the user had before.",
    grain=("as_of", "surface", "segment", "method"),
    day="as_of",
    columns=(
        _AS_OF,
        _SURFACE,
        Column("segment", "string", "Which users: all, or one of those of the scoreboard."),
        Column(
            "method",
            "string",
            "`published`: the released lists; `popular`: decayed popularity; `own`: the user's own "
            "repeats.",
            values=OUTCOME_METHODS,
        ),
        Column("ranker_id", "string", "What ranked the lists."),
        Column("release_id", "string", "Release that first published them."),
        Column("n_users", "bigint", "Users with a relevant item in the window.", minimum=1),
        Column("ndcg10", "double", "Mean nDCG@10, binary gain, ideal min(n, 10).", minimum=0,
               maximum=1),
        Column("low", "double", "2.5th percentile over resampled users."),
        Column("high", "double", "97.5th percentile over resampled users."),
        Column(
            "gain",
            "double",
            "By how much the published lists are better than the method's on the same users, mean "
            "difference of nDCG@10; null of the published ones.",
            nullable=True,
        ),
        Column("gain_low", "double", "2.5th percentile over resampled users.", nullable=True),
        Column("gain_high", "double", "97.5th percentile over resampled users.", nullable=True),
        Column("recall20", "double", "Mean share of the relevant items in the first 20.", minimum=0,
               maximum=1),
        Column("hit10", "double", "Share of users with a relevant item in the first 10.", minimum=0,
               maximum=1),
        Column("coverage10", "double", "Share of what can be shown that is in anybody's first 10.",
               minimum=0, maximum=1),
        Column("gini10", "double", "How unevenly these are shared out over what can be shown: 0 if "
               "each has as many, 1 if one has all.", minimum=0, maximum=1),
        Column("novelty10", "double", "Mean of -log2 of the share of users who had each of these.",
               minimum=0),
        Column("share_new10", "double", "Share of them first known in the 30 days before.",
               minimum=0, maximum=1),
        Column(
            "ips_value10",
            "double",
            "Mean worth of what then happened with an item of the method's first 10, over all "
            "users: of the published lists, with all; of another method, with what was shown at "
            "the place where it has it, by the inverse propensity (self-normalised). Null where "
            "none was logged or none is the same.",
            nullable=True,
            minimum=0,
        ),
    ),
)  # fmt: skip
