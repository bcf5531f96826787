"""The network with an item side."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.errors import ContractError
from models.ranking.network import CHUNK, ItemNetwork, fit_network
from models.ranking.samples import Sample

NAMES = ("place_together", "item_age", "user_n_items", "price_gap")


def sample_of(n_users: int = 300, n: int = 20) -> Sample:
    """What is nearest to the user's price is bought; what is oldest is viewed."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n_users * n, len(NAMES))).astype(np.float32)
    features[rng.random(len(features)) < 0.2, 0] = np.nan
    rows = np.repeat(np.arange(n_users), n)
    is_goal, is_viewed = np.zeros((2, len(rows)), bool)
    is_goal[np.lexsort((np.abs(features[:, 3]), rows))[::n]] = True
    is_viewed[np.lexsort((-features[:, 1], rows))[::n]] = True
    return Sample(
        NAMES,
        features,
        np.arange(0, len(rows) + 1, n),
        np.tile(np.arange(n, dtype=np.int32), n_users),
        is_goal + 2 * is_viewed,
        is_goal,
        np.ones(len(rows), np.float32),
        np.arange(n_users, dtype=np.uint64),
        np.ones(n_users, np.int64),
    )


def test_what_users_buy_and_view_is_learnt_each_by_a_head_of_its_own() -> None:
    sample = sample_of()
    network = fit_network(sample, 2, 20, seed=0)
    scores = network.scores(sample.features)
    assert sample.ndcg10(scores[:, 0]).mean() > 0.8
    viewed = scores[sample.events >= 2, 2].mean()
    assert viewed > scores[sample.events < 2, 2].mean() + 2


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    sample = sample_of(50)
    first, again, other = (fit_network(sample, 2, 1, seed).to_bytes() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_candidate_has_the_same_scores_whatever_stands_beside_it() -> None:
    network = ItemNetwork(NAMES, 2)
    features = np.random.default_rng(0).normal(size=(CHUNK + 100, 4)).astype(np.float32)
    of_all = network.scores(features)
    assert (network.scores(features[7:9]) == of_all[7:9]).all()
    assert (network.scores(features[CHUNK + 90 :]) == of_all[CHUNK + 90 :]).all()
    assert network.scores(features[:0]).shape == (0, 3)


def test_weights_of_another_network_are_refused() -> None:
    content = ItemNetwork(NAMES, 2).to_bytes()
    restored = ItemNetwork.of_bytes(content, NAMES, 2)
    assert restored.to_bytes() == content
    with pytest.raises(ContractError) as error:
        ItemNetwork.of_bytes(content, NAMES, 3)
    assert str(error.value) == "the network is of another version; fit the ranker anew"
