"""Heads by kind: how many numbers, which loss, what prediction. One entry per kind.

Letters: B rows, K outputs of a head, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as nnf

from contracts.kinds import (
    Binary,
    Count,
    Kind,
    MultiClass,
    MultiLabel,
    Ordinal,
    Regression,
    ZeroInflatedLogNormal,
)
from models.network.calibration import Calibration

MIN_SIGMA, MAX_SIGMA = 0.05, 1.5
"""Bounds of the log-normal's spread: the expectation grows with exp(sigma² / 2)."""

MIN_LOG_SPREAD, MAX_LOG_SPREAD = math.log(0.5), 30.0
"""Bounds of the logarithm of a regression's spread: labels are whole numbers."""


class Head(Protocol):
    """What the model knows of a kind."""

    n_outputs: int

    def loss(self, outputs: Tensor, label: Tensor) -> Tensor:
        """Negative log-likelihood per row, (B,), of (B, K) outputs; labels are (B,), or (B, C) for
        a multi-label task."""

    def start(self, labels: Tensor) -> Tensor:
        """Biases (K,) with which the head starts as the constant that fits these labels best."""

    def rank(self, outputs: Tensor) -> Tensor:
        """Uncalibrated ranking score, (B,)."""

    def predict(self, outputs: Tensor, calibration: Calibration) -> dict[str, Tensor]:
        """Calibrated score per suffix of the score columns, each (B,) or (B, C)."""

    def calibrated(self, outputs: Tensor, calibration: Calibration) -> Tensor:
        """Outputs (B, K) after calibration, for the loss."""


class BinaryHead:
    n_outputs = 1

    def __init__(self, kind: Binary):
        self.kind = kind

    def loss(self, outputs: Tensor, label: Tensor) -> Tensor:
        return nnf.binary_cross_entropy_with_logits(outputs[:, 0], label, reduction="none")

    def start(self, labels: Tensor) -> Tensor:
        return _logit(labels.mean()).reshape(1)

    def rank(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0]

    def calibrated(self, outputs: Tensor, calibration: Calibration) -> Tensor:
        return calibration.of(outputs)

    def predict(self, outputs: Tensor, calibration: Calibration) -> dict[str, Tensor]:
        return {"": torch.sigmoid(self.calibrated(outputs, calibration)[:, 0])}


class ZeroInflatedLogNormalHead:
    """Outputs: logit of an amount above 0, mu, raw sigma (Wang, Liu, Miao, 2019)."""

    n_outputs = 3

    def __init__(self, kind: ZeroInflatedLogNormal):
        self.kind = kind

    def loss(self, outputs: Tensor, label: Tensor) -> Tensor:
        some = label > 0
        zero = nnf.binary_cross_entropy_with_logits(outputs[:, 0], some.float(), reduction="none")
        log = torch.log(torch.where(some, label, torch.ones_like(label)))
        sigma = _sigma(outputs)
        amount = (
            0.5 * ((log - outputs[:, 1]) / sigma) ** 2
            + torch.log(sigma)
            + log
            + 0.5 * math.log(2 * math.pi)
        )
        return zero + torch.where(some, amount, torch.zeros_like(amount))

    def start(self, labels: Tensor) -> Tensor:
        logs = torch.log(labels[labels > 0]) if (labels > 0).any() else torch.zeros(1)
        spread = logs.std(correction=0).clamp(MIN_SIGMA + 0.01, MAX_SIGMA - 0.01)
        raw = _logit((spread - MIN_SIGMA) / (MAX_SIGMA - MIN_SIGMA))
        return torch.stack([_logit((labels > 0).float().mean()), logs.mean(), raw])

    def rank(self, outputs: Tensor) -> Tensor:
        """Log of the expected amount: it orders users as the amount does, and never overflows."""
        return nnf.logsigmoid(outputs[:, 0]) + outputs[:, 1] + _sigma(outputs) ** 2 / 2

    def calibrated(self, outputs: Tensor, calibration: Calibration) -> Tensor:
        logit = calibration.slope * outputs[:, 0] + calibration.shift
        return torch.stack([logit, outputs[:, 1] + math.log(calibration.factor), outputs[:, 2]], 1)

    def predict(self, outputs: Tensor, calibration: Calibration) -> dict[str, Tensor]:
        logit, mu, _ = self.calibrated(outputs, calibration).unbind(1)
        probability = torch.sigmoid(logit)
        # Amounts beyond what the labels can hold are cut, so that one row cannot spoil a sum.
        mean = torch.exp((mu + _sigma(outputs) ** 2 / 2).double().clamp(max=math.log(1e13)))
        return {"_probability": probability, "_expected": probability * mean}


