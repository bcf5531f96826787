"""Everything of a classifier of pictures that is learned: its network, linear heads on an encoder's
vectors, and how the two are mixed and calibrated.

Letters: N pictures, S side, D dimension, K classes of a head.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

from contracts.errors import ContractError
from models.content.images.image_model import ImageModel, LinearHead, network_logits
from models.content.images.training import NOT_LABELLED, ImageTrainConfig, fit

_STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
"""Inverse strengths of the penalty on a linear head, of which validation chooses."""
_SHARES = (0.5, 0.75, 1.0)
"""Shares of the encoder in the mixture, of which validation chooses; 0.5 adds what is left."""
_TEMPERATURES = np.geomspace(0.1, 10.0, 201)


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures with what is known of them."""

    pixels: np.ndarray
    """(N, S, S, 3), uint8, of the network's framing."""
    labels: Mapping[str, np.ndarray]
    """Per head (N,), int64: the number of the class, or `NOT_LABELLED`."""
    vectors: np.ndarray | None = None
    """(N, D), float32, of the encoder, if there is one."""


def fit_image_model(
    train: LabelledPictures,
    valid: LabelledPictures,
    classes: Mapping[str, tuple[str, ...]],
    config: ImageTrainConfig,
    encoder_id: str | None = None,
) -> ImageModel:
    """A model of the pictures of `train`, chosen and calibrated on those of `valid`.

    Raises:
        ContractError: a head has no labels in one of the two.
    """
    for name in classes:
        for part, pictures in (("learn from", train), ("choose by", valid)):
            if not (pictures.labels[name] != NOT_LABELLED).any():
                raise ContractError(f"{name}: expected labelled pictures to {part}, found none")
    n_classes = {name: len(of_head) for name, of_head in classes.items()}
    network = fit(train.pixels, train.labels, n_classes, config)
    own = network_logits(network, valid.pixels)
    linear, scales = {}, {}
    for name in classes:
        known = valid.labels[name] != NOT_LABELLED
        labels = torch.from_numpy(valid.labels[name][known])
        of_network = own[name][torch.from_numpy(known)]
        if train.vectors is None or valid.vectors is None:
            scales[name] = (_calibrated(of_network, labels)[0], 0.0)
            continue
        linear[name] = _linear_head(train, valid, name, n_classes[name])
        of_encoder = linear[name](torch.from_numpy(valid.vectors[known]))
        scales[name] = _mixture(of_network, of_encoder, labels)
    return ImageModel(network, classes, scales, linear, encoder_id)


def _calibrated(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """What logits (N, K) are multiplied by so that they say most of labels (N,), and their loss:
    temperature scaling, Guo et al. (arXiv 1706.04599)."""
    losses = [float(F.cross_entropy(logits * scale, labels)) for scale in _TEMPERATURES]
    best = int(np.argmin(losses))
    return float(_TEMPERATURES[best]), losses[best]


def _mixture(own: Tensor, of_encoder: Tensor, labels: Tensor) -> tuple[float, float]:
    """Scales of the logits of network and encoder: each calibrated, mixed, and calibrated again."""
    own = own * (own_scale := _calibrated(own, labels)[0])
    of_encoder = of_encoder * (encoder_scale := _calibrated(of_encoder, labels)[0])
    found = []
    for share in _SHARES:
        scale, loss = _calibrated(own * (1 - share) + of_encoder * share, labels)
        found.append((loss, (own_scale * (1 - share) * scale, encoder_scale * share * scale)))
    return min(found)[1]


def _linear_head(
    train: LabelledPictures, valid: LabelledPictures, name: str, n_classes: int
) -> LinearHead:
    """A logistic regression on standardised vectors, which it takes as they come."""
    assert train.vectors is not None
    assert valid.vectors is not None
    known, in_valid = train.labels[name] != NOT_LABELLED, valid.labels[name] != NOT_LABELLED
    vectors = train.vectors[known].astype(np.float64)
    mean, std = vectors.mean(0), vectors.std(0) + 1e-6
    given, labels = (vectors - mean) / std, train.labels[name][known]
    of_valid = torch.from_numpy(valid.vectors[in_valid])
    valid_labels = torch.from_numpy(valid.labels[name][in_valid])
    best: tuple[float, LinearHead] | None = None
    for strength in _STRENGTHS:
        head = _logistic(given, labels, strength, mean, std, n_classes)
        loss = _calibrated(head(of_valid), valid_labels)[1]
        if best is None or loss < best[0]:
            best = loss, head
    assert best is not None
    return best[1]


def _logistic(
    given: np.ndarray,
    labels: np.ndarray,
    strength: float,
    mean: np.ndarray,
    std: np.ndarray,
    n_classes: int,
) -> LinearHead:
    """A class without pictures is never said: its bias is far below the others'."""
    present = np.unique(labels)
    weight = np.zeros((n_classes, given.shape[1]))
    bias = np.full(n_classes, -30.0)
    if len(present) == 1:
        bias[present] = 0.0
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is good enough
            fitted = LogisticRegression(C=strength, max_iter=100, tol=1e-3).fit(given, labels)
        rows, offsets = fitted.coef_, fitted.intercept_
        if len(present) == 2:  # one row says the second class against the first
            rows, offsets = np.vstack([-rows / 2, rows / 2]), np.r_[-offsets / 2, offsets / 2]
        weight[present] = rows / std
        bias[present] = offsets - weight[present] @ mean
    return LinearHead(torch.from_numpy(weight).float(), torch.from_numpy(bias).float())
