"""Weights of a mixture, chosen on rows whose best mixture is known."""

from __future__ import annotations

import pytest
import torch

from contracts.kinds import Binary, Count, ZeroInflatedLogNormal
from contracts.tasks import Mask, Task
from models.network.heads import head_of
from models.training.mixture_fit import TaskRows, fit_weights


def task(kind: Binary | Count | ZeroInflatedLogNormal) -> Task:
    return Task("t", "T.", kind, 7, "order", Mask("all"), ())


def noise(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def binary_rows(n: int, of_network: float, of_trees: float, users: int | None = None) -> TaskRows:
    """Labels of a known chance; each member errs by normal noise of that spread."""
    truth = 1.5 * noise(n, 0)
    labels = torch.rand(n, generator=torch.Generator().manual_seed(3)) < torch.sigmoid(truth)
    return TaskRows(
        (truth + of_network * noise(n, 1)).unsqueeze(1),
        (truth + of_trees * noise(n, 2)).unsqueeze(1),
        labels.float(),
        users or n,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("of_network", "of_trees", "low", "high"),
    [(0.0, 2.0, 0.95, 1.0), (2.0, 0.0, 0.0, 0.05), (1.0, 1.0, 0.4, 0.6), (1.0, 2.0, 0.7, 0.9)],
)
def test_whoever_errs_less_weighs_more(
    of_network: float, of_trees: float, low: float, high: float
) -> None:
    """Of independent errors the best weights are as one over their variances."""
    binary = task(Binary())
    rows = binary_rows(20_000, of_network, of_trees)
    (weight,) = fit_weights(binary, head_of(binary.kind), rows, 0.0)
    assert low <= weight <= high


def test_few_rows_leave_the_plain_mean_and_so_do_many_rows_of_few_users() -> None:
    binary = task(Binary())
    head = head_of(binary.kind)
    few = fit_weights(binary, head, binary_rows(30, 0.0, 2.0), 0.0)[0]
    same_people = fit_weights(binary, head, binary_rows(20_000, 0.0, 2.0, users=30), 0.0)[0]
    many = fit_weights(binary, head, binary_rows(20_000, 0.0, 2.0), 0.0)[0]
    assert few < 0.8 < many
    assert same_people < 0.85 < many
    none = TaskRows(torch.zeros(0, 1), torch.zeros(0, 1), torch.zeros(0), 0)
    assert fit_weights(binary, head, none, 0.0) == (0.5,)


def test_a_member_whose_scale_is_wrong_is_judged_by_what_calibration_makes_of_it() -> None:
    binary = task(Binary())
    rows = binary_rows(20_000, 0.3, 2.0)
    small = TaskRows(0.3 * rows.outputs, 0.3 * rows.raw, rows.labels, rows.n_users)
    (weight,) = fit_weights(binary, head_of(binary.kind), small, 0.0)
    assert weight > 0.9


def test_chance_and_amount_have_weights_of_their_own() -> None:
    """The network knows who pays, the trees how much."""
    amount = task(ZeroInflatedLogNormal())
    n = 20_000
    chance, log_mean = 1.5 * noise(n, 0), 3 + noise(n, 4)
    some = torch.rand(n, generator=torch.Generator().manual_seed(3)) < torch.sigmoid(chance)
    labels = some * torch.exp(log_mean + 0.3 * noise(n, 5))
    log_expected = torch.nn.functional.logsigmoid(chance) + log_mean + 0.045
    wrong = 2 * noise(n, 6)
    network = torch.stack([chance, log_mean + wrong, torch.full((n,), -2.0)], dim=1)
    trees = torch.stack([chance + 3 * noise(n, 7), log_expected], dim=1)
    weights = fit_weights(amount, head_of(amount.kind), TaskRows(network, trees, labels, n), -2.0)
    assert weights[0] > 0.9
    assert weights[1] < 0.1
