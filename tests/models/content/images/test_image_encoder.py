"""Encoders of pictures from a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from contracts.errors import ContractError
from models.content.images.efficientnet_lite import (
    DIMENSION,
    EfficientNetLite0,
    lite0_of,
    published_names,
)
from models.content.images.image_encoder import load_image_encoder
from tests.models.content.encoders.tiny_encoders import write_image_onnx, write_json


def published() -> dict[str, Tensor]:
    """Random weights of EfficientNet-Lite0, under the names that they are published by."""
    random, tensors = torch.Generator().manual_seed(0), {}
    for convolution, name, norm in published_names(EfficientNetLite0()):
        weight = convolution.conv.weight
        fan = weight[0].numel()
        tensors[f"{name}.weight"] = torch.randn(weight.shape, generator=random) / fan**0.5
        for part, low in (("weight", 0.5), ("bias", 0.0), ("running_var", 0.5)):
            tensors[f"{norm}.{part}"] = low + torch.rand(len(weight), generator=random)
        tensors[f"{norm}.running_mean"] = torch.randn(len(weight), generator=random)
    return tensors


def write_lite0(folder: Path, tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    write_json(folder / "config.json", {"model_type": "efficientnet-lite0"})
    channels = {"mean": [127 / 255] * 3, "std": [128 / 255] * 3}
    write_json(folder / "preprocess.json", {"size": 32, "resampling": "bicubic", **channels})
    return folder


def pixels(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_pictures_are_normalised_as_the_folder_says(tmp_path: Path) -> None:
    encoder = load_image_encoder(write_image_onnx(tmp_path))
    given = pixels(3, 8)
    expected = (given.mean((1, 2)) / 255 - 0.5) / 0.5
    assert encoder.framing.size == 8
    np.testing.assert_allclose(encoder.vectors(given), expected, atol=1e-6)


def test_lite0_gives_each_picture_a_vector_whatever_is_beside_it(tmp_path: Path) -> None:
    encoder = load_image_encoder(write_lite0(tmp_path, published()), "fp32")
    three, one = encoder.vectors(pixels(3, 32)), encoder.vectors(pixels(3, 32)[2:])
    assert three.shape == (3, DIMENSION)
    assert three.dtype == np.float32
    np.testing.assert_allclose(three[2:], one, rtol=1e-4, atol=1e-5)


def test_lite0_in_half_the_bits_says_nearly_the_same(tmp_path: Path) -> None:
    folder = write_lite0(tmp_path, published())
    full, half = (load_image_encoder(folder, bits) for bits in ("fp32", "bf16"))
    a, b = full.vectors(pixels(2, 32)), half.vectors(pixels(2, 32))
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert (cosine > 0.99).all()
    assert full.encoder_id != half.encoder_id


def test_a_convolution_that_halves_pads_right_and_below() -> None:
    network = EfficientNetLite0()
    with torch.no_grad():
        network.stem.conv.weight.zero_()[:, 0, 0, 0] = 1.0  # the top left of each window
        assert network.stem.conv.bias is not None
        network.stem.conv.bias.zero_()
        given = torch.arange(16.0).view(1, 1, 4, 4).repeat(1, 3, 1, 1)
        assert network.stem(given)[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]


def test_weights_of_something_else_are_named() -> None:
    tensors = published()
    del tensors["_conv_head.weight"]
    tensors["_conv_stem.weight"] = torch.zeros(32, 1, 3, 3)
    with pytest.raises(ContractError) as error:
        lite0_of(tensors)
    assert str(error.value) == (
        "these are no weights of EfficientNet-Lite0:\n"
        "  _conv_stem: expected (32, 3, 3, 3), found (32, 1, 3, 3)\n"
        "  _conv_head.weight: expected a tensor, found none"
    )


def test_another_mean_is_another_encoder(tmp_path: Path) -> None:
    folder = write_image_onnx(tmp_path)
    before = load_image_encoder(folder).encoder_id
    assert load_image_encoder(folder).encoder_id == before
    write_json(folder / "preprocess.json", {"size": 8, "mean": [0.4] * 3, "std": [0.5] * 3})
    assert load_image_encoder(folder).encoder_id != before


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        ({"size": 8, "mean": [0.5], "std": [0.5] * 3}, "mean: expected three numbers, found [0.5]"),
        ({"size": 8, "mean": [0.5] * 3, "std": [0, 1, 1]}, "std: expected more than 0, found"),
        ({"mean": [0.5] * 3, "std": [0.5] * 3}, "size: expected pixels, found None"),
        ({"size": 8, "mean": [0] * 3, "std": [1] * 3, "pooling": "max"}, "pooling: expected one"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_said(
    tmp_path: Path, preprocess: dict[str, object], expected: str
) -> None:
    folder = write_image_onnx(tmp_path)
    write_json(folder / "preprocess.json", preprocess)
    with pytest.raises(ContractError) as error:
        load_image_encoder(folder)
    assert str(error.value).startswith(f"{folder / 'preprocess.json'}: {expected}")


def test_an_architecture_that_is_not_known_is_said(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "vit"})
    with pytest.raises(ContractError, match="model_type: expected one of efficientnet-lite0, onnx"):
        load_image_encoder(tmp_path)
