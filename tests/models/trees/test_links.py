"""The scale on which network and trees are mixed, kind by kind."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
import torch

from contracts.errors import ContractError
from contracts.kinds import (
    Binary,
    Count,
    Kind,
    MultiClass,
    MultiLabel,
    Ordinal,
    Regression,
    ZeroInflatedLogNormal,
)
from models.network import heads
from models.network.calibration import Calibration
from models.network.heads import head_of
from models.training.tree_fit import targets_of
from models.trees import links
from models.trees.links import inverse_softplus, link_of
from models.trees.mixtures import mixed, n_weights
from models.trees.task_trees import TaskTrees, of_archive, to_archive

CLASSES = ("a", "b", "c")
EXAMPLES: dict[str, Kind] = {
    "binary": Binary(),
    "count": Count(),
    "regression": Regression(),
    "amount": ZeroInflatedLogNormal(),
    "ordinal": Ordinal(5),
    "classes": MultiClass(CLASSES),
    "labels": MultiLabel(3),
}
BOTH = pytest.mark.parametrize("kind", EXAMPLES.values(), ids=EXAMPLES.keys())


def random_outputs(kind: Kind, n: int = 200) -> torch.Tensor:
    head = head_of(kind, CLASSES)
    return torch.randn(n, head.n_outputs, generator=torch.Generator().manual_seed(1))


def test_every_kind_has_a_link_and_an_objective() -> None:
    assert set(links.KINDS) == set(heads.KINDS) == {type(kind) for kind in EXAMPLES.values()}
    for kind in EXAMPLES.values():
        assert len(targets_of(kind, 3)) >= 1


@BOTH
def test_what_goes_onto_the_scale_and_back_says_the_same(kind: Kind) -> None:
    head, outputs = head_of(kind, CLASSES), random_outputs(kind)
    link = link_of(kind, head)
    scale = link.of_outputs(outputs)
    assert scale.shape[1] == len(link.parameters)
    again = link.outputs(scale)
    before, after = (head.predict(x, Calibration()) for x in (outputs, again))
    for suffix, values in before.items():
        torch.testing.assert_close(after[suffix], values, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.rank(again), head.rank(outputs), rtol=1e-4, atol=1e-4)


@BOTH
def test_whoever_has_all_the_weight_is_alone(kind: Kind) -> None:
    head, outputs = head_of(kind, CLASSES), random_outputs(kind)
    raw = torch.randn(len(outputs), n_raw(kind), generator=torch.Generator().manual_seed(2))
    n = n_weights(kind, head)
    alone = mixed(kind, head, (1.0,) * n, outputs, None, 0.3)
    assert alone is outputs
    trees = mixed(kind, head, (0.0,) * n, None, raw, 0.3)
    both = mixed(kind, head, (0.0,) * n, outputs, raw, 0.3)
    torch.testing.assert_close(both, trees, rtol=1e-4, atol=1e-4)


def n_raw(kind: Kind) -> int:
    targets = targets_of(kind, 3)
    return sum(int(str(objective.get("num_class", 1))) for objective, _ in targets)


@BOTH
def test_half_of_each_lies_between_them(kind: Kind) -> None:
    head, outputs = head_of(kind, CLASSES), random_outputs(kind)
    raw = torch.randn(len(outputs), n_raw(kind), generator=torch.Generator().manual_seed(2))
    n, link = n_weights(kind, head), link_of(kind, head)
    scale = [
        link.of_outputs(mixed(kind, head, (share,) * n, outputs, raw, 0.3))
        for share in (0.0, 0.5, 1.0)
    ]
    torch.testing.assert_close(scale[1], (scale[0] + scale[2]) / 2, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        (Binary(), ""),
        (Count(), "_expected"),
        (Regression(), "_expected"),
        (Ordinal(3), "_is_2"),
        (MultiClass(CLASSES), "_is_b"),
    ],
    ids=["binary", "count", "regression", "ordinal", "classes"],
)
def test_trees_alone_say_what_lightgbm_says(kind: Kind, suffix: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 4)).astype(np.float32)
    level = np.clip(np.round(x[:, 0] + 1 + rng.normal(0, 0.5, 600)), 0, 2)
    labels = level + 1 if isinstance(kind, Ordinal | MultiClass) else level
    labels = (level > 0).astype(float) if isinstance(kind, Binary) else labels
    ((objective, target),) = targets_of(kind)
    booster = lgb.train(
        {**objective, "verbosity": -1, "num_threads": 1}, lgb.Dataset(x, target(labels)), 20
    )
    expected = np.asarray(booster.predict(x)).reshape(len(x), -1)
    trees = TaskTrees((booster.model_to_string(),), 0.0)
    head = head_of(kind)
    raw = torch.from_numpy(trees.raw(x))
    scores = head.predict(mixed(kind, head, (0.0,), None, raw, 0.0), Calibration())[suffix]
    column = 1 if expected.shape[1] > 1 else 0
    np.testing.assert_allclose(scores.double().numpy(), expected[:, column], rtol=1e-4, atol=1e-6)
    contributions = trees.contributions(x)
    np.testing.assert_allclose(contributions.sum(axis=2), trees.raw(x), rtol=1e-6, atol=1e-6)
    again = of_archive(to_archive({"t": trees}), {"t": 0.0})["t"]
    assert (again.raw(x) == trees.raw(x)).all()
    assert (trees.raw(x[:7]) == trees.raw(x)[:7]).all()  # whatever is beside a row
    assert trees.gain_shares.argmax() == 0  # it is what labels are made of
    assert abs(trees.gain_shares.sum() - 1) < 1e-9


def test_an_amount_of_trees_is_what_is_expected_over_all() -> None:
    kind = ZeroInflatedLogNormal()
    head = head_of(kind)
    raw = torch.tensor([[0.0, 5.0], [-3.0, 2.0], [4.0, 11.0]])
    scores = head.predict(mixed(kind, head, (0.0, 0.0), None, raw, -0.7), Calibration())
    torch.testing.assert_close(scores["_probability"], torch.sigmoid(raw[:, 0]))
    torch.testing.assert_close(scores["_expected"].float(), torch.exp(raw[:, 1]), rtol=1e-4, atol=0)


def test_the_inverse_of_softplus() -> None:
    x = torch.tensor([1e-6, 0.1, 1.0, 30.0])
    torch.testing.assert_close(torch.nn.functional.softplus(inverse_softplus(x)), x)


def test_an_archive_of_trees_that_cannot_be_read_is_said_to_be_damaged() -> None:
    archive = to_archive({"t": TaskTrees(("tree " * 500,))})
    start = archive.index(b"t/0.txt") + len("t/0.txt")
    directory = archive.index(b"PK\x01\x02")

    def changed(*places: int, by: int) -> bytes:
        return bytes(b ^ by if i in places else b for i, b in enumerate(archive))

    for content in (
        b"",
        archive[: len(archive) // 2],
        changed(*range(start, directory), by=0xFF),  # what is packed is no Deflate
        changed(6, directory + 8, by=0x01),  # it says that it is encrypted
        changed(8, directory + 10, by=0x40),  # a compression that nobody knows
        to_archive({"other": TaskTrees(("tree",))}),  # the task has no trees in it
    ):
        with pytest.raises(ContractError, match="^the archive of trees is damaged$"):
            of_archive(content, {"t": 0.0})
