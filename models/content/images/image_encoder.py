"""Any encoder of pictures from a folder: pixels in, vectors out; no code of the folder runs.

    model.safetensors   weights of an architecture that is known here, or
    model.onnx          any network, pixels (B, 3, S, S) in, (B, D) or (B, D, H, W) out
    config.json         {"model_type": "efficientnet-lite0"}; for ONNX {"model_type": "onnx"}
    preprocess.json     {"size": 160, "shorter_side": null, "resampling": "bicubic",
                         "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "pooling": "mean"}

Letters: B pictures, S side, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from contracts.errors import ContractError
from models.content.encoders.encoder_id import encoder_id
from models.content.encoders.folder import json_object
from models.content.encoders.precision import PRECISIONS, precision_of
from models.content.images.decoding import Framing
from models.content.images.efficientnet_lite import lite0_of

_LITE0, _ONNX = "efficientnet-lite0", "onnx"
_WEIGHTS = {_LITE0: "model.safetensors", _ONNX: "model.onnx"}
_POOLINGS = ("mean", "mean of both sides")
"""The picture as it is, or the mean of its vector and that of its mirror image, at twice the
cost."""
_REVISION = 1
"""Of the code that computes vectors: another one gives others."""


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become what the network was trained on."""

    framing: Framing
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Per channel, of values between 0 and 1."""
    pooling: str

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any], path: Path) -> Preprocessing:
        """Of the object in `preprocess.json`.

        Raises:
            ContractError: something is missing or makes no sense.
        """
        pooling = plain.get("pooling", "mean")
        if pooling not in _POOLINGS:
            raise ContractError(f"{path}: pooling: expected one of {_POOLINGS}, found {pooling!r}")
        channels: list[tuple[float, ...]] = []
        for name in ("mean", "std"):
            given = plain.get(name)
            if not isinstance(given, list) or len(given) != 3:
                raise ContractError(f"{path}: {name}: expected three numbers, found {given!r}")
            channels.append(tuple(map(float, given)))
        if not all(value > 0 for value in channels[1]):
            raise ContractError(f"{path}: std: expected more than 0, found {channels[1]}")
        if not isinstance(plain.get("size"), int):
            raise ContractError(f"{path}: size: expected pixels, found {plain.get('size')!r}")
        framing = Framing(
            plain["size"], plain.get("shorter_side"), plain.get("resampling", "bilinear")
        )
        return cls(framing, channels[0], channels[1], pooling)


class ImageEncoder:
    """A frozen network that gives each picture a vector."""

    def __init__(
        self,
        own_id: str,
        preprocessing: Preprocessing,
        network: Callable[[Tensor], Tensor],
        precision: str,
    ) -> None:
        self.encoder_id, self.precision = own_id, precision
        """SHA-256 over all that decides vectors; "fp32" or "bf16"."""
        self._preprocessing, self._network = preprocessing, network
        dtype = PRECISIONS[precision]
        self._mean = torch.tensor(preprocessing.mean).view(1, 3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(preprocessing.std).view(1, 3, 1, 1) * 255)
        self._dtype = dtype

    @property
    def framing(self) -> Framing:
        """The pixels that it takes."""
        return self._preprocessing.framing

    def vectors(self, pixels: np.ndarray) -> np.ndarray:
        """Vectors (B, D), float32, of pixels (B, S, S, 3), uint8, a few dozens at a time."""
        torch.set_num_threads(1)  # sums of several threads depend on how many there are
        with torch.inference_mode():
            x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - self._mean) * self._scale
            x = x.to(self._dtype, memory_format=torch.channels_last)
            vectors = self._network(x).float()
            if self._preprocessing.pooling == "mean of both sides":
                vectors = (vectors + self._network(x.flip(3)).float()) / 2
            return vectors.numpy()


def load_image_encoder(folder: Path, precision: str | None = None) -> ImageEncoder:
    """The encoder in a folder; `precision` as `precision_of` takes it.

    Raises:
        ContractError: something is missing, damaged, or of no known kind.
    """
    config_path, preprocess_path = folder / "config.json", folder / "preprocess.json"
    model_type = _object(config_path).get("model_type")
    if model_type not in _WEIGHTS:
        raise ContractError(
            f"{config_path}: model_type: expected one of {', '.join(_WEIGHTS)}, "
            f"found {model_type!r}; export the network to model.onnx"
        )
    weights = folder / _WEIGHTS[model_type]
    if not weights.is_file():
        raise ContractError(f"{folder}: expected {weights.name}, found no such file")
    preprocessing = Preprocessing.of_plain(_object(preprocess_path), preprocess_path)
    bits = "fp32" if model_type == _ONNX else precision_of(precision)
    own_id = encoder_id(
        {"weights": weights, "config": config_path, "preprocess": preprocess_path},
        {"precision": bits, "revision": _REVISION},
    )
    network = _onnx(weights) if model_type == _ONNX else _lite0(weights, PRECISIONS[bits])
    return ImageEncoder(own_id, preprocessing, network, bits)


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ContractError(f"{path.parent}: expected {path.name}, found no such file")
    return json_object(path)


def _lite0(weights: Path, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    try:
        network = lite0_of(load_file(weights))
    except SafetensorError as error:
        raise ContractError(f"{weights} is damaged: {error}; copy it anew") from None
    # mypy knows no memory format of modules
    return network.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _onnx(weights: Path) -> Callable[[Tensor], Tensor]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(weights), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a class of errors for each cause
        kind = type(error).__name__
        raise ContractError(f"{weights} cannot be opened ({kind}); export it anew") from None
    name = session.get_inputs()[0].name

    def network(pixels: Tensor) -> Tensor:
        given = np.ascontiguousarray(pixels.numpy())
        (out,) = session.run([session.get_outputs()[0].name], {name: given})
        vectors = torch.from_numpy(out)
        return vectors.mean((2, 3)) if vectors.ndim == 4 else vectors

    return network
