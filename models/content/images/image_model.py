"""A classifier of pictures on disk and in use: weights as safetensors, the rest as JSON. Loading
executes no code.

Letters: B pictures, S side, D dimension of an encoder's vectors, K classes of a head.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.nn import functional as F

from contracts.errors import ContractError
from models.artifact import encryption
from models.content.encoders.precision import PRECISIONS, precision_of
from models.content.images.network import ImageNetwork, Shape, channels_last, normalised

_WEIGHTS, _ABOUT, _VERSION = "model.safetensors", "model.json", 1


@dataclass(frozen=True)
class LinearHead:
    """Logits of an encoder's vectors: a weight (K, D) and a bias (K,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, vectors: Tensor) -> Tensor:
        return F.linear(vectors, self.weight, self.bias)


@dataclass(frozen=True)
class ImageModel:
    """A network of its own, and linear heads on the vectors of an encoder if there is one."""

    network: ImageNetwork
    """Folded, float32."""
    classes: Mapping[str, tuple[str, ...]]
    """Names of each head's classes."""
    scales: Mapping[str, tuple[float, float]]
    """Per head, what the logits of network and encoder are multiplied by before they are added:
    shares of a mixture and calibration in one. The second is 0 without an encoder."""
    linear: Mapping[str, LinearHead]
    encoder_id: str | None = None
    """The encoder whose vectors `linear` takes."""

    def probabilities(
        self, pixels: np.ndarray, vectors: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Per head (B, K), of pixels (B, S, S, 3), uint8, and the encoder's vectors (B, D)."""
        logits = self.logits(pixels, vectors)
        return {name: F.softmax(each, 1).numpy() for name, each in logits.items()}

    def logits(self, pixels: np.ndarray, vectors: np.ndarray | None = None) -> dict[str, Tensor]:
        """Calibrated logits (B, K) per head.

        Raises:
            ContractError: vectors are missing that a head needs.
        """
        if vectors is None and self.linear:
            raise ContractError(f"the model needs the vectors of the encoder {self.encoder_id}")
        mixed = {}
        for name, own in network_logits(self.network, pixels).items():
            mixed[name] = own * self.scales[name][0]
            if vectors is not None and name in self.linear:
                of_encoder = self.linear[name](torch.from_numpy(vectors))
                mixed[name] = mixed[name] + of_encoder * self.scales[name][1]
        return mixed

    @property
    def model_id(self) -> str:
        """Hash of all that decides its probabilities: 16 hex digits."""
        return hashlib.sha256(json.dumps(self._about(), sort_keys=True).encode()).hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write the model; last, the file by which it is found."""
        folder.mkdir(parents=True, exist_ok=True)
        encryption.write(folder / _WEIGHTS, save(self._tensors()))
        (folder / _ABOUT).write_text(json.dumps(self._about(), indent=1, sort_keys=True))

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"network.{name}": t for name, t in self.network.state_dict().items()}
        for name, head in self.linear.items():
            tensors[f"linear.{name}.weight"], tensors[f"linear.{name}.bias"] = (
                head.weight,
                head.bias,
            )
        return {name: tensor.contiguous() for name, tensor in tensors.items()}

    def _about(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "shape": self.network.shape.to_plain(),
            "classes": {name: list(classes) for name, classes in self.classes.items()},
            "scales": {name: list(scales) for name, scales in self.scales.items()},
            "linear": sorted(self.linear),
            "encoder_id": self.encoder_id,
            "sha256": hashlib.sha256(save(self._tensors())).hexdigest(),
        }


def load_image_model(folder: Path) -> ImageModel:
    """The model that was saved in a folder.

    Raises:
        ContractError: there is none, it is of another version, or not what was saved.
    """
    path = folder / _ABOUT
    if not path.is_file():
        raise ContractError(f"{folder}: no model of pictures is there: {_ABOUT} is missing")
    try:
        about = json.loads(path.read_text())
        if about["version"] != _VERSION:
            raise ContractError(f"{folder}: the model is of another version; train it anew")
        content = encryption.read(folder / _WEIGHTS)
        if hashlib.sha256(content).hexdigest() != about["sha256"]:
            raise _damaged(folder)
        return _of(about, load(content))
    except ContractError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
        raise _damaged(folder) from None


def _of(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ImageModel:
    classes = {name: tuple(of_head) for name, of_head in about["classes"].items()}
    n_classes = {name: len(of_head) for name, of_head in classes.items()}
    network = ImageNetwork(Shape.of_plain(about["shape"]), n_classes, is_folded=True)
    start = "network."
    network.load_state_dict(
        {k.removeprefix(start): t for k, t in tensors.items() if k.startswith(start)}
    )
    return ImageModel(
        network=channels_last(network.eval().requires_grad_(False)),
        classes=classes,
        scales={name: (scales[0], scales[1]) for name, scales in about["scales"].items()},
        linear={
            name: LinearHead(tensors[f"linear.{name}.weight"], tensors[f"linear.{name}.bias"])
            for name in about["linear"]
        },
        encoder_id=about["encoder_id"],
    )


def _damaged(folder: Path) -> ContractError:
    return ContractError(f"{folder}: the model of pictures is damaged; train it anew")


def network_logits(network: ImageNetwork, pixels: np.ndarray, batch: int = 64) -> dict[str, Tensor]:
    """The network's own logits (N, K) per head, of pixels (N, S, S, 3), by batches on one thread;
    in bf16 where the processor multiplies it, in twice the time elsewhere."""
    torch.set_num_threads(1)  # sums of several threads depend on how many there are
    dtype = PRECISIONS[precision_of(None)]
    parts: dict[str, list[Tensor]] = {name: [] for name in network.n_classes}
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        for start in range(0, len(pixels), batch):
            given = torch.from_numpy(np.array(pixels[start : start + batch]))
            for name, logits in network(normalised(given)).items():
                parts[name].append(logits.float())
    return {
        name: torch.cat(each) if each else torch.zeros(0, network.n_classes[name])
        for name, each in parts.items()
    }
