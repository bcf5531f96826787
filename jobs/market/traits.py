"""A simulated market: users with latent interests, activity, mood, price level and vulnerability.

Every number of a day is a function of (seed, block of users, day) alone, so a day can be made
without those before it, and any size fits into bounded memory. Spells of being awake and asleep
have no memory and all that a user does while awake is Poisson, so what a user will do has a closed
form: `jobs/market/truth.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from contracts.counts import n_of
from contracts.errors import ContractError

BLOCK = 50_000
"""Users made at a time. Follows and transfers stay within a block."""
COMMUNITY = 40
"""Users of a community: they share interests and a liking for buying, and follow one another."""
SIGN_UP_DAYS = 365
"""Days over which the users who were not there before the first sign up: a market that goes on
longer begins as the shorter one does."""
SPELLS = 128
"""Turns between being awake and asleep in a user's life."""
N_CATEGORIES = 12
TASTES = 6
"""Dimensions of taste within a category."""
UNKNOWN_YEAR = 0.03
"""Share of users who do not say when they were born; they count as minors."""
COUNTRIES = ("DE", "FR", "GB", "IT", "NL", "PL", "SE", "US")
COUNTRY_SHARES = (0.22, 0.16, 0.2, 0.1, 0.08, 0.09, 0.05, 0.1)
VERBS = ("view", "like", "comment", "share", "search", "click", "ad_view")
"""What a user does with posts, items, users and ads; a click on an ad follows from its view."""
RATES = {
    "view": 0.32, "like": 0.11, "comment": 0.05, "share": 0.03, "search": 0.07, "click": 0.06,
    "ad_view": 0.26, "post": 0.05, "follow": 0.03, "review": 0.035, "login": 0.10,
    "payment": 0.04, "transfer": 0.025, "order": 0.06,
}  # fmt: skip
"""Events per awake day of a middling user."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Dirt:
    """Shares of rows that go wrong, each in one way; and of users who are bots."""

    duplicate: float = 0.003
    """Sent twice on the day."""
    repeated: float = 0.002
    """Sent again two days later."""
    conflict: float = 0.001
    """Sent again the next day under the same id, with another time."""
    late: float = 0.01
    """Lands three days after it happened. No defect, but a trial for the windows."""
    malformed: float = 0.001
    truncated: float = 0.001
    encoding: float = 0.0005
    """A byte that is not UTF-8."""
    impossible: float = 0.002
    """A verb that does not exist, nine stars, a quantity below one."""
    skewed: float = 0.0005
    """A clock a month ahead."""
    currency: float = 0.001
    """A currency without a rate; only where there is an amount."""
    anonymous: float = 0.003
    """No user."""
    bots: float = 0.002

    def __post_init__(self) -> None:
        for f in fields(self):
            if not 0 <= getattr(self, f.name) <= 0.1:
                raise ContractError(
                    f"dirt {f.name}: expected 0 to 0.1, found {getattr(self, f.name)}"
                )


@dataclass(frozen=True)
class Market:
    """How large, from when, for how long, how dirty, and which of all possible markets."""

    users: int
    start: date
    days: int
    seed: int = 0
    dirt: Dirt = field(default_factory=Dirt)

    def __post_init__(self) -> None:
        if self.users < 1 or self.days < 1:
            raise ContractError(
                f"a market needs 1 user and 1 day or more, found {n_of(self.users, 'user')} "
                f"and {n_of(self.days, 'day')}"
            )

    def day(self, number: int) -> date:
        return self.start + timedelta(days=number)

    def rng(self, what: int, block: int, day: int) -> np.random.Generator:
        """Chance for one purpose, block of users and day, which may lie before the start."""
        return np.random.default_rng((self.seed, what, block, day + 10_000))


@dataclass(frozen=True)
class Block:
    """Latent traits of some users, each (n,) unless it says otherwise."""

    first: int
    signed_up: Ints
    """Day, counted from the market's start; below 0 for those who were there before."""
    turns: npt.NDArray[np.int32]
    """(n, SPELLS): days on which they fall asleep and wake up, in turn."""
    leave: Floats
    """Chance to fall asleep, per day awake."""
    wake: Floats
    """Chance to wake up, per day asleep."""
    rates: Floats
    """(n, len(RATES)): events per awake day, in the order of `RATES`."""
    interests: Floats
    """(n, categories): shares."""
    mood: Floats
    """Added to the stars of every review."""
    basket: Floats
    """Mean units of an order line beyond the first."""
    ad_liking: Floats
    """Chance to click an ad that is shown."""
    vulnerability: Floats
    """Chance of an attack on the account, per day."""
    wealth: Floats
    """Mean payment, in major units."""
    country: Ints
    bot: Flags
    taste: Floats
    """(n, TASTES): what the user likes within a category, as the user's community does."""
    voice: Floats
    """How well the user's posts are liked: a log weight."""
    birth_year: Ints
    """0 where the user does not say."""
    minor: Flags
    """Who may not order what is for adults, or does not say."""
    _awake: dict[int, Flags] = field(default_factory=dict, repr=False)

    @property
    def n(self) -> int:
        return len(self.signed_up)

    def rate(self, kind: str) -> Floats:
        return self.rates[:, list(RATES).index(kind)]

    def awake(self, day: int) -> Flags:
        """(n,): who is signed up and awake. Bots are apart."""
        if day not in self._awake:
            turned = (self.turns <= day).sum(axis=1)
            awake = (self.signed_up <= day) & (turned % 2 == 0) & ~self.bot
            while len(self._awake) > 3:  # a day's streams all ask, and look a few days back
                del self._awake[min(self._awake)]
            self._awake[day] = awake
        return self._awake[day]