class RegressionHead:
    """Normal (Nix and Weigend, 1994): outputs are the mean over the spread, and the spread's log.

    So both are of the order of 1 whatever the label's unit is.
    """

    n_outputs = 2

    def __init__(self, kind: Regression):
        self.kind = kind

    def loss(self, outputs: Tensor, label: Tensor) -> Tensor:
        log_spread = self.log_spread(outputs)
        gap = label * torch.exp(-log_spread) - outputs[:, 0]
        return 0.5 * gap**2 + log_spread + 0.5 * math.log(2 * math.pi)

    def start(self, labels: Tensor) -> Tensor:
        spread = labels.double().std(correction=0).clamp_min(0.5)
        return torch.stack([labels.double().mean() / spread, torch.log(spread)]).float()

    def rank(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0] * torch.exp(self.log_spread(outputs))

    def calibrated(self, outputs: Tensor, calibration: Calibration) -> Tensor:
        mean = calibration.slope * outputs[:, 0] + calibration.shift
        return torch.stack([mean, outputs[:, 1]], dim=1)

    def predict(self, outputs: Tensor, calibration: Calibration) -> dict[str, Tensor]:
        return {"_expected": self.rank(self.calibrated(outputs, calibration).double())}

    def log_spread(self, outputs: Tensor) -> Tensor:
        """The logarithm of the spread, (B,)."""
        return outputs[:, 1].clamp(MIN_LOG_SPREAD, MAX_LOG_SPREAD)


class OrdinalHead:
    """Cumulative link (McCullagh, 1980): P(level > k) = sigmoid(score - threshold k)."""

    def __init__(self, kind: Ordinal):
        self.kind = kind
        self.n_outputs = kind.levels
        """The score, the first threshold, and the steps between thresholds."""

    def loss(self, outputs: Tensor, label: Tensor) -> Tensor:
        chances = self._levels(outputs).clamp_min(1e-7)
        return -torch.log(chances.gather(1, (label.long() - 1).clamp_min(0).unsqueeze(1))[:, 0])

    def start(self, labels: Tensor) -> Tensor:
        above = torch.stack([(labels > k).float().mean() for k in range(1, self.kind.levels)])
        thresholds = -_logit(above)
        steps = (thresholds[1:] - thresholds[:-1]).clamp_min(0.05)
        return torch.cat([torch.zeros(1), thresholds[:1], torch.log(torch.expm1(steps))])

    def rank(self, outputs: Tensor) -> Tensor:
        levels = torch.arange(1, self.kind.levels + 1, device=outputs.device, dtype=outputs.dtype)
        return self._levels(outputs) @ levels

    def calibrated(self, outputs: Tensor, calibration: Calibration) -> Tensor:
        score = calibration.slope * outputs[:, :1] + calibration.shift
        return torch.cat([score, outputs[:, 1:]], dim=1)

    def predict(self, outputs: Tensor, calibration: Calibration) -> dict[str, Tensor]:
        chances = self._levels(self.calibrated(outputs, calibration))
        chances = chances / chances.sum(1, keepdim=True)
        levels = torch.arange(1, self.kind.levels + 1, device=outputs.device, dtype=outputs.dtype)
        expected = (chances @ levels).clamp(1, self.kind.levels)
        return {
            "_expected": expected,
            **{f"_is_{k + 1}": chances[:, k] for k in range(self.kind.levels)},
        }

    def thresholds(self, outputs: Tensor) -> Tensor:
        """What the score is held against, rising, (B, levels - 1)."""
        first, steps = outputs[:, 1:2], nnf.softplus(outputs[:, 2:])
        # A running sum as a product: of sums along a row GPUs have no deterministic one.
        upto = steps.new_ones(steps.shape[1], steps.shape[1]).triu()
        return torch.cat([first, first + steps @ upto], dim=1)

    def _levels(self, outputs: Tensor) -> Tensor:
        """Probabilities of the levels, (B, levels)."""
        above = torch.sigmoid(outputs[:, :1] - self.thresholds(outputs))
        ones, zeros = torch.ones_like(above[:, :1]), torch.zeros_like(above[:, :1])
        return torch.cat([ones, above], dim=1) - torch.cat([above, zeros], dim=1)


