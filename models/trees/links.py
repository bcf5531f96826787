"""The scale on which the predictions of the network and of trees are mixed: one entry per kind.

What a head puts out is not always a scale on which a mean makes sense. A link is: log odds of
probabilities, logarithms of counts and of expected amounts, means of what may be below 0. On it a
mixture is a convex combination, and trees are already there: their raw scores are what LightGBM
adds up (Ke et al., 2017).

Letters: B rows, K outputs of a head, L numbers of a link, J raw scores of a task's trees.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from models.network.heads import (
    MAX_LOG_SPREAD,
    MIN_LOG_SPREAD,
    Head,
    OrdinalHead,
    RegressionHead,
    ZeroInflatedLogNormalHead,
)

LIMIT = 30.0
"""Log odds are cut here, so that no probability is 0 or 1."""


class Link(Protocol):
    """How a kind's outputs and raw scores come onto the scale, and back."""

    parameters: tuple[int, ...]
    """(L,): which of the mixture's weights each number of the link goes by."""
    spreads: tuple[float, float] | None
    """Between which the head's number for the spread is, of which trees say nothing; None: the
    head has none."""

    def of_outputs(self, outputs: Tensor) -> Tensor:
        """A head's outputs (B, K) on the scale, (B, L)."""

    def of_trees(self, raw: Tensor, spread: float) -> Tensor:
        """Raw scores (B, J) on the scale, (B, L), with a spread that is the same for all rows."""

    def outputs(self, link: Tensor) -> Tensor:
        """(B, L) as the head's outputs (B, K)."""


class LogOdds:
    """Binary, multi-class and multi-label tasks: what the head puts out is the scale."""

    spreads = None

    def __init__(self, head: Head):
        self.parameters = (0,) * head.n_outputs

    def of_outputs(self, outputs: Tensor) -> Tensor:
        return outputs

    def of_trees(self, raw: Tensor, spread: float) -> Tensor:
        return raw.clamp(-LIMIT, LIMIT)

    def outputs(self, link: Tensor) -> Tensor:
        return link


class LogCount:
    """The logarithms of the mean and of the dispersion."""

    parameters, spreads = (0, 0), (-5.0, 5.0)

    def __init__(self, head: Head):
        pass

    def of_outputs(self, outputs: Tensor) -> Tensor:
        return outputs

    def of_trees(self, raw: Tensor, spread: float) -> Tensor:
        return _beside(raw.clamp(-LIMIT, LIMIT), spread)

    def outputs(self, link: Tensor) -> Tensor:
        return link


class Mean:
    """The mean, and the logarithm of the spread; the head puts out the mean over the spread."""

    parameters, spreads = (0, 0), (MIN_LOG_SPREAD, MAX_LOG_SPREAD)

    def __init__(self, head: RegressionHead):
        self._head = head

    def of_outputs(self, outputs: Tensor) -> Tensor:
        return torch.stack([self._head.rank(outputs), self._head.log_spread(outputs)], dim=1)

    def of_trees(self, raw: Tensor, spread: float) -> Tensor:
        return _beside(raw, spread)

    def outputs(self, link: Tensor) -> Tensor:
        return torch.stack([link[:, 0] * torch.exp(-link[:, 1]), link[:, 1]], dim=1)


class LogAmount:
    """The log odds of an amount above 0, the logarithm of what is expected over all, and the raw
    spread; the head puts out the mean of an amount's logarithm, given that there is one."""

    parameters, spreads = (0, 1, 1), (-6.0, 6.0)

    def __init__(self, head: ZeroInflatedLogNormalHead):
        self._head = head

    def of_outputs(self, outputs: Tensor) -> Tensor:
        return torch.stack([outputs[:, 0], self._head.rank(outputs), outputs[:, 2]], dim=1)

    def of_trees(self, raw: Tensor, spread: float) -> Tensor:
        return _beside(torch.stack([raw[:, 0].clamp(-LIMIT, LIMIT), raw[:, 1]], dim=1), spread)

    def outputs(self, link: Tensor) -> Tensor:
        logit, log_expected, raw_sigma = link.unbind(1)
        without_mu = torch.stack([logit, torch.zeros_like(logit), raw_sigma], dim=1)
        return torch.stack([logit, log_expected - self._head.rank(without_mu), raw_sigma], dim=1)


class CumulativeLogOdds:
    """Per threshold, the log odds of a level above it (McCullagh, 1980)."""

    spreads = None

    def __init__(self, head: OrdinalHead):
        self._head = head
        self.parameters = (0,) * (head.n_outputs - 1)

    def of_outputs(self, outputs: Tensor) -> Tensor:
        return outputs[:, :1] - self._head.thresholds(outputs)

    def of_trees(self, raw: Tensor, spread: float) -> Tensor:
        """From the logarithms of each level's chance, up to a constant."""
        last = raw.shape[1] - 1
        odds = [
            torch.logsumexp(raw[:, k + 1 :], dim=1) - torch.logsumexp(raw[:, : k + 1], dim=1)
            for k in range(last)
        ]
        return torch.stack(odds, dim=1).clamp(-LIMIT, LIMIT)

    def outputs(self, link: Tensor) -> Tensor:
        """The score is the mean over thresholds, from which each is so far away."""
        score = link.mean(dim=1, keepdim=True)
        steps = (link[:, :-1] - link[:, 1:]).clamp_min(1e-6)
        return torch.cat([score, score - link[:, :1], inverse_softplus(steps)], dim=1)


def inverse_softplus(x: Tensor) -> Tensor:
    """The number whose softplus is `x`, above 0."""
    return x + torch.log(-torch.expm1(-x))


def _beside(link: Tensor, spread: float) -> Tensor:
    """(B, L - 1) with a last column that is the same for all rows."""
    return nnf.pad(link, (0, 1), value=spread)


_BY_KIND: Mapping[type[Kind], Any] = {
    Binary: LogOdds,
    MultiClass: LogOdds,
    MultiLabel: LogOdds,
    Count: LogCount,
    Regression: Mean,
    ZeroInflatedLogNormal: LogAmount,
    Ordinal: CumulativeLogOdds,
}
KINDS = tuple(_BY_KIND)


def link_of(kind: Kind, head: Head) -> Link:
    """The scale of a task's kind; `head` is the task's."""
    link: Link = _BY_KIND[type(kind)](head)
    return link
