"""How the model is built and trained. Saved beside every artifact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contracts.table import ContractError

ARTIFACT = "model"
"""Folder of the artifact within a run."""


@dataclass(frozen=True)
class TrainConfig:
    """Few dials; what can be derived from them is a property."""

    trunk: Literal["shared_bottom", "mmoe"] = "mmoe"
    """What the tasks share: one network, or a gated mixture of experts (Ma et al., 2018)."""
    width: int = 128
    """Units of the trunk's layers; experts and towers follow from it."""
    depth: int = 2
    """Residual blocks in the trunk."""
    n_experts: int = 4
    """Experts of the mixture; unused by shared_bottom."""
    dropout: float = 0.3
    """Share of activations dropped while training."""
    id_width: int = 8
    """Dimensions of an id's embedding."""
    id_buckets: int = 4096
    """Hash buckets for the items of the event sequence."""
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    batch_size: int = 1024
    max_epochs: int = 30
    patience: int = 4
    """Epochs without a better validation loss before training stops."""
    max_grad_norm: float | None = 1.0
    """Gradients are clipped to this norm; None turns clipping off."""
    seed: int = 0
    threads: int = 1
    """Torch threads. More than one makes sums depend on the machine."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    min_rows: int = 100
    """A task with fewer labelled rows in training, validation or test is left out."""
    twin_max_rows: int = 200_000
    """Training rows that a LightGBM twin sees at most, sampled by a hash of the row."""
    bootstrap_samples: int = 200
    """Resamples of users behind each interval."""

    def __post_init__(self) -> None:
        for name in (
            "width",
            "depth",
            "n_experts",
            "id_width",
            "id_buckets",
            "batch_size",
            "max_epochs",
            "patience",
            "threads",
            "min_rows",
            "twin_max_rows",
        ):
            if getattr(self, name) < 1:
                raise ContractError(
                    f"train.{name}: expected 1 or more, found {getattr(self, name)}"
                )
        if not 0 <= self.dropout < 1:
            raise ContractError(f"train.dropout: expected 0 to below 1, found {self.dropout}")
        if self.max_grad_norm is not None and self.max_grad_norm <= 0:
            raise ContractError(
                "train.max_grad_norm: expected above 0, or none to turn clipping "
                f"off, found {self.max_grad_norm}"
            )
        if self.learning_rate <= 0:
            raise ContractError(
                f"train.learning_rate: expected above 0, found {self.learning_rate}"
            )

    @property
    def tower_width(self) -> int:
        """Units of each task's own layer."""
        return max(self.width // 2, 8)
