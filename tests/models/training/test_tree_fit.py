"""A task's boosted trees, on rows whose answer is known."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from contracts.kinds import Binary, MultiLabel
from contracts.tasks import Mask, Task
from contracts.train_config import TrainConfig
from models.network.heads import head_of
from models.training.tree_fit import fit_trees
from models.trees.rows import Rows

TASK = Task("buys", "Whether somebody buys.", Binary(), 7, "order", Mask("everybody"), ())


def rows(n: int, seed: int) -> Rows:
    """Of two features the first decides, most of the time."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    return Rows(x, (x[:, 0] + 0.5 * rng.normal(size=n) > 0).astype(np.float64))


@pytest.mark.parametrize(("n", "least"), [(2000, 100), (300, 30)])
def test_a_leaf_has_a_hundred_rows_or_a_tenth_of_few(n: int, least: int) -> None:
    train, valid = rows(n, 0), rows(n, 1)
    trees = fit_trees(TASK, head_of(TASK.kind, ()), train, valid, 0, TrainConfig())
    assert f"[min_data_in_leaf: {least}]" in trees.texts[0]
    nodes = lgb.Booster(model_str=trees.texts[0]).trees_to_dataframe()
    assert nodes[nodes.split_feature.isna()].groupby("tree_index").size().max() == 7


def test_few_rows_are_enough_for_a_split() -> None:
    train, valid = rows(60, 0), rows(60, 1)
    trees = fit_trees(TASK, head_of(TASK.kind, ()), train, valid, 0, TrainConfig())
    raw = trees.raw(valid.inputs)[:, 0]
    assert raw[valid.labels == 1].mean() > raw[valid.labels == 0].mean() + 1


def test_classes_of_a_multi_label_task_have_small_trees_of_their_own() -> None:
    task = Task("likes", "What somebody likes.", MultiLabel(2), 7, "order", Mask("everybody"), ())  # fmt: skip
    train, valid = rows(2000, 0), rows(2000, 1)
    both = [r._replace(labels=np.stack([r.labels, 1 - r.labels], axis=1)) for r in (train, valid)]
    trees = fit_trees(task, head_of(task.kind, ("a", "b")), *both, 0, TrainConfig())
    nodes = [lgb.Booster(model_str=text).trees_to_dataframe() for text in trees.texts]
    leaves = [n[n.split_feature.isna()].groupby("tree_index").size().max() for n in nodes]
    assert leaves == [4, 4]
