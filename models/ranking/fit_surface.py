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
from models.ranking.features import feature_names
from models.ranking.lambdarank import ROUNDS, Trees, best_rounds, fit_lambdarank
from models.ranking.metrics import interval
from models.ranking.network import EPOCHS, ItemNetwork, best_epochs, fit_network
from models.ranking.past_days import PastDays, past_days
from models.ranking.samples import Sample
from models.ranking.surface_ranker import (
    LAMBDARANK,
    MIXTURE,
    NETWORK,
    SOURCE,
    Scaling,
    SurfaceRanker,
    list_scores,
    raw_scores,
    user_numbers,
)

MIN_EVENTS = 20
"""Times that an event must have happened with candidates for it to have a probability."""
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
        "learned_from": "past days" if past.is_timed else "hidden edges",
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
        return Fitted(alone, {**report, "why": why})
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
    settings, fitted = _fitted(surface, past, config)
    report |= settings
    rankers, orders = {}, {}
    for name in _CHOICES[config.ranker]:
        ranker = replace(
            alone,
            order_by=name,
            events=surface.events,
            trees=fitted.trees if name in (LAMBDARANK, MIXTURE) else None,
            network=fitted.network if name in (NETWORK, MIXTURE) else None,
        )
        rankers[name] = calibrated(surface, ranker, past)
        orders[name] = past.judged.ndcg10(goal_scores(surface, rankers[name], past.judged))
        report["ndcg10"][name] = _figure(orders[name])
    chosen = max(orders, key=lambda name: orders[name].mean())
    report["gain"] = _figure(orders[chosen] - of_best_list)
    if LAMBDARANK in orders:
        report["gain_on_lambdarank"] = _figure(orders[chosen] - orders[LAMBDARANK])
    challenger = rankers[chosen]
    if not any(event in challenger.calibrations for event in surface.goals):
        return Fitted(alone, {**report, "why": f"no goal was reached {MIN_EVENTS} times"})
    if report["gain"]["mean"] <= 0:
        return Fitted(alone, {**report, "why": "no ranker orders better than the best list"})
    refitted = _refitted(challenger, past, config, settings)
    if refitted.trees is not None:
        gains = refitted.trees.gains(refitted.names)
        report["features"] = dict(list(gains.items())[:_SHOWN])
    report["order_by"] = chosen
    return against_champion(surface, past, refitted, champion, report)


_CHOICES = {
    "lambdarank": (LAMBDARANK,),
    "network": (NETWORK,),
    "mixture": (LAMBDARANK, NETWORK, MIXTURE),
}
"""What may give the order, by the setting `ranker`; of equals the first."""


@dataclass(frozen=True)
class _Fits:
    """Rankers that were fitted on the same sample; None: it was not asked for."""

    trees: Trees | None
    network: ItemNetwork | None


def _fitted(
    surface: Surface, past: PastDays, config: RankingConfig
) -> tuple[dict[str, int], _Fits]:
    """Rankers fitted on the days before the newest, each stopped where it orders that best."""
    settings, trees, network = {}, None, None
    if config.ranker != NETWORK:
        trees = fit_lambdarank(past.learn, ROUNDS[-1], config.seed)
        settings["rounds"] = best_rounds(trees, past.judged)
        trees = trees.first(settings["rounds"])
    if config.ranker != LAMBDARANK:
        networks = fit_network(past.learn, len(surface.events), EPOCHS[-1], config.seed)
        settings["epochs"] = best_epochs(networks, past.judged)
        network = networks[settings["epochs"] - 1]
    return settings, _Fits(trees, network)


def _refitted(
    challenger: SurfaceRanker, past: PastDays, config: RankingConfig, settings: Mapping[str, int]
) -> SurfaceRanker:
    """The same rankers fitted on all past days, their scores on the scale that was calibrated."""
    sample = past.refit()
    trees, network = challenger.trees, challenger.network
    if trees is not None:
        trees = fit_lambdarank(sample, settings["rounds"], config.seed)
    if network is not None:
        n = len(challenger.events)
        network = fit_network(sample, n, settings["epochs"], config.seed)[-1]
    refitted = replace(challenger, trees=trees, network=network)
    return replace(refitted, scaling=_scaling(refitted, past.all_users))


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


MIN_HELD_OUT = 30
"""Users whom neither learned from, to compare a challenger with the champion."""


def calibrated(surface: Surface, ranker: SurfaceRanker, past: PastDays) -> SurfaceRanker:
    """The ranker with probabilities of the events that happened often enough."""
    rows = past.all_users
    ranker = replace(
        ranker,
        scaling=_scaling(ranker, rows),
        user_scaling=Scaling.of(user_numbers(rows.features, ranker.names)),
    )
    scores = ranker.scores(rows.features)
    users = ranker.user_scaling(user_numbers(rows.features, ranker.names))
    calibrations: dict[str, Calibration] = {}
    for i, event in enumerate(surface.events):
        happened = (rows.events >> i & 1).astype(np.float64)
        if happened.sum() >= MIN_EVENTS:
            weights = rows.weights.astype(np.float64)
            used = scores[:, ranker.columns(event)]
            calibrations[event] = fit_calibration(used, users, happened, weights)
    return replace(ranker, calibrations=calibrations)


def _scaling(ranker: SurfaceRanker, rows: Sample) -> Scaling:
    return Scaling.of(raw_scores(rows.features, ranker.trees, ranker.network))


def goal_scores(surface: Surface, ranker: SurfaceRanker, sample: Sample) -> Doubles:
    """(C,): how many goals are expected of candidates: what rankers are compared by, whatever
    goals are worth."""
    probabilities = ranker.probabilities(sample.features)
    total = np.zeros(len(sample.features))
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