class CountHead:
    """Negative binomial (Hilbe, 2011): outputs are the log of the mean and of the dispersion."""

    n_outputs = 2

    def __init__(self, kind: Count):
        self.kind = kind

    def loss(self, outputs: Tensor, label: Tensor) -> Tensor:
        log_mean, log_shape = outputs[:, 0], -outputs[:, 1].clamp(-5, 5)
        shape = torch.exp(log_shape)
        log_both = torch.logaddexp(log_mean, log_shape)
        return -(
            torch.lgamma(label + shape)
            - torch.lgamma(shape)
            - torch.lgamma(label + 1)
            + shape * (log_shape - log_both)
            + label * (log_mean - log_both)
        )

    def start(self, labels: Tensor) -> Tensor:
        """By moments: variance = mean + dispersion * mean²."""
        mean = labels.double().mean().clamp_min(1e-4)
        spread = ((labels.double().var(correction=0) - mean) / mean**2).clamp(0.02, 50)
        return torch.stack([torch.log(mean), torch.log(spread)]).float()

    def rank(self, outputs: Tensor) -> Tensor:
        return outputs[:, 0]

    def calibrated(self, outputs: Tensor, calibration: Calibration) -> Tensor:
        log_mean = calibration.slope * outputs[:, 0] + calibration.shift
        return torch.stack([log_mean, outputs[:, 1]], dim=1)

    def predict(self, outputs: Tensor, calibration: Calibration) -> dict[str, Tensor]:
        log_mean = self.calibrated(outputs, calibration)[:, 0].double()
        return {"_expected": calibration.factor * torch.exp(log_mean.clamp(max=math.log(1e6)))}


class MultiClassHead:
    """Softmax over classes, which stand in order from the least to the most wished for."""

    def __init__(self, kind: MultiClass):
        self.kind = kind
        self.n_outputs = len(kind.classes)

    def loss(self, outputs: Tensor, label: Tensor) -> Tensor:
        return nnf.cross_entropy(outputs, label.long() - 1, reduction="none")

    def start(self, labels: Tensor) -> Tensor:
        shares = [(labels == k + 1).double().mean() for k in range(self.n_outputs)]
        return torch.log(torch.stack(shares).clamp_min(1e-4)).float()

    def rank(self, outputs: Tensor) -> Tensor:
        """The mean place among the classes."""
        places = torch.arange(self.n_outputs, device=outputs.device, dtype=outputs.dtype)
        return outputs.softmax(dim=1) @ places

    def calibrated(self, outputs: Tensor, calibration: Calibration) -> Tensor:
        """The slope is a temperature (Guo et al., 2017); the shift leans towards later classes."""
        places = torch.linspace(-0.5, 0.5, self.n_outputs, device=outputs.device)
        return calibration.slope * outputs + calibration.shift * places

    def predict(self, outputs: Tensor, calibration: Calibration) -> dict[str, Tensor]:
        chances = self.calibrated(outputs, calibration).softmax(dim=1)
        return {f"_is_{name}": chances[:, k] for k, name in enumerate(self.kind.classes)}


class MultiLabelHead:
    """One logit per class; the loss of a row is the mean over classes."""

    def __init__(self, kind: MultiLabel, classes: Sequence[str]):
        self.kind, self.classes = kind, tuple(classes)
        self.n_outputs = len(self.classes)

    def loss(self, outputs: Tensor, label: Tensor) -> Tensor:
        return nnf.binary_cross_entropy_with_logits(outputs, label, reduction="none").mean(dim=1)

    def start(self, labels: Tensor) -> Tensor:
        return _logit(labels.mean(dim=0))

    def rank(self, outputs: Tensor) -> Tensor:
        """The expected number of classes."""
        return torch.sigmoid(outputs).sum(dim=1)

    def calibrated(self, outputs: Tensor, calibration: Calibration) -> Tensor:
        return calibration.slope * outputs + calibration.shift

    def predict(self, outputs: Tensor, calibration: Calibration) -> dict[str, Tensor]:
        return {"_probabilities": torch.sigmoid(self.calibrated(outputs, calibration))}


_BY_KIND: Mapping[type[Kind], Any] = {
    Binary: BinaryHead,
    Count: CountHead,
    Regression: RegressionHead,
    ZeroInflatedLogNormal: ZeroInflatedLogNormalHead,
    Ordinal: OrdinalHead,
    MultiClass: MultiClassHead,
    MultiLabel: MultiLabelHead,
}
KINDS = tuple(_BY_KIND)


def head_of(kind: Kind, classes: Sequence[str] = ()) -> Head:
    """The head of a task's kind; `classes` are those of a multi-label task."""
    head: Head = (
        MultiLabelHead(kind, classes)
        if isinstance(kind, MultiLabel)
        else _BY_KIND[type(kind)](kind)
    )
    return head


def within(inner: Tensor, outer: Tensor) -> Tensor:
    """The logit of sigmoid(inner) * sigmoid(outer): never above `outer`. All (B, 1)."""
    log_p = nnf.logsigmoid(inner) + nnf.logsigmoid(outer)
    return log_p - torch.log(-torch.expm1(log_p.clamp_max(-1e-6)))


def _logit(p: Tensor) -> Tensor:
    return torch.logit(p.double().clamp(1e-4, 1 - 1e-4)).float()


def _sigma(outputs: Tensor) -> Tensor:
    return MIN_SIGMA + (MAX_SIGMA - MIN_SIGMA) * torch.sigmoid(outputs[:, 2])
