"""The ranker of a surface: fitted on past days, chosen on the newest of them, then fitted on all.

Letters: U users, C candidates, R rankers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.ranking_config import RankingConfig
from contracts.specs import RankDay
from contracts.surfaces import Surface
from models.ranking.calibration import Calibration, fit_calibration
from models.ranking.candidates import list_kinds
from models.ranking.event_trees import events_with_trees, fit_event_trees
from models.ranking.features import feature_names
from models.ranking.lambdarank import ROUNDS, Trees, best_rounds, binned, fit_lambdarank
from models.ranking.metrics import interval
from models.ranking.network import EPOCHS, fit_network
from models.ranking.past_days import PastDays, past_days
from models.ranking.samples import Sample, thinned
from models.ranking.surface_ranker import (
    LAMBDARANK,
    MIXTURE,
    NETWORK,
    SOURCE,
    Scaling,
    SurfaceRanker,
    list_scores,
    user_numbers,
)

MIN_EVENTS = 20
"""Times that an event must have happened with candidates for it to have a probability."""
CALIBRATION_CANDIDATES = 40
"""Candidates of a user with which nothing happened that a calibration is fitted on, each for
several."""
DEFAULT_LIST = "popular_10d"
"""What gives the order where nobody could be asked what orders best."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A ranker, and what its report says."""

    ranker: SurfaceRanker
    report: dict[str, Any]


def fit_surface(
    surface: Surface, day: RankDay, config: RankingConfig, champion: SurfaceRanker | None
) -> Fitted:
    """The surface's ranker: the challenger, the champion where it orders better, or the best list.

    Args:
        surface: what is ranked.
        day: as of which, and the past days.
        config: how.
        champion: the ranker of the current release; None: there is none.
    """
    past = past_days(surface, day, config)
    report: dict[str, Any] = {
        "days": [str(past_day) for past_day in past.days],
        "learned_from": past.learned_from,
        "n_learn_users": len(past.learn),
        "n_judged_users": len(past.judged),
    }
    lists = _lists(surface, past.judged)
    report["ndcg10"] = {name: _figure(values) for name, values in lists.items()}
    best = max(lists, key=lambda name: lists[name].mean()) if lists else _default(surface)
    alone = SurfaceRanker(feature_names(surface), SOURCE, best)
    report |= {"order_by": SOURCE, "best_list": best}
    if past.n_users < config.min_learn_users:
        why = (
            f"{past.n_users} users with a goal to learn from and to judge by, "
            f"{config.min_learn_users} are needed"
        )
        return _without_challenger(surface, past, alone, champion, {**report, "why": why})
    return _learnt(surface, past, config, alone, lists[best], champion, report)


def _learnt(
    surface: Surface,
    past: PastDays,
    config: RankingConfig,
    alone: SurfaceRanker,
    of_best_list: Doubles,
    champion: SurfaceRanker | None,
    report: dict[str, Any],
) -> Fitted:
    """The challenger where it orders better than the best list, and no worse than the champion."""
    rounds, members = _fitted(surface, past, config, alone)
    rows = CalibrationRows.of(past.all_users)
    raw = members.raw_scores(past.all_users.features)
    members, raw, judged = _with_goals_in_order(surface, members, rows, raw)
    rankers, orders = {}, {}
    for name in _CHOICES[config.ranker]:
        rankers[name], orders[name] = judged.get(name) or _judged(surface, members, name, rows, raw)
        report["ndcg10"][name] = _figure(orders[name])
    chosen = _chosen(orders, of_best_list)
    report["gain"] = _figure(orders[chosen] - of_best_list)
    challenger = rankers[chosen]
    why = ""
    if not any(event in challenger.calibrations for event in surface.goals):
        why = f"no goal was reached {MIN_EVENTS} times"
    elif report["gain"]["mean"] <= 0:
        why = "no ranker orders better than the best list"
    if why:
        return _without_challenger(surface, past, alone, champion, {**report, "why": why})
    refitted = _refitted(challenger, past, config, rounds)
    if refitted.trees is not None:
        gains = refitted.trees.gains(refitted.names)
        report["features"] = dict(list(gains.items())[:_SHOWN])
    report |= {"order_by": chosen, "rounds": rounds}
    return against_champion(surface, past, refitted, champion, report)


