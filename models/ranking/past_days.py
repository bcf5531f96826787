"""What a surface's ranker learns from: past days, or, where nothing has a time, hidden edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pyarrow.compute as pc

from contracts.ranking_config import RankingConfig
from contracts.specs import RankDay, RankInputs
from contracts.surfaces import Surface, ranker_days
from models.ranking.catalogue import read_catalogue, without_users
from models.ranking.happened import happened_since
from models.ranking.hidden_edges import hidden_edges
from models.ranking.samples import Sample, Wanted, joined, read_sample

JUDGED_USERS = 1000
"""Users, at most about so many, whose lists choose between rankers: all their candidates are in
memory."""
OTHER_USERS = 500
"""Users without anything relevant, at most about so many, whom calibration needs besides."""
LEARN_CANDIDATES = 60
"""Candidates of a user with which nothing happened that are learned from, at most: more gained
nothing on a retailer's orders (nDCG@10 .142 with 60, .140 with all)."""
MIN_LEARN_CANDIDATES = 20
LEARN_ROWS = 1_000_000
"""Candidates of a past day that are learned from, about: of many users fewer of each."""
_JUDGED_FIFTHS = 2
"""Fifths of users who judge where there is one day alone."""


@dataclass(frozen=True)
class PastDays:
    """Samples of the past, none of a user with nothing to order."""

    learn: Sample
    """Of the days before the newest."""
    judged: Sample
    """Of the newest: users with something relevant and all their candidates."""
    all_users: Sample
    """Of the newest: those users, and others with some of their candidates."""
    days: tuple[date, ...]
    is_timed: bool
    """Whether it is known when things happened."""
    recent: Sample | None = None
    """Of days so near that only a part of the horizon is known: what is learned from besides once
    everything is chosen, for how often something happens is not known of them."""

    @property
    def learned_from(self) -> str:
        """What the samples are of, as a report says it."""
        if not self.days:
            return "nothing"
        return "past days" if self.is_timed else "hidden edges"

    @property
    def n_users(self) -> int:
        """Users that there are to learn from or to judge by, the fewer."""
        return min(len(self.learn), len(self.judged))

    def refit(self) -> Sample:
        """All that may be learned from."""
        recent = [self.recent] if self.recent is not None else []
        return joined([self.learn, _to_learn_from(self.judged, LEARN_CANDIDATES), *recent])


def past_days(surface: Surface, day: RankDay, config: RankingConfig) -> PastDays:
    """What then happened as of past days; where that is too little, hidden edges."""
    own = days_of(surface, day.inputs.as_of, day.past, config)
    closed = day.inputs.as_of - timedelta(days=surface.horizon_days)
    past = tuple(inputs for inputs in own if inputs.as_of <= closed)
    samples = _timed(surface, day, past, config)
    # The newest day chooses; of the others there must be enough to learn from.
    if len(samples) > 1 and _enough(samples[-1], config) and _n_users(samples[:-1]):
        recent = [_sample_of(surface, day, inputs, config) for inputs in own[len(past) :]]
        learn = [_to_learn_from(sample) for sample in recent]
        return replace(_by_day(samples, past), recent=joined(learn) if learn else None)
    alone = [sample for sample in samples if _enough(sample, config)]
    if alone:
        return _by_user(alone[-1], (past[samples.index(alone[-1])].as_of,), is_timed=True)
    hidden = _hidden(surface, day.inputs, config)
    if len(hidden):
        return _by_user(hidden, (day.inputs.as_of,), is_timed=False)
    if len(samples) > 1:
        return _by_day(samples, past)
    if samples:
        return _by_user(samples[-1], (past[-1].as_of,), is_timed=True)
    return _by_user(hidden, (), is_timed=True)


def _enough(sample: Sample, config: RankingConfig) -> bool:
    return int((sample.n_relevant > 0).sum()) >= config.min_learn_users


def _n_users(samples: Sequence[Sample]) -> int:
    return sum(int((sample.n_relevant > 0).sum()) for sample in samples)


def days_of(
    surface: Surface, as_of: date, past: Sequence[RankInputs], config: RankingConfig
) -> tuple[RankInputs, ...]:
    """The past days that are the surface's own, in their order; others are those of other
    surfaces."""
    own = ranker_days((surface,), config.learn_days, as_of, date.min)
    return tuple(inputs for inputs in past if inputs.as_of in own)


def _timed(
    surface: Surface, day: RankDay, past: Sequence[RankInputs], config: RankingConfig
) -> list[Sample]:
    judges = Wanted(min(JUDGED_USERS, config.max_learn_users), others=OTHER_USERS)
    return [
        *(_sample_of(surface, day, inputs, config) for inputs in past[:-1]),
        *(_sample_of(surface, day, inputs, config, judges) for inputs in past[-1:]),
    ]


def _sample_of(
    surface: Surface,
    day: RankDay,
    inputs: RankInputs,
    config: RankingConfig,
    wanted: Wanted | None = None,
) -> Sample:
    """What happened, as far as it is known, as of a past day; where nothing else is wanted, as much
    of it as is learned from."""
    catalogue = read_catalogue(inputs, surface)
    happened = happened_since(
        day.interactions, surface, inputs.as_of, catalogue.ids, before=day.inputs.as_of
    )
    if wanted is None:
        n = min(len(pc.unique(happened.users)), config.max_learn_users)
        wanted = Wanted(config.max_learn_users, n=_candidates_of_each(n))
    return read_sample(inputs, surface, happened, catalogue, wanted)


def _candidates_of_each(n_users: int) -> int:
    """Candidates of each of so many users that are learned from."""
    return min(max(LEARN_ROWS // max(n_users, 1), MIN_LEARN_CANDIDATES), LEARN_CANDIDATES)


def _hidden(surface: Surface, inputs: RankInputs, config: RankingConfig) -> Sample:
    catalogue = read_catalogue(inputs, surface)
    hidden = hidden_edges(inputs, surface, catalogue.ids)
    # An item whose users are all hidden has none where its lists are learned from: else how many it
    # has would tell what is hidden.
    catalogue = without_users(catalogue, np.bincount(hidden.items, minlength=len(catalogue)))
    wanted = Wanted(min(JUDGED_USERS, config.max_learn_users), others=OTHER_USERS)
    return read_sample(inputs, surface, hidden, catalogue, wanted, fold=1)


def _by_day(samples: Sequence[Sample], past: Sequence[RankInputs]) -> PastDays:
    learn = joined([_to_learn_from(sample) for sample in samples[:-1]])
    days = tuple(inputs.as_of for inputs in past)
    return PastDays(learn, _judged(samples[-1]), samples[-1], days, is_timed=True)


def _by_user(sample: Sample, days: tuple[date, ...], is_timed: bool) -> PastDays:
    """Some users to learn from, others to judge."""
    judge = (sample.hashes // np.uint64(10)) % 5 < _JUDGED_FIFTHS
    others = sample.of_users(judge)
    learn = _to_learn_from(sample.of_users(~judge), LEARN_CANDIDATES)
    return PastDays(learn, _judged(others), others, days, is_timed)


def _judged(sample: Sample) -> Sample:
    """Users with something relevant and something to order."""
    return sample.of_users((sample.n_relevant > 0) & (np.diff(sample.starts) > 0))


def _to_learn_from(sample: Sample, n: int | None = None) -> Sample:
    """Users with something relevant among their candidates who are not held out."""
    n_found = np.bincount(sample.rows, sample.is_goal, len(sample))
    learn = sample.of_users((n_found > 0) & ~sample.is_held_out)
    return learn if n is None else learn.thinned(n)
