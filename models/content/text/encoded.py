"""The encoder's member: a linear layer per head over the vectors of an encoder that stays as it is.

N texts, D numbers of a vector, K classes of all heads together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.content.encoders.text_encoder import TextEncoder
from models.content.text.examples import Examples, Head, Texts

BATCH = 4096
"""Texts that are encoded together."""
PENALTY = 0.1
"""Cost of an example's error, beside that of the weights, whose inputs have a variance of 1."""
UNSEEN_CLASS = -20.0
"""Logit of a class that no example has."""


@dataclass(frozen=True)
class EncoderMember:
    """Weights of each class for what an encoder says of a text."""

    encoder: TextEncoder
    heads: tuple[Head, ...]
    mean: NDArray[np.float32]
    """Of the features, (3 D,)."""
    scale: NDArray[np.float32]
    """What they are multiplied by, (3 D,)."""
    weights: NDArray[np.float32]
    """(3 D, K), the classes of one head behind those of another."""
    bias: NDArray[np.float32]
    """(K,)"""

    def logits(self, texts: Texts) -> dict[str, NDArray[np.float32]]:
        """Logits of each head's classes, (N, classes)."""
        features = (encoded(self.encoder, texts) - self.mean) * self.scale
        scores = np.asarray(features @ self.weights + self.bias, np.float32)
        ends = np.cumsum([len(head.classes) for head in self.heads])
        return {
            head.name: scores[:, end - len(head.classes) : end]
            for head, end in zip(self.heads, ends, strict=True)
        }


def encoded(encoder: TextEncoder, texts: Texts) -> NDArray[np.float32]:
    """A text's vector, that of its target, and their product, (N, 3 D); 0 where it has no target.

    The product lets one word be for one target and against another.
    """
    d = encoder.dimension
    targets, number = np.unique(texts.targets or [""] * len(texts), return_inverse=True)
    of_targets = encoder.encode(targets.tolist())
    of_targets[targets == ""] = 0
    features = np.zeros((len(texts), 3 * d), np.float32)
    for begin in range(0, len(texts), BATCH):
        rows = slice(begin, begin + BATCH)
        vectors, about = encoder.encode(texts.texts[rows]), of_targets[number[rows]]
        features[rows] = np.hstack([vectors, about, vectors * about])
    return features


def fit_encoder_member(
    heads: tuple[Head, ...], train: Examples, encoder: TextEncoder
) -> EncoderMember:
    """Logistic regressions; rare classes weigh as much as others, each head has its own labels."""
    features = encoded(encoder, train.texts)
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    # A feature that does not vary says nothing, whatever it is in texts of later.
    deviation = features.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0).astype(np.float32)
    weights, bias = [], []
    for head in heads:
        rows = train.labelled(head)
        of_head, own_bias = _fit_head(head, (features[rows] - mean) * scale, train.of(head)[rows])
        weights.append(of_head)
        bias.append(own_bias)
    return EncoderMember(encoder, heads, mean, scale, np.hstack(weights), np.concatenate(bias))


def _fit_head(
    head: Head, features: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (3 D, classes) and bias (classes,)."""
    # Where all texts of a head have no target, a column is the same for all of them.
    varies = np.ptp(features, axis=0) > 0
    weights = np.zeros((features.shape[1], len(head.classes)), np.float32)
    bias = np.full(len(head.classes), UNSEEN_CLASS, np.float32)
    regression = LogisticRegression(
        C=PENALTY / len(labels) ** 0.5, class_weight="balanced", max_iter=200, tol=1e-3
    )
    regression.fit(features[:, varies], labels)
    own, own_bias = regression.coef_, regression.intercept_
    if len(own) == 1:
        own, own_bias = np.vstack([-own, own]) / 2, np.concatenate([-own_bias, own_bias]) / 2
    weights[np.ix_(varies, regression.classes_)] = own.T
    bias[regression.classes_] = own_bias
    return weights, bias