def _chosen(orders: Mapping[str, Doubles], of_best_list: Doubles) -> str:
    """The first, unless another orders better beyond chance, for two rankers cost more than one; or
    unless the first orders no better than the best list."""
    first = next(iter(orders))
    better = [name for name in orders if _figure(orders[name] - orders[first])["low"] > 0]
    if orders[first].mean() <= of_best_list.mean():
        better = list(orders)
    return max(better, key=lambda name: float(orders[name].mean()), default=first)


def _judged(
    surface: Surface, members: SurfaceRanker, name: str, rows: CalibrationRows, raw: Doubles
) -> tuple[SurfaceRanker, Doubles]:
    """What is chosen of the members, calibrated on the rows of which their scores are `raw`; and
    (U,): nDCG@10 of its order, of each half of users as it is calibrated on the other half: else
    a mixture would look better than one ranker for having seen what it is judged by."""
    used, members = _columns(name, raw, members), members.only(name)
    ranker = calibrated(surface, members, rows, used)
    expected = np.zeros(len(raw))
    is_first = ((rows.sample.hashes // np.uint64(_HALVES)) % 2 == 0)[rows.sample.rows]
    for half in (is_first, ~is_first):
        other = calibrated(surface, members, rows, used, ~half)
        by = other if set(other.calibrations) == set(ranker.calibrations) else ranker
        probabilities = by.of_scores(used[half], rows.users[half])
        expected[half] = expected_goals(surface, probabilities, int(half.sum()))
    return ranker, _of_users(rows.sample, expected)


_HALVES = 50
"""Users' hashes are divided by it first: their last digits say who is held out, and who judges
where there is one day alone."""


def _of_users(rows: Sample, scores: Doubles) -> Doubles:
    """(U,): nDCG@10 of users with something relevant and something to order."""
    by_user = rows.ndcg10(scores)
    return by_user[~np.isnan(by_user) & (np.diff(rows.starts) > 0)]


def _with_goals_in_order(
    surface: Surface, members: SurfaceRanker, rows: CalibrationRows, raw: Doubles
) -> tuple[SurfaceRanker, Doubles, dict[str, tuple[SurfaceRanker, Doubles]]]:
    """The members and their scores (C, R), without trees of single goals where these order worse
    than the one order of all goals; and what is judged already by then, by name."""
    kept = [event not in surface.goals for event in members.event_trees]
    if all(kept):
        return members, raw, {}
    judged = _judged(surface, members, LAMBDARANK, rows, raw)
    loss = _of_users(rows.sample, raw[:, 0]) - judged[1]
    if loss.sum() <= 0:
        return members, raw, {LAMBDARANK: judged}
    of_others = {e: t for e, t in members.event_trees.items() if e not in surface.goals}
    n_before = raw.shape[1] - len(kept)
    columns = np.array(n_before * [True] + kept)
    return replace(members, event_trees=of_others), raw[:, columns], {}


def _columns(name: str, raw: Doubles, members: SurfaceRanker) -> Doubles:
    """The scores (C, R) of what is chosen, of those of all members."""
    of_order, of_events = int(members.trees is not None), len(members.event_trees)
    of_network = raw.shape[1] - of_order - of_events
    used = {
        LAMBDARANK: of_order * [True] + of_network * [False] + of_events * [True],
        NETWORK: of_order * [False] + of_network * [True] + of_events * [False],
        MIXTURE: of_order * [True] + of_network * [True] + of_events * [False],
    }
    return raw[:, np.array(used[name], bool)]


_CHOICES = {
    "lambdarank": (LAMBDARANK,),
    "network": (NETWORK,),
    "mixture": (LAMBDARANK, NETWORK, MIXTURE),
}
"""What may give the order, by the setting `ranker`; of equals the first."""


def _fitted(
    surface: Surface, past: PastDays, config: RankingConfig, alone: SurfaceRanker
) -> tuple[int, SurfaceRanker]:
    """How many trees order best, and all rankers that are asked for, fitted on the days before the
    newest."""
    rounds, trees, network = 0, None, None
    event_trees: dict[str, Trees] = {}
    if config.ranker != NETWORK:
        bins = binned(past.learn, config.seed)
        trees = fit_lambdarank(past.learn, bins, ROUNDS[-1], config.seed)
        rounds = best_rounds(trees, past.judged)
        trees = trees.first(rounds)
        wanted = events_with_trees(surface.events, surface.goals)
        event_trees = fit_event_trees(past.learn, bins, surface.events, wanted, config.seed)
    if config.ranker != LAMBDARANK:
        network = fit_network(past.learn, len(surface.events), EPOCHS, config.seed)
    return rounds, replace(
        alone,
        order_by=MIXTURE,
        events=surface.events,
        trees=trees,
        network=network,
        event_trees=event_trees,
    )


def _refitted(
    challenger: SurfaceRanker, past: PastDays, config: RankingConfig, rounds: int
) -> SurfaceRanker:
    """The same rankers fitted on all past days, their scores on the scale that was calibrated."""
    sample = past.refit()
    trees, network = challenger.trees, challenger.network
    event_trees = challenger.event_trees
    if trees is not None:
        bins = binned(sample, config.seed)
        trees = fit_lambdarank(sample, bins, rounds, config.seed)
        event_trees = fit_event_trees(
            sample, bins, challenger.events, tuple(event_trees), config.seed
        )
    if network is not None:
        network = fit_network(sample, len(challenger.events), EPOCHS, config.seed)
    refitted = replace(challenger, trees=trees, network=network, event_trees=event_trees)
    return replace(refitted, scaling=Scaling.of(refitted.raw_scores(past.all_users.features)))


_SHOWN = 12
"""Features that a report names."""


def against_champion(
    surface: Surface,
    past: PastDays,
    challenger: SurfaceRanker,
    champion: SurfaceRanker | None,
    report: dict[str, Any],
) -> Fitted:
    """The challenger, unless the champion orders better, beyond chance, for users whom neither
    learned from."""
    if champion is None or not champion.is_learnt:
        return Fitted(challenger, {**report, "why": "there is no champion"})
    if (champion.names, champion.events) != (challenger.names, challenger.events):
        return Fitted(challenger, {**report, "why": "the champion knows other features"})
    held_out = past.judged.of_users(past.judged.is_held_out)
    if len(held_out) < MIN_HELD_OUT:
        why = f"{len(held_out)} users held out, {MIN_HELD_OUT} are needed to judge the champion"
        return Fitted(challenger, {**report, "why": why})
    gain = held_out.ndcg10(goal_scores(surface, challenger, held_out)) - held_out.ndcg10(
        goal_scores(surface, champion, held_out)
    )
    report["gain_on_champion"] = figure = _figure(gain)
    if figure["high"] < 0:
        return Fitted(
            champion, {**report, "order_by": champion.order_by, "why": "the champion orders better"}
        )
    return Fitted(challenger, {**report, "why": "the champion does not order better"})


def _without_challenger(
    surface: Surface,
    past: PastDays,
    alone: SurfaceRanker,
    champion: SurfaceRanker | None,
    report: dict[str, Any],
) -> Fitted:
    """The best list alone, unless the champion orders better for users whom it did not learn from:
    one night on which little happened is no reason to drop a ranker that works."""
    held_out = past.judged.of_users(past.judged.is_held_out)
    if (
        champion is None
        or not champion.is_learnt
        or champion.names != alone.names
        or champion.events != surface.events
        or len(held_out) < MIN_HELD_OUT
    ):
        return Fitted(alone, report)
    of_list = list_scores(held_out.features, held_out.names, alone.best_list)
    gain = held_out.ndcg10(goal_scores(surface, champion, held_out)) - held_out.ndcg10(of_list)
    report["gain_of_champion"] = figure = _figure(gain)
    if figure["mean"] <= 0:
        return Fitted(alone, report)
    why = f"{report['why']}; the champion orders better than it"
    return Fitted(champion, {**report, "order_by": champion.order_by, "why": why})


MIN_HELD_OUT = 30
"""Users whom neither learned from, to compare a challenger with the champion."""


@dataclass(frozen=True)
class CalibrationRows:
    """Candidates of a past day that calibrations are fitted on."""

    sample: Sample
    """The candidates (C,)."""
    kept: npt.NDArray[np.int64]
    """(K,): all that something happened with, and some others."""
    weights: Doubles
    """(K,): how many candidates each stands for."""
    users: Doubles
    """(C, N): numbers of their users."""

    @classmethod
    def of(cls, sample: Sample) -> CalibrationRows:
        is_kept, stands_for = thinned(
            sample.rows, sample.items, sample.hashes, sample.events > 0, CALIBRATION_CANDIDATES
        )
        kept = np.flatnonzero(is_kept)
        weights = (sample.weights * stands_for)[kept]
        return cls(sample, kept, weights, user_numbers(sample.features, sample.names))


def calibrated(
    surface: Surface,
    ranker: SurfaceRanker,
    rows: CalibrationRows,
    raw: Doubles,
    among: npt.NDArray[np.bool_] | None = None,
) -> SurfaceRanker:
    """The ranker with probabilities of the events that happened often enough.

    Args:
        surface: what is ranked.
        ranker: what ranks.
        rows: candidates (C,), and what happened with them.
        raw: (C, R): the ranker's scores of them.
        among: (C,): of which of them it learns; None: of all.
    """
    if among is None:
        scaling, user_scaling = Scaling.of(raw), Scaling.of(rows.users)
        kept, weights = rows.kept, rows.weights
    else:
        scaling, user_scaling = Scaling.of(raw[among]), Scaling.of(rows.users[among])
        of_them = among[rows.kept]
        kept, weights = rows.kept[of_them], rows.weights[of_them]
    scores, users = scaling(raw[kept]), user_scaling(rows.users[kept])
    calibrations: dict[str, Calibration] = {}
    for i, event in enumerate(surface.events):
        happened = (rows.sample.events[kept] >> i & 1).astype(np.float64)
        if happened.sum() >= MIN_EVENTS:
            used = scores[:, ranker.columns(event)]
            calibrations[event] = fit_calibration(used, users, happened, weights)
    return replace(ranker, scaling=scaling, user_scaling=user_scaling, calibrations=calibrations)


def goal_scores(surface: Surface, ranker: SurfaceRanker, sample: Sample) -> Doubles:
    """(C,): how many goals a ranker expects of candidates."""
    return expected_goals(surface, ranker.probabilities(sample.features), len(sample.items))


def expected_goals(surface: Surface, probabilities: Mapping[str, Doubles], n: int) -> Doubles:
    """(n,): how many goals are expected: what rankers are compared by, whatever goals are worth;
    none of a goal that was reached too seldom to have a probability."""
    total = np.zeros(n)
    for event in surface.goals:
        if event in probabilities:
            total += probabilities[event]
    return total


def _lists(surface: Surface, judged: Sample) -> dict[str, Doubles]:
    """List that somebody has to (U,): nDCG@10 of its order."""
    return {
        kind.name: judged.ndcg10(list_scores(judged.features, judged.names, kind.name))
        for kind in list_kinds(surface)
        if not np.isnan(judged.feature(f"place_{kind.name}")).all()
    }


def _default(surface: Surface) -> str:
    names = [kind.name for kind in list_kinds(surface)]
    return DEFAULT_LIST if DEFAULT_LIST in names else names[0]


def _figure(values: Doubles) -> Mapping[str, float]:
    """The mean of values (U,), and its interval over users."""
    if not len(values):
        return {"mean": 0.0, "low": 0.0, "high": 0.0}
    low, high = interval(values)
    return {"mean": float(values.mean()), "low": low, "high": high}
