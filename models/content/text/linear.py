"""The linear member: one weight per n-gram and class, of TF-IDF of hashed words and characters.

N texts, W buckets of n-grams, V of them seen in training, K classes of all heads together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.svm import LinearSVC

from models.content.text.examples import Examples, Head, Texts
from models.content.text.ngrams import NGrams, counts

MIN_TEXTS = 2
"""An n-gram has weights if at least so many texts have it."""
UNSEEN_CLASS = -20.0
"""Margin of a class that no example has."""
PENALTY = 0.1
"""Cost of an example's error, beside that of the weights (liblinear's C)."""


@dataclass(frozen=True)
class LinearMember:
    """Weights of each class, and which column of them an n-gram's bucket is."""

    ngrams: NGrams
    heads: tuple[Head, ...]
    buckets: NDArray[np.int32]
    """The buckets that have weights, (V,), ascending."""
    rarity: NDArray[np.float32]
    """Inverse document frequency of each, (V,)."""
    weights: NDArray[np.float16]
    """(V, K), the classes of one head behind those of another."""
    bias: NDArray[np.float32]
    """(K,)"""

    def logits(self, texts: Texts) -> dict[str, NDArray[np.float32]]:
        """Margins of each head's classes, (N, classes)."""
        scored = tf_idf(
            counts(texts.texts, texts.targets, self.ngrams), self.ngrams, self.buckets, self.rarity
        )
        scores = np.asarray(scored @ self.wide_weights) + self.bias
        ends = np.cumsum([len(head.classes) for head in self.heads])
        return {
            head.name: scores[:, end - len(head.classes) : end]
            for head, end in zip(self.heads, ends, strict=True)
        }

    @cached_property
    def wide_weights(self) -> NDArray[np.float32]:
        """The weights as they are multiplied by."""
        return self.weights.astype(np.float32)


def fit_linear(heads: tuple[Head, ...], train: Examples, ngrams: NGrams) -> LinearMember:
    """One-against-the-rest machines with a squared hinge; rare classes weigh as much as others.

    N-grams are counted in all texts, with or without labels; each head learns from its own.
    """
    found = counts(train.texts.texts, train.texts.targets, ngrams)
    texts_with = np.bincount(found.indices, minlength=ngrams.width)
    buckets = np.flatnonzero(texts_with >= MIN_TEXTS).astype(np.int32)
    rarity = (np.log((1 + len(train.texts)) / (1 + texts_with[buckets])) + 1).astype(np.float32)
    features = tf_idf(found, ngrams, buckets, rarity)
    del found
    weights, bias = [], []
    for head in heads:
        rows, labels = train.labelled(head), train.of(head)
        of_head, own_bias = _fit_head(head, features[rows], labels[rows])
        weights.append(of_head.astype(np.float16))
        bias.append(own_bias)
    return LinearMember(
        ngrams, heads, buckets, rarity, np.hstack(weights), np.concatenate(bias, dtype=np.float32)
    )


def tf_idf(
    found: sp.csr_matrix,
    ngrams: NGrams,
    buckets: NDArray[np.int32],
    rarity: NDArray[np.float32],
) -> sp.csr_matrix:
    """Weights of n-grams in texts, (N, V): words and characters each have length 1."""
    column = np.full(ngrams.width, -1, np.int32)
    column[buckets] = np.arange(len(buckets), dtype=np.int32)
    columns = column[found.indices]
    known = columns >= 0
    row = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))[known]
    columns = columns[known]
    values = (1 + np.log(found.data[known])) * rarity[columns]
    kind = 2 * row + (columns >= np.searchsorted(buckets, ngrams.n_words))
    length = np.sqrt(np.bincount(kind, values.astype(np.float64) ** 2, 2 * found.shape[0]))
    values = (values / length[kind]).astype(np.float32)
    begins = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=found.shape[0]))])
    return sp.csr_matrix((values, columns, begins), shape=(found.shape[0], len(buckets)))


def _fit_head(
    head: Head, features: sp.csr_matrix, labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (V, classes) and bias (classes,); a class without labels is never predicted."""
    n_classes = len(head.classes)
    weights = np.zeros((features.shape[1], n_classes), np.float32)
    bias = np.full(n_classes, UNSEEN_CLASS, np.float32)
    machine = LinearSVC(C=PENALTY, class_weight="balanced", random_state=0, max_iter=5000)
    machine.fit(features, labels)
    own, own_bias = machine.coef_, machine.intercept_
    if len(own) == 1:
        own, own_bias = np.vstack([-own, own]), np.concatenate([-own_bias, own_bias])
    weights[:, machine.classes_] = own.T
    bias[machine.classes_] = own_bias
    return weights, bias
