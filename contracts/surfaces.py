"""Every surface on which something is recommended: what, to what end, from where, and by which
rules.

Adding a surface is a row here; see docs/adding-a-surface.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from difflib import get_close_matches

from contracts.errors import ContractError, UsageError
from contracts.source_table import AD_VIEW
from contracts.surface_checks import (
    MAX_HORIZON_DAYS,
    MAX_ITEMS,
    not_a_worth,
    not_below_one,
    out_of_bounds,
    repeated,
    unknown,
    worthless,
)
from contracts.table import require_identifier

TARGETS = ("item", "ad", "post", "user")
"""What can be recommended: the kinds of targets of interactions."""

UNDO = "undo"
USER_EVENTS = (
    "order", "review", "view", "like", "comment", "share", "click", "follow", "unfollow",
)  # fmt: skip
"""What users do with a target that a surface may ask for."""

INTERACTION_EVENTS = (*USER_EVENTS, "impression", AD_VIEW, UNDO)
"""What a user can do with a target, or have done with it: an impression was shown to the user; so
was an ad that the user saw, which the log of impressions may say once more; an undo cancels or
returns units of what the user ordered."""

HALF_LIVES = (1, 3, 10, 30)
"""Days after which an interaction counts half as much, of each measure of popularity."""

POPULARITY = tuple(f"popular_{days}d" for days in HALF_LIVES)
SOURCES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(POPULARITY, TARGETS),
    **{f"{name}_in_segment": TARGETS for name in POPULARITY},
    "new": ("item", "ad", "post"),
    "own": ("item", "ad"),
    "together": ("item", "ad", "post"),
    "factors": TARGETS,
    "ease": ("item", "ad"),
    "similar_users": ("item", "ad", "post"),
    "two_tower": ("item", "ad", "post"),
    "followed_authors": ("post",),
    "interests": ("item", "ad", "post"),
    "follows_back": ("user",),
    "friends_of_friends": ("user",),
    "page_rank": ("user",),
    "same_tastes": ("user",),
}
"""Sources of candidates, and of what kinds of targets each can give some. Popular, over all users
and in their own country or favourite category; new and unseen; what the user had before and is due;
what goes together with what the user had; what a matrix factorisation and a linear item-to-item
model retrieve; what similar users did lately; what a two-tower network retrieves; posts by authors
whom the user follows; of the categories that interest the user; users who follow the user, whom
those follow whom the user follows, whom random walks from the user reach, and who like the same
things."""

FILTERS = (
    "owned",
    "self",
    "unavailable",
    "blocked",
    "under_age",
    "overexposed",
)
"""Reasons for which an item is not shown to a user, in the order in which they are looked for: the
user has it already (follows them already) and repeats are not allowed; it is the user, or by the
user; it is out of stock, withdrawn or too old; the user blocked it, its author, or is blocked by
them; the user is too young for it; it was shown to the user often and never clicked."""


NO_CANDIDATES = "no candidates"
TOO_FEW_CANDIDATES = "too few candidates"
TOO_FEW_LEFT = "too few left by the filters"
ERASED_FROM_LIST = "somebody was erased from it"
SHORTFALLS = (NO_CANDIDATES, TOO_FEW_CANDIDATES, TOO_FEW_LEFT, ERASED_FROM_LIST)
"""Why a list is shorter than asked: no source gave anything, all of them gave less, filters left
out too much, or an erasure took somebody out of it later."""


CAPPED_PLACES = 10
"""Places, from the first, in which caps on categories and authors hold."""


@dataclass(frozen=True)
class Outcome:
    """An event that says that a recommendation worked."""

    event: str
    """What the user does with the target: an event of the table `interactions`."""
    worth: float
    """What one is worth to the business, beside the others of the surface."""
    is_goal: bool = True
    """Whether it counts as success in figures, and whether an item may be called relevant by it."""

    def __post_init__(self) -> None:
        problems = unknown("event", (self.event,), USER_EVENTS)
        problems += not_a_worth(self.worth)
        if problems:
            raise ContractError(f"outcome {self.event}: " + "; ".join(problems))


_LIMITS = ("max_impressions", "max_per_category", "max_per_author")
_SHARES = ("diversity", "exploration", "popularity_discount")


@dataclass(frozen=True)
class Policy:
    """What is done with a ranked list before it is shown, in this order: filters, value, diversity,
    exploration, length."""

    filters: tuple[str, ...] = FILTERS
    max_impressions: int | None = 20
    """Times that an item may have been shown to a user since the user last did something with it
    (30 days); None: any number."""
    max_per_category: int | None = None
    """Items of one category in the first 10 places; None: any number."""
    max_per_author: int | None = None
    """Items of one author in the first 10 places; None: any number."""
    diversity: float = 0.0
    """Weight of being unlike what stands above, from 0 to 1: maximal marginal relevance over
    category and author (Carbonell and Goldstein, 1998)."""
    exploration: float = 0.0
    """Share of places that are filled by chance from the candidates below, of those that break no
    cap, with the chance of each logged."""
    popularity_discount: float = 0.0
    """Power of the users who had an item in 30 days, and one, by which its value is divided where
    candidates are ordered, from 0 to below 1 (Steck, 2011)."""

    def __post_init__(self) -> None:
        problems = [
            f"filters: expected some of {', '.join(FILTERS)}, found {name}"
            for name in self.filters
            if name not in FILTERS
        ]
        problems += not_below_one({name: getattr(self, name) for name in _SHARES})
        problems += out_of_bounds(
            {name: getattr(self, name) for name in _LIMITS}, or_none=", or none"
        )
        if problems:
            raise ContractError("policy: " + "; ".join(problems))


_COUNTS = ("horizon_days", "learn_every_days", "n_items", "max_age_days")


@dataclass(frozen=True)
class Surface:
    """A place where something is recommended to every user."""

    name: str
    doc: str
    target: str
    """What is recommended: one of `TARGETS`."""
    outcomes: tuple[Outcome, ...]
    needs: tuple[tuple[str, ...], ...]
    """Clean tables without which it is switched off: of each group, one must be mapped."""
    sources: tuple[str, ...]
    """Sources of candidates, of `SOURCES`."""
    signals: Mapping[str, int] = field(default_factory=dict)
    """Events that say that a user likes a target, and how strongly beside the weakest: what
    candidates are counted from."""
    owned_by: tuple[str, ...] = ()
    """Events after which the user has the target, and is not shown it again unless repeats are
    allowed."""
    repeats: bool = False
    """Whether what a user has may be shown to the user again."""
    horizon_days: int = 30
    """Days in which what is shown is to work."""
    learn_every_days: int = 30
    """Days between the past as-of days that the ranker learns from; half as many days back is
    one more."""
    max_age_days: int | None = None
    """Days since it was first known after which a target is no longer shown; None: any number."""
    n_items: int = 100
    """Items of a list."""
    policy: Policy = Policy()
    max_list_change: float | None = None
    """Share of a list, on average, that may be new since the last release: more of posts, which
    are soon stale, than of what lasts. None: the setting `max_list_change`."""

    def __post_init__(self) -> None:
        require_identifier(self.name, "surface")
        problems = unknown("target", (self.target,), TARGETS)
        problems += unknown("sources", self.sources, tuple(SOURCES))
        if self.target in TARGETS:
            problems += [
                f"sources: {name} gives no candidates of kind {self.target}"
                for name in self.sources
                if self.target not in SOURCES.get(name, TARGETS)
            ]
        problems += self._problems_of_names()
        problems += out_of_bounds(
            {name: getattr(self, name) for name in _COUNTS},
            most={"horizon_days": MAX_HORIZON_DAYS, "n_items": MAX_ITEMS},
        )
        if self.max_list_change is not None and not 0 <= self.max_list_change <= 1:
            problems.append(f"max_list_change: expected 0 to 1, found {self.max_list_change}")
        if self.learn_every_days < self.horizon_days:
            problems.append(
                f"learn_every_days: expected horizon_days ({self.horizon_days}) or more, found "
                f"{self.learn_every_days}"
            )
        if problems:
            raise ContractError(f"surface {self.name}: " + "; ".join(problems))

    def _problems_of_names(self) -> list[str]:
        """What is wrong with the events and the tables that are named, and what is named twice."""
        problems = [] if self.sources else ["sources: expected one or more"]
        if not any(outcome.is_goal for outcome in self.outcomes):
            problems.append("outcomes: none is a goal")
        problems += repeated("sources", self.sources) + repeated("outcomes", self.events)
        problems += worthless({outcome.event: outcome.worth for outcome in self.outcomes})
        problems += unknown("signals", tuple(self.signals), USER_EVENTS)
        problems += out_of_bounds({f"signals: {event}": n for event, n in self.signals.items()})
        problems += unknown("owned_by", self.owned_by, USER_EVENTS)
        if not all(self.needs):
            problems.append("needs: expected one table or more in each group")
        return problems

    @property
    def goals(self) -> tuple[str, ...]:
        """Events by which an item was relevant to a user."""
        return tuple(outcome.event for outcome in self.outcomes if outcome.is_goal)

    @property
    def for_candidates(self) -> Surface:
        """The same but for what says how candidates are ranked and shown: what they are functions
        of, so that another worth or policy ranks again and counts nothing again."""
        return dataclasses.replace(
            self,
            outcomes=tuple(dataclasses.replace(o, worth=1.0) for o in self.outcomes),
            horizon_days=1,
            learn_every_days=1,
            n_items=1,
            policy=Policy(),
            max_list_change=None,
        )

    @property
    def for_ranker(self) -> Surface:
        """The same but for what says how ranked candidates are valued and shown: what a ranker is a
        function of, so that another worth or policy fits none anew. It learns from what the filters
        leave."""
        left = Policy(filters=self.policy.filters, max_impressions=self.policy.max_impressions)
        return dataclasses.replace(
            self,
            outcomes=tuple(dataclasses.replace(o, worth=1.0) for o in self.outcomes),
            n_items=1,
            policy=left,
            max_list_change=None,
        )

    @property
    def for_lists(self) -> Surface:
        """The same but for what lists are only audited by: what they are functions of."""
        return dataclasses.replace(self, max_list_change=None)

    @property
    def events(self) -> tuple[str, ...]:
        """Events that the ranker predicts."""
        return tuple(outcome.event for outcome in self.outcomes)


_POPULAR = (*POPULARITY, *(f"{name}_in_segment" for name in POPULARITY))

SURFACES: tuple[Surface, ...] = (
    Surface(
        "products",
        "Products to buy.",
        target="item",
        outcomes=(
            Outcome("order", 1.0),
            Outcome("review", 0.5),
            Outcome("like", 0.05, is_goal=False),
            Outcome("click", 0.02, is_goal=False),
            Outcome("view", 0.01, is_goal=False),
        ),
        needs=(("orders", "reviews"),),
        sources=(*_POPULAR, "own", "together", "interests", "factors", "ease", "similar_users",
                 "two_tower", "new"),
        signals={"order": 8, "review": 8, "share": 3, "like": 2, "click": 1, "view": 1},
        owned_by=("order", "review"),
        policy=Policy(popularity_discount=0.1),
    ),
    Surface(
        "ads",
        "Ads to show.",
        target="ad",
        outcomes=(Outcome("click", 1.0),),
        needs=(("engagements",),),
        sources=(*_POPULAR, "own", "together", "factors", "ease", "two_tower", "new"),
        signals={"click": 8},
        repeats=True,
        horizon_days=7,
    ),
    Surface(
        "posts",
        "Posts of others to read.",
        target="post",
        outcomes=(
            Outcome("share", 1.0),
            Outcome("comment", 0.5),
            Outcome("like", 0.3),
            Outcome("click", 0.1),
            Outcome("view", 0.05),
        ),
        needs=(("posts",), ("engagements",)),
        sources=(*_POPULAR, "followed_authors", "interests", "together", "factors", "similar_users",
                 "two_tower", "new"),
        signals={"share": 5, "comment": 4, "like": 3, "click": 1, "view": 1},
        owned_by=("view", "like", "comment", "share", "click"),
        horizon_days=3,
        max_age_days=14,
        policy=Policy(max_per_author=3),
    ),
    Surface(
        "people",
        "People to follow.",
        target="user",
        outcomes=(
            Outcome("follow", 1.0),
            Outcome("like", 0.05, is_goal=False),
            Outcome("view", 0.02, is_goal=False),
        ),
        needs=(("follows",),),
        sources=(
            *_POPULAR, "follows_back", "friends_of_friends", "page_rank", "same_tastes", "factors",
        ),
        signals={"follow": 8, "share": 2, "comment": 2, "like": 2, "click": 1, "view": 1},
        owned_by=("follow",),
    ),
)  # fmt: skip


def surface_named(name: str) -> Surface:
    """The surface of that name.

    Raises:
        UsageError: there is none.
    """
    by_name = {surface.name: surface for surface in SURFACES}
    if name not in by_name:
        near = get_close_matches(name, by_name, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"{name}: no such surface, expected one of {', '.join(by_name)}{meant}")
    return by_name[name]


def mapped_surfaces(surfaces: Sequence[Surface], mapped: Collection[str]) -> tuple[Surface, ...]:
    """The surfaces whose tables are mapped."""
    return tuple(
        surface
        for surface in surfaces
        if all(any(table in mapped for table in group) for group in surface.needs)
    )


def ranker_days(
    surfaces: Collection[Surface], learn_days: int, as_of: date, earliest: date
) -> tuple[date, ...]:
    """Past as-of days that rankers as of `as_of` learn from, oldest first; none before `earliest`.

    A surface learns from those that are multiples of its `learn_every_days` back, and from the one
    that is half of it back: of what is new or in season, half a horizon of the last days says more
    than a whole one of the month before.
    """
    back = max((as_of - earliest).days, 0)
    days = {
        as_of - timedelta(days=days_back)
        for every in (surface.learn_every_days for surface in surfaces)
        for days_back in (
            *(every * k for k in range(1, min(learn_days, back // every) + 1)),
            *((every // 2,) if 1 < every <= 2 * back + 1 else ()),
        )
    }
    return tuple(sorted(days))


def missing_tables(surface: Surface, mapped: Collection[str]) -> tuple[str, ...]:
    """What a surface lacks, a text for each group of tables of which none is mapped."""
    return tuple(
        " or ".join(group) for group in surface.needs if not any(table in mapped for table in group)
    )
