"""Which ranker gives the order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.ranking.features import feature_names
from models.ranking.fit_surface import (
    MIN_EVENTS,
    MIN_HELD_OUT,
    CalibrationRows,
    Fitted,
    _chosen,
    _learnt,
    against_champion,
    calibrated,
    goal_scores,
)
from models.ranking.lambdarank import binned, fit_lambdarank
from models.ranking.past_days import PastDays
from models.ranking.samples import Sample
from models.ranking.surface_ranker import LAMBDARANK, SOURCE, SurfaceRanker
from tests.models.ranking.small_market import CONFIG, PRODUCTS

N_CANDIDATES = 20


def sample_of(n_users: int) -> Sample:
    """What goes together best with what a user has is ordered."""
    rng = np.random.default_rng(0)
    names = feature_names(PRODUCTS)
    features = rng.random((n_users * N_CANDIDATES, len(names))).astype(np.float32)
    rows = np.repeat(np.arange(n_users), N_CANDIDATES)
    is_goal = np.zeros(len(rows), bool)
    is_goal[np.lexsort((-features[:, names.index("share_together")], rows))[::N_CANDIDATES]] = True
    return Sample(
        names,
        features,
        np.arange(0, len(rows) + 1, N_CANDIDATES),
        np.tile(np.arange(N_CANDIDATES, dtype=np.int32), n_users),
        is_goal.astype(np.int64),
        is_goal,
        np.ones(len(rows), np.float32),
        np.arange(n_users, dtype=np.uint64),
        np.ones(n_users, np.int64),
    )


def past_of(n_users: int) -> PastDays:
    sample = sample_of(n_users)
    return PastDays(sample, sample, sample, (), is_timed=True)


def ranker_of(past: PastDays, is_right: bool) -> SurfaceRanker:
    """One that learned what is ordered, or the opposite."""
    sample = past.learn if is_right else replace(past.learn, is_goal=~past.learn.is_goal)
    trees = fit_lambdarank(sample, binned(sample, 0), 15, seed=0)
    ranker = SurfaceRanker(sample.names, LAMBDARANK, "together", PRODUCTS.events, trees)
    rows = CalibrationRows.of(past.all_users)
    return calibrated(PRODUCTS, ranker, rows, trees.scores(past.all_users.features)[:, None])


def compared(challenger: SurfaceRanker, champion: SurfaceRanker | None, past: PastDays) -> Fitted:
    return against_champion(PRODUCTS, past, challenger, champion, {"order_by": LAMBDARANK})


def test_the_champion_stays_where_it_orders_better_beyond_chance() -> None:
    past = past_of(10 * MIN_HELD_OUT)
    right, wrong = ranker_of(past, True), ranker_of(past, False)
    kept = compared(wrong, right, past)
    assert kept.ranker is right
    assert kept.report["why"] == "the champion orders better"
    assert kept.report["gain_on_champion"]["high"] < 0
    promoted = compared(right, wrong, past)
    assert promoted.ranker is right
    assert promoted.report["gain_on_champion"]["low"] > 0
    assert compared(right, right, past).report["why"] == "the champion does not order better"


def test_without_a_champion_to_compare_with_the_challenger_ranks() -> None:
    past = past_of(10 * MIN_HELD_OUT - 10)
    right, wrong = ranker_of(past, True), ranker_of(past, False)
    cases = (
        (None, "there is no champion"),
        (SurfaceRanker(right.names, SOURCE, "together"), "there is no champion"),
        (replace(right, names=right.names[1:]), "the champion knows other features"),
        (replace(right, events=("order",)), "the champion knows other features"),
        (right, "29 users held out, 30 are needed to judge the champion"),
    )
    for champion, why in cases:
        fitted = compared(wrong, champion, past)
        assert (fitted.ranker, fitted.report["why"]) == (wrong, why)


def test_the_champion_stays_where_no_challenger_orders_better_than_the_best_list() -> None:
    past = past_of(10 * MIN_HELD_OUT)
    config = replace(CONFIG, ranker="lambdarank")
    champion = replace(ranker_of(past, True), best_list="popular_10d")

    def learnt(best_list: str, champion: SurfaceRanker | None) -> Fitted:
        """Of a challenger that cannot order better than a list which is always right."""
        alone = SurfaceRanker(past.learn.names, SOURCE, best_list)
        of_list = np.ones(len(past.judged))
        return _learnt(PRODUCTS, past, config, alone, of_list, champion, {"ndcg10": {}})

    fitted = learnt("popular_10d", champion)
    assert fitted.ranker is champion
    assert fitted.report["gain_of_champion"]["mean"] > 0
    assert fitted.report["why"] == (
        "no ranker orders better than the best list; the champion orders better than it"
    )
    assert fitted.report["order_by"] == LAMBDARANK
    wrong = ranker_of(past, False)
    others = (None, wrong, replace(champion, names=champion.names[1:]))
    for champion in others:
        fitted = learnt("popular_10d", champion)
        assert (fitted.ranker.order_by, fitted.ranker.best_list) == (SOURCE, "popular_10d")
        assert fitted.report["why"] == "no ranker orders better than the best list"


def test_nobody_learns_from_users_who_are_held_out() -> None:
    sample = sample_of(100)
    assert sample.is_held_out.sum() == 10
    past = PastDays(sample.of_users(~sample.is_held_out), sample, sample, (), is_timed=True)
    assert not past.refit().is_held_out.any()
    assert len(past.refit()) == 180


def test_calibrated_probabilities_add_up_to_what_happened() -> None:
    past = past_of(200)
    ranker = ranker_of(past, True)
    assert set(ranker.calibrations) == {"order"}, "nothing else happened"
    expected = goal_scores(PRODUCTS, ranker, past.judged).sum()
    assert abs(expected - 200) < 2


def test_what_outcomes_are_worth_orders_also_where_lambdarank_alone_ranks() -> None:
    """What is ordered follows one feature, what is liked another."""
    sample = sample_of(400)
    by_likes = sample.feature("share_factors")
    rows = sample.rows
    liked = np.zeros(len(rows), bool)
    liked[np.lexsort((-by_likes, rows))[::N_CANDIDATES]] = True
    like = PRODUCTS.events.index("like")
    sample = replace(sample, events=sample.events | liked.astype(np.int64) << like)
    past = PastDays(sample, sample, sample, (), is_timed=True)
    alone = SurfaceRanker(sample.names, SOURCE, "together")
    config = replace(CONFIG, ranker="lambdarank")
    fitted = _learnt(PRODUCTS, past, config, alone, np.zeros(400), None, {"ndcg10": {}})
    assert fitted.ranker.order_by == LAMBDARANK
    assert set(fitted.ranker.event_trees) == {"like"}, "an order is what LambdaRank learns"

    def share_first(happened: np.ndarray, worth: dict[str, float]) -> float:  # type: ignore[type-arg]
        """Users of whom the most valuable is what happened."""
        outcomes = tuple(replace(o, worth=worth.get(o.event, 0.0)) for o in PRODUCTS.outcomes)
        surface = replace(PRODUCTS, outcomes=outcomes)
        probabilities = fitted.ranker.probabilities(sample.features)
        values = fitted.ranker.values(surface, sample.features, probabilities)
        first = np.lexsort((-values, rows))[::N_CANDIDATES]
        return float(happened[first].mean())

    assert share_first(sample.is_goal, {"order": 1.0, "like": 0.05}) > 0.9
    assert share_first(liked, {"order": 0.05, "like": 1.0}) > 0.9
    assert share_first(liked, {"order": 1.0}) < 0.2


def test_where_goals_are_too_few_for_a_probability_the_best_list_ranks() -> None:
    sample = sample_of(MIN_EVENTS - 1)
    past = PastDays(sample, sample, sample, (), is_timed=True)
    alone = SurfaceRanker(sample.names, SOURCE, "together")
    worst = np.zeros(len(sample))
    fitted = _learnt(PRODUCTS, past, CONFIG, alone, worst, None, {"ndcg10": {}})
    assert fitted.ranker is alone
    assert fitted.report["why"] == "no goal was reached 20 times"


def test_lambdarank_orders_unless_another_is_better_beyond_chance_or_it_is_of_no_use() -> None:
    rng = np.random.default_rng(0)
    best_list, noise = np.full(100, 0.2), rng.normal(0, 0.1, 100)
    noise -= noise.mean()
    orders = {"lambdarank": best_list + 0.1, "network": best_list, "mixture": best_list + 0.101}
    orders["mixture"] = orders["mixture"] + noise
    assert _chosen(orders, best_list) == "lambdarank"
    assert _chosen({**orders, "mixture": best_list + 0.101}, best_list) == "mixture"
    assert _chosen({**orders, "lambdarank": best_list}, best_list) == "mixture"
