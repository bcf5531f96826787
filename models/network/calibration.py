"""Monotone changes of a head's outputs, so that what is said is what happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nnf


@dataclass(frozen=True)
class Calibration:
    """A change of a logit that never turns a ranking round, and a factor for amounts.

    By default `slope * logit + shift` (Platt, 1999; with no shift a temperature: Guo et al., 2017).
    With `fall` the slope holds for the log of the probability and `fall` for the log of its
    complement (beta calibration: Kull, Silva Filho, Flach, 2017). With `knots` the logit is
    interpolated between them (isotonic regression: Zadrozny and Elkan, 2002).
    """

    slope: float = 1.0
    shift: float = 0.0
    factor: float = 1.0
    fall: float | None = None
    knots: tuple[tuple[float, float], ...] = ()

    @property
    def method(self) -> str:
        if self.knots:
            return "isotonic"
        if self.fall is not None:
            return "beta"
        if self.shift:
            return "Platt"
        return "temperature" if self.slope != 1 else "none"

    def of(self, logit: Tensor) -> Tensor:
        """Logits of any shape to calibrated ones."""
        if self.knots:
            return _between(logit, self.knots)
        if self.fall is not None:
            return (
                self.slope * nnf.logsigmoid(logit) - self.fall * nnf.logsigmoid(-logit) + self.shift
            )
        return self.slope * logit + self.shift

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Calibration:
        knots = tuple((float(x), float(y)) for x, y in saved.get("knots", ()))
        return Calibration(**{**saved, "knots": knots})


def _between(x: Tensor, knots: Sequence[tuple[float, float]]) -> Tensor:
    """Linear interpolation; beyond the first and last knot a line that rises by 1."""
    at, value = (torch.tensor(side, dtype=x.dtype, device=x.device) for side in zip(*knots))  # noqa: B905
    right = torch.searchsorted(at, x.contiguous()).clamp(1, len(at) - 1)
    left = right - 1
    share = ((x - at[left]) / (at[right] - at[left]).clamp_min(1e-12)).clamp(0, 1)
    return torch.lerp(value[left], value[right], share) + x - x.clamp(at[0], at[-1])
