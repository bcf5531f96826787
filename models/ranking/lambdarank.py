"""LightGBM's LambdaRank over the union of candidates (Burges, 2010): it orders what one user could
be shown, and says nothing of how probable anything is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from contracts.errors import ContractError
from models.ranking.samples import Sample
from models.ranking.small_trees import added_up, trees_of

ROUNDS = (10, 20, 40, 70)
"""Numbers of trees that are tried on the newest past day."""
BINS = {"max_bin": 63, "bin_construct_sample_cnt": 20_000, "verbose": -1}
"""How features are put into bins, before anything is learned: by so many rows, for bounds by all
of them are hardly others and take twice as long."""
PARAMETERS = {
    **BINS,
    "objective": "lambdarank",
    "lambdarank_truncation_level": 30,
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
}
"""Chosen on three days of a retailer. Small trees: larger ones overfit to what sold in
the months before."""

Doubles = npt.NDArray[np.float64]


class Trees:
    """Boosted trees, as LightGBM's text."""

    def __init__(self, text: str):
        try:
            self._booster = lgb.Booster(model_str=text)
        except lgb.basic.LightGBMError as error:
            raise ContractError(f"no trees of LightGBM: {error}") from None
        self.text = text
        self._trees = trees_of(text)

    def scores(
        self, features: npt.NDArray[np.float32], first: int = 0, rounds: int | None = None
    ) -> Doubles:
        """(C,) of features (C, F): the sum of so many trees from `first` on; None: of all."""
        last = None if rounds is None else first + rounds
        return added_up(self._trees[first:last], features)

    def first(self, rounds: int) -> Trees:
        """The first trees."""
        return Trees(self._booster.model_to_string(num_iteration=rounds))

    def gains(self, names: Sequence[str]) -> dict[str, float]:
        """Feature to its share of all that splits gained, the greatest first."""
        gains = self._booster.feature_importance("gain")
        order = np.argsort(-gains, kind="stable")
        return {names[i]: float(gains[i] / max(gains.sum(), 1e-12)) for i in order if gains[i] > 0}


def binned(sample: Sample, seed: int) -> lgb.Dataset:
    """Features in bins, once for all trees that learn from a sample: it takes as long as many of
    them."""
    return lgb.Dataset(
        sample.features,
        group=np.diff(sample.starts),
        params={**PARAMETERS, "seed": seed, "num_threads": 1},
        free_raw_data=False,
    ).construct()


def fit_lambdarank(sample: Sample, bins: lgb.Dataset, rounds: int, seed: int) -> Trees:
    """Trees that order the candidates of each user: what was relevant first."""
    bins.set_label(sample.is_goal.astype(np.int8))
    bins.set_weight(None)
    parameters = {**PARAMETERS, "seed": seed, "num_threads": 1}
    return Trees(lgb.train(parameters, bins, rounds).model_to_string())


def best_rounds(trees: Trees, judged: Sample) -> int:
    """The number of trees that orders best, of `ROUNDS`."""
    scores, means = np.zeros(len(judged.features)), {}
    for before, rounds in pairwise((0, *ROUNDS)):
        scores += trees.scores(judged.features, before, rounds - before)
        means[rounds] = float(np.nanmean(judged.ndcg10(scores)))
    return max(means, key=lambda rounds: (means[rounds], -rounds))
