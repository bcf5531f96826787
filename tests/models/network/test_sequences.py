"""Encoders of sequences, and dropout."""

from __future__ import annotations

import pytest
import torch

from contracts.train_config import InputConfig
from models.network.dropout import Dropout
from models.network.sequences import EVENT_ENCODERS, TEXT_ENCODERS

CONFIG = InputConfig(id_buckets=32)


@pytest.mark.parametrize("name", EVENT_ENCODERS)
def test_holes_between_events_and_users_without_events_are_no_matter(name) -> None:
    torch.manual_seed(0)
    encoder = EVENT_ENCODERS[name](CONFIG).eval()
    verbs = torch.tensor([[0, 0, 1, 2], [1, 0, 2, 0], [0, 0, 0, 0]])
    items = torch.tensor([[0, 0, 5, 6], [5, 0, 6, 0], [0, 0, 0, 0]])
    categories = torch.tensor([[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    vectors = encoder(verbs, items, categories, torch.zeros(3, 4, 2))
    torch.testing.assert_close(vectors[0], vectors[1])
    assert (vectors[2] == 0).all()


def test_a_recurrent_encoder_knows_what_came_last() -> None:
    torch.manual_seed(0)
    encoder = EVENT_ENCODERS["recurrent"](CONFIG).eval()
    verbs = torch.tensor([[1, 2], [2, 1]])
    none = torch.zeros_like(verbs)
    vectors = encoder(verbs, none, none, torch.zeros(2, 2, 2))
    assert not torch.allclose(vectors[0], vectors[1])


@pytest.mark.parametrize("name", TEXT_ENCODERS)
def test_words_are_read_and_none_are_nothing(name) -> None:
    torch.manual_seed(0)
    vectors = TEXT_ENCODERS[name]()(torch.tensor([[0, 3, 4], [0, 0, 0]]))
    assert vectors[0].abs().sum() > 0
    assert (vectors[1] == 0).all()


@pytest.mark.parametrize("name", EVENT_ENCODERS)
def test_the_mix_of_categories_is_what_share_each_has(name) -> None:
    torch.manual_seed(0)
    encoder = EVENT_ENCODERS[name](CONFIG).eval()
    verbs = torch.ones(2, 4, dtype=torch.long)
    none, times = torch.zeros_like(verbs), torch.zeros(2, 4, 2)
    vectors = encoder(verbs, none, torch.tensor([[1, 2, 0, 1], [2, 1, 1, 0]]), times)
    one, two = encoder.mix.weight[1], encoder.mix.weight[2]
    for row in vectors[:, -len(one) :]:
        torch.testing.assert_close(row, (2 * one + two) / 3)


def test_dropout_drops_its_share_and_what_is_kept_makes_up_for_it() -> None:
    torch.manual_seed(0)
    layer, x = Dropout(0.3), torch.ones(400, 501, requires_grad=True)
    output = layer(x)
    kept = output > 0
    assert kept.float().mean().item() == pytest.approx(179 / 256, abs=0.005)
    assert output[kept].unique().tolist() == pytest.approx([256 / 179])
    assert output.mean().item() == pytest.approx(1.0, abs=0.01)
    # No row and no column is dropped as a whole, nor neighbours together.
    assert kept.float().mean(0).std().item() == pytest.approx((0.3 * 0.7 / 400) ** 0.5, rel=0.1)
    both = (kept[:, 1:] & kept[:, :-1]).float().mean().item()
    assert both == pytest.approx((179 / 256) ** 2, abs=0.005)
    output.sum().backward()
    assert torch.equal(x.grad, output.detach())
    assert not torch.equal(layer(x) > 0, kept)
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert [(Dropout(p)(x) > 0).any().item() for p in (0.001, 0.999)] == [True, True]
    assert not (Dropout(0.001)(x) > 0).all()
