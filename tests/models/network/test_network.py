"""The network's parts: inputs, encoders of sequences, trunks, and how losses are balanced."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import mean_tweedie_deviance

from contracts.kinds import MultiLabel
from contracts.tables import USER_FEATURES
from contracts.tasks import TASKS
from contracts.train_config import TrainConfig
from models.data import encoders
from models.data.arrow_schema import arrow_schema
from models.data.batches import Batch, to_batch
from models.data.label_layout import Layout
from models.data.numeric_transforms import quantiles
from models.evaluation.calibration_error import ece, ece_by_chance
from models.evaluation.metrics import decided, gini, poisson_deviance, tweedie_deviance
from models.network.network import ALIGNMENT, PADDING, Network, PiecewiseNumbers
from models.network.trunks import TRUNKS
from models.training.lightning_module import MultiTaskModule, one_cycle, without_events
from models.training.loss_balance import AGGREGATORS, balance_of
from models.training.weight_average import RunningMean
from tests.models.simulated_examples import features

CONFIG = TrainConfig().changed(
    width=16, depth=1, n_experts=2, members=3, id_buckets=32, dropout=0.0
)
LAYOUT = Layout(TASKS, {t.name: ("a", "b") for t in TASKS if isinstance(t.kind, MultiLabel)})
N = 40


def rows(seed: int = 1) -> pa.Table:
    columns, _ = features(N, date(2025, 6, 1), seed)
    return pa.Table.from_pydict(columns, schema=arrow_schema(USER_FEATURES))


@pytest.fixture(scope="module")
def encoder() -> encoders.Encoder:
    return encoders.fit(rows().to_batches(), CONFIG.inputs.id_buckets)


@pytest.fixture(scope="module")
def batch(encoder: encoders.Encoder) -> Batch:
    labels = np.ones((N, LAYOUT.width))
    labels[::2] = 2.0 if LAYOUT.width == 0 else 1.0
    labels[:7] = np.nan
    return to_batch(encoder.encode(rows()), labels)


def network_of(encoder: encoders.Encoder, **changed: Any) -> Network:
    torch.manual_seed(0)
    return Network(CONFIG.changed(**changed), LAYOUT, encoder)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_a_trunk_gives_every_task_its_outputs_and_all_of_it_learns(trunk, encoder, batch) -> None:
    network = network_of(encoder, trunk=trunk)
    outputs = network(batch)
    for task in TASKS:
        assert outputs[task.name].shape == (N, network.heads[task.name].n_outputs)
    sum(logits.square().sum() for logits in outputs.values()).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None]
    assert idle == []
    alone = network.eval()(batch.take(torch.tensor([3])))
    torch.testing.assert_close(alone["spend_30d"][0], network(batch)["spend_30d"][3])


def test_a_tower_sees_the_inputs_beside_what_the_trunk_made_of_them(encoder, batch) -> None:
    network = network_of(encoder).eval()
    before = network(batch)["churn_28d"]
    column = network.owners.index("n_views_7d")
    with torch.no_grad():
        network.towers["churn_28d"].wide.weight[0, column] = 2.0
    gained = network(batch)["churn_28d"] - before
    torch.testing.assert_close(gained[:, 0], 2 * network.inputs(batch)[:, column])
    narrow = network_of(encoder, wide=False)
    assert not any("wide" in name for name in narrow.state_dict())
    assert narrow(batch)["churn_28d"].shape == before.shape


def test_members_of_an_ensemble_differ_and_their_mean_is_the_answer(encoder, batch) -> None:
    network = network_of(encoder, trunk="ensemble").eval()
    members = network.members(batch)["churn_28d"]
    assert members.shape == (N, 3, 1)
    assert (members.std(dim=1) > 1e-4).float().mean() > 0.9
    torch.testing.assert_close(network(batch)["churn_28d"], members.mean(dim=1))


def test_a_short_task_stays_within_the_long_one_for_every_member(encoder, batch) -> None:
    members = network_of(encoder, trunk="ensemble").members(batch)
    assert (members["purchase_7d"] <= members["purchase_30d"] + 1e-6).all()


def test_a_number_fills_the_bins_below_it() -> None:
    numbers = PiecewiseNumbers(CONFIG.changed(numeric_width=2).inputs, [(-1.0, 0.0, 2.0), ()])
    with torch.no_grad():
        numbers.weight.zero_()
        numbers.weight[0, 0, 0] = 1.0  # the first bin of the first feature
        numbers.weight[0, 1, 1] = 1.0  # the second
        numbers.weight[1, 2, 0] = 1.0  # the value of the second feature, which has no bins
    x = torch.tensor([[-2.0, 5.0], [-0.5, 6.0], [1.0, 7.0], [9.0, 8.0]])
    with_indicators = torch.cat([x, torch.zeros(4, 4)], dim=1)
    bins = numbers(with_indicators)
    assert bins[:, :2].tolist() == [[0, 0], [0.5, 0], [1, 0.5], [1, 1]]
    assert bins[:, 2].tolist() == [5, 6, 7, 8]
    with_indicators[:, 2] = 1.0  # missing: no bin is filled
    assert numbers(with_indicators)[:, :2].tolist() == [[0, 0]] * 4


def test_quantiles_hold_equally_many_and_ties_are_one_edge() -> None:
    edges = quantiles(np.array([0.0] * 60 + list(range(1, 41))), 10)
    assert edges[0] == 0.0
    assert len(edges) == len(set(edges)) == 5
    assert quantiles(np.array([3.0, np.nan, 3.0]), 10) == ()
    amounts = np.array([-0.5] * 95 + [1.0, 2.0, 3.0, 4.0, np.nan])
    assert len(quantiles(amounts, 10)) <= 2
    assert quantiles(amounts, 3, amounts == -0.5) == (-0.5, 1.0, 2.0, 3.0, 4.0)
    assert quantiles(amounts[:95], 3, amounts[:95] == -0.5) == ()
    assert quantiles(np.array([np.nan]), 10) == ()


def test_quantiles_do_not_depend_on_the_order_of_rows(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "SAMPLE_ROWS", 12)
    table = rows()
    turned = table.take(list(range(N - 1, -1, -1)))
    forth, back = (
        encoders.fit(x.to_batches(max_chunksize=k), 16) for x, k in ((table, 40), (turned, 7))
    )
    for one, two in zip(forth.edges, back.edges, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_the_share_of_unseen_ids_is_told(encoder) -> None:
    columns, _ = features(N, date(2025, 6, 1), 1)
    columns["country"] = ["a"] * 10 + ["nowhere"] * 20 + [None] * 10
    table = pa.Table.from_pydict(columns, schema=arrow_schema(USER_FEATURES))
    assert encoder.unseen(table)["country"] == pytest.approx(2 / 3)


def gradients(encoder: encoders.Encoder, batch: Batch, balance: str) -> dict[str, torch.Tensor]:
    network = network_of(encoder, trunk="shared_bottom", balance=balance)
    module = MultiTaskModule(network, network_config(balance), {t.name: 1.0 for t in TASKS})
    module.training_step(batch, 0).backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def network_config(balance: str) -> TrainConfig:
    return CONFIG.changed(trunk="shared_bottom", balance=balance)


def test_a_direction_that_is_the_mean_is_the_plain_gradient(encoder, batch, monkeypatch) -> None:
    weights = sum(t.weight for t in TASKS)
    monkeypatch.setitem(AGGREGATORS, "upgrad", lambda: lambda jacobian: jacobian.sum(0) / weights)
    fixed, same = gradients(encoder, batch, "fixed"), gradients(encoder, batch, "upgrad")
    for name, gradient in fixed.items():
        torch.testing.assert_close(same[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("balance", ["uncertainty", *AGGREGATORS])
def test_every_balance_makes_a_step(balance, encoder, batch) -> None:
    of_parameters = gradients(encoder, batch, balance)
    assert all(torch.isfinite(g).all() for g in of_parameters.values())
    assert of_parameters["trunk.layers.0.weight"].abs().sum() > 0


def test_tasks_that_pull_apart_are_not_made_worse() -> None:
    first, second = TASKS[:2]
    balance = balance_of("upgrad", (first, second))
    shared = torch.tensor([[1.0, 0.0]], requires_grad=True)
    leaf = shared.detach().requires_grad_()
    losses = {
        first.name: 3 * leaf[0, 0] + leaf[0, 1],
        second.name: -leaf[0, 0] + leaf[0, 1],
    }
    balance(losses, shared, leaf).backward()
    assert shared.grad is not None
    for row in ([3.0, 1.0], [-1.0, 1.0]):
        assert (shared.grad @ torch.tensor(row)).item() >= -1e-4


def test_dropped_events_are_as_if_they_had_not_happened(batch) -> None:
    torch.manual_seed(0)
    remaining = without_events(batch, 0.5)
    n_events = int((batch.verbs > 0).sum())
    assert 0 < int((remaining.verbs > 0).sum()) < n_events
    gone = (batch.verbs > 0) & (remaining.verbs == 0)
    assert (remaining.items[gone] == 0).all()
    assert (remaining.categories[gone] == 0).all()
    assert (remaining.times[gone] == 0).all()


def test_one_cycle_rises_and_falls() -> None:
    rates = [one_cycle(k / 20) for k in range(21)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(1.0)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_the_calibration_error_is_the_gap_between_said_and_seen() -> None:
    labels = np.array([0.0, 1.0] * 500)
    assert ece(labels, np.full(1000, 0.5)) == pytest.approx(0.0)
    assert ece(labels, np.full(1000, 0.8)) == pytest.approx(0.3)


def test_few_rows_have_a_calibration_error_by_chance() -> None:
    # Of two coins none falls on heads in a quarter of the cases, and both do in another.
    assert ece_by_chance(np.full(20, 0.5)) == pytest.approx(0.25)
    rng = np.random.default_rng(0)
    for least, most, n in ((0.05, 0.95, 300), (0.002, 0.02, 2000)):
        chances = rng.uniform(least, most, n)
        drawn = [ece((rng.random(n) < chances).astype(float), chances) for _ in range(400)]
        assert ece_by_chance(chances) == pytest.approx(np.mean(drawn), rel=0.05)
    assert ece_by_chance(np.array([0.0, 1.0])) == 0.0


def test_yes_to_as_many_as_are_positive_gives_one_number_for_recall_and_precision() -> None:
    labels = np.array([1.0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    values = decided(labels, scores)
    assert values == {"f1": 0.5, "accuracy": 0.8, "recall_top_decile": 0.5}


def test_deviances_are_those_of_the_textbook() -> None:
    seen, said = np.array([0.0, 0.0, 1.0, 7.0, 250.0]), np.array([0.1, 3.0, 1.0, 9.0, 80.0])
    for mine, power in ((poisson_deviance, 1.0), (tweedie_deviance, 1.5)):
        assert mine(seen, said).mean() == pytest.approx(
            mean_tweedie_deviance(seen, said, power=power)
        )
        assert mine(seen, seen).max() < 0.01


def test_gini_is_one_for_the_right_order_and_none_for_a_constant() -> None:
    amounts = np.array([0.0, 0, 5, 1, 20])
    assert gini(amounts, amounts * 3) == pytest.approx(1.0)
    assert gini(amounts, -amounts) == pytest.approx(-1.0)
    assert gini(amounts, np.ones(5)) == pytest.approx(0.0)


def test_the_mean_of_weights_reaches_back_over_the_last_steps() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    mean = RunningMean(layer, 0.5)
    with torch.no_grad():
        expected = float(layer.weight)
        for step, value in enumerate((2.0, 4.0, -6.0, 8.0), 1):
            layer.weight.fill_(value)
            mean.update()
            kept = min(0.5, step / (step + 10))
            expected = kept * expected + (1 - kept) * value
    assert float(mean.means[0]) == pytest.approx(expected, rel=1e-6)
    mean.swap()
    assert float(layer.weight.detach()) == pytest.approx(expected, rel=1e-6)
    mean.swap()
    assert float(layer.weight.detach()) == 8.0


def test_what_is_validated_is_the_mean_and_training_goes_on_from_the_weights(encoder) -> None:
    module = MultiTaskModule(network_of(encoder), CONFIG, {t.name: 1.0 for t in TASKS})
    module.on_fit_start()
    weight = module.network.trunk.below[0].weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    module.on_validation_start()
    assert torch.equal(weight, before)
    module.on_validation_end()
    assert torch.equal(weight, before + 1.0)


def test_some_rows_are_trained_on_without_their_sequences(encoder, batch) -> None:
    network = network_of(encoder, sequence_dropout=0.5, input_dropout=0.0)
    of_sequences = [k for k, owner in enumerate(network.owners) if owner in ("events", "text")]
    with torch.no_grad():
        whole = network.eval().inputs(batch)
        inputs = network.train().inputs(batch)
    has_sequences = whole[:, of_sequences].abs().sum(1) > 0
    dropped = (inputs[:, of_sequences] == 0).all(1) & has_sequences
    assert 0 < int(dropped.sum()) < int(has_sequences.sum())
    others = [k for k in range(whole.shape[1]) if k not in of_sequences]
    torch.testing.assert_close(inputs[:, others], whole[:, others])
    assert (inputs[:, of_sequences] == whole[:, of_sequences])[~dropped].any(1).all()


def test_an_item_that_training_has_not_seen_says_nothing(encoder, batch) -> None:
    network = network_of(encoder).eval()
    other = replace(
        batch, items=(batch.items * 7) % (CONFIG.inputs.id_buckets - 1) + (batch.items > 0)
    )
    torch.testing.assert_close(network.inputs(batch), network.inputs(other))


def test_sequences_may_be_left_unread(encoder, batch) -> None:
    network = network_of(encoder, events="none", text="none").eval()
    assert not {"events", "text"} & set(network.owners)
    assert network.inputs(batch).shape[1] == len(network.owners)


def test_biases_do_not_decay(encoder) -> None:
    network = network_of(encoder)
    module = MultiTaskModule(network, CONFIG, {t.name: 1.0 for t in TASKS})
    decays, stays, tables = module.configure_optimizers().param_groups
    assert (decays["weight_decay"], stays["weight_decay"]) == (CONFIG.optimiser.weight_decay, 0.0)
    kept = {id(p) for p in stays["params"]}
    assert all(id(tower.bias) in kept for tower in network.towers.values())
    assert all(id(tower.weight) not in kept for tower in network.towers.values())
    n = len(decays["params"]) + len(kept) + len(tables["params"])
    assert n == sum(p.requires_grad for p in network.parameters())


def test_embeddings_learn_at_a_rate_of_their_own(encoder) -> None:
    config = CONFIG.changed(learning_rate=1e-3, id_learning_rate=0.03)
    network = Network(config, LAYOUT, encoder)
    module = MultiTaskModule(network, config, {t.name: 1.0 for t in TASKS})
    optimiser = module.configure_optimizers()
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    fast = {name for name, p in network.named_parameters() if rates[id(p)] == 0.03}
    assert fast == {
        "ids.weight", "events.inputs.verb.weight", "events.inputs.item.weight",
        "events.inputs.category.weight", "events.mix.weight", "text.words.weight",
    }  # fmt: skip
    assert len(rates) == sum(1 for p in network.parameters() if p.requires_grad)


def test_inputs_are_as_wide_as_products_like_them_and_padding_is_nothing(encoder, batch) -> None:
    network = network_of(encoder)
    inputs = network.inputs(batch)
    padding = torch.tensor([owner == PADDING for owner in network.owners])
    assert inputs.shape[1] % ALIGNMENT == 0
    assert 0 < padding.sum() < ALIGNMENT
    assert (inputs[:, padding] == 0).all()


def test_parts_of_a_batch_are_scored_as_the_whole(encoder, batch) -> None:
    network = network_of(encoder).eval()
    with torch.inference_mode():
        whole = network(batch)
        parts = [network(part) for part in batch.parts(7)]
    for name, outputs in whole.items():
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), outputs)