@lru_cache(maxsize=8)
def block(market: Market, first: int) -> Block:
    """The users from number `first` on."""
    n = min(BLOCK, market.users - first)
    rng = market.rng(1, first, 0)
    groups = np.arange(BLOCK) // COMMUNITY
    centre = rng.dirichlet(np.full(N_CATEGORIES, 0.35), BLOCK // COMMUNITY + 1)
    zeal = rng.normal(0, 0.6, BLOCK // COMMUNITY + 1)
    # Drawn for a whole block, so that a market with more users begins as a smaller one.
    before, after = -1 - rng.integers(0, 60, BLOCK), rng.integers(0, SIGN_UP_DAYS, BLOCK)
    signed_up = np.where(rng.random(BLOCK) < 0.6, before, after)
    leave = 1 / np.exp(rng.normal(np.log(18), 0.6, BLOCK)).clip(6, 400)
    wake = 1 / np.exp(rng.normal(np.log(20), 0.8, BLOCK)).clip(5, 2000)
    lengths = np.empty((BLOCK, SPELLS), np.int64)
    lengths[:, 0::2] = rng.geometric(leave[:, None], (BLOCK, SPELLS // 2))
    lengths[:, 1::2] = rng.geometric(wake[:, None], (BLOCK, SPELLS // 2))
    activity = rng.normal(0, 0.6, BLOCK)
    own = rng.normal(0, 0.55, (BLOCK, len(RATES)))
    log_rates = np.log(list(RATES.values())) + own + activity[:, None]
    order = list(RATES).index("order")
    log_rates[:, order] += zeal[groups] + 0.4 * own[:, 0] - 0.5 * activity
    own_interests = rng.dirichlet(np.full(N_CATEGORIES, 0.3), BLOCK)
    every = Block(
        first,
        signed_up.astype(np.int64),
        (signed_up[:, None] + np.cumsum(lengths, axis=1)).clip(max=2**30).astype(np.int32),
        leave,
        wake,
        np.exp(log_rates.clip(None, 2.0)),
        0.65 * centre[groups] + 0.35 * own_interests,
        rng.normal(0.0, 0.8, BLOCK),
        np.exp(rng.normal(-0.9, 0.6, BLOCK)),
        rng.beta(1.6, 9.0, BLOCK),
        (rng.gamma(0.45, 0.006, BLOCK)).clip(0, 0.2),
        np.exp(rng.normal(3.4, 0.6, BLOCK)),
        rng.choice(len(COUNTRIES), BLOCK, p=COUNTRY_SHARES),
        rng.random(BLOCK) < market.dirt.bots,
        *_tastes(market, groups, market.rng(16, first, 0)),
    )
    columns = [f.name for f in fields(Block) if f.name not in ("first", "_awake")]
    return Block(first, *(getattr(every, name)[:n] for name in columns))


def _tastes(
    market: Market, groups: Ints, rng: np.random.Generator
) -> tuple[Floats, Floats, Ints, Flags]:
    """The last four traits of a whole block."""
    shared = rng.normal(0, 1, (BLOCK // COMMUNITY + 1, TASTES))
    own = rng.normal(0, 1, (BLOCK, TASTES))
    age = (13 + rng.gamma(2.5, 10, BLOCK)).clip(max=90).astype(np.int64)
    unknown = rng.random(BLOCK) < UNKNOWN_YEAR
    return (
        np.sqrt(0.6) * shared[groups] + np.sqrt(0.4) * own,
        rng.normal(0, 0.7, BLOCK),
        np.where(unknown, 0, market.start.year - age),
        unknown | (age < 19),  # of age on the first day, whenever in the year they were born
    )


def blocks(market: Market) -> Iterator[Block]:
    for first in range(0, market.users, BLOCK):
        yield block(market, first)


def season(day: date) -> float:
    """How much more is going on than on a plain day: weekends, summer, the weeks to Christmas."""
    weekend = 1.2 if day.weekday() >= 5 else 1.0
    summer = 1 - 0.1 * np.sin(np.pi * (day.timetuple().tm_yday - 150) / 100) * (
        150 <= day.timetuple().tm_yday <= 250
    )
    christmas = 1.3 if (day.month, day.day) > (11, 20) else 1.0
    return float(weekend * summer * christmas)
