"""The network of pictures, and how it is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contracts.errors import ContractError, UsageError
from models.content.images.image_model import network_logits
from models.content.images.network import ImageNetwork, Shape, folded, normalised
from models.content.images.training import NOT_LABELLED, ImageTrainConfig, fit

SMALL = Shape(size=16, stem=8, widths=(8, 16), blocks=(1, 1))


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), dtype=np.uint8)


def test_what_is_folded_says_the_same() -> None:
    torch.manual_seed(0)
    network = ImageNetwork(SMALL, {"class": 3})
    with torch.no_grad():
        for _ in range(3):
            network(normalised(torch.from_numpy(pixels(32))))  # statistics of their own
    network.eval()
    given = normalised(torch.from_numpy(pixels(4)))
    with torch.no_grad():
        expected, found = network(given)["class"], folded(network)(given)["class"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_last_batch_of_one_picture_says_what_it_says_among_others() -> None:
    network = fit(
        pixels(9), {"class": np.arange(9) % 3}, {"class": 3},
        ImageTrainConfig(shape=SMALL, pictures_seen=32, batch=4),
    )  # fmt: skip
    nine = network_logits(network, pixels(9), batch=8)["class"]
    one = network_logits(network, pixels(9)[8:])["class"]
    assert nine.shape == (9, 3)
    torch.testing.assert_close(nine[8:], one, rtol=0.05, atol=0.02)  # bf16 where there is


def test_fewer_pictures_than_a_batch_are_shown_again_and_again() -> None:
    config = ImageTrainConfig(shape=SMALL, pictures_seen=64, batch=16)
    network = fit(pixels(3), {"class": np.array([0, 1, 0])}, {"class": 2}, config)
    assert network_logits(network, pixels(3))["class"].isfinite().all()


def test_pictures_without_labels_teach_nothing_but_statistics() -> None:
    labels = {"class": np.array([0, 1, NOT_LABELLED, NOT_LABELLED])}
    config = ImageTrainConfig(shape=SMALL, pictures_seen=64, batch=4)
    network = fit(pixels(4), labels, {"class": 2}, config)
    assert network_logits(network, pixels(4))["class"].isfinite().all()


def test_one_picture_is_too_few() -> None:
    with pytest.raises(ContractError, match="expected at least 2 pictures to learn from, found 1"):
        fit(pixels(1), {"class": np.array([0])}, {"class": 2}, ImageTrainConfig(shape=SMALL))


def test_a_network_that_sees_too_little_is_refused() -> None:
    with pytest.raises(UsageError, match="size: expected at least 8 pixels for 2 stages, found 4"):
        Shape(size=4, widths=(8, 16), blocks=(1, 1))
