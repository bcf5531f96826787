"""How much of the examples a network learns from, so that training keeps within `train.minutes`.

No clock decides it: minutes become rows by the speed that the settings state, so that the same
examples and settings give the same model on every machine. The report has the speed that was
measured beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.train_config import TrainConfig
from models.data.sampling import ALL_ROWS, Sampling

MIN_EPOCHS = 4
"""Passes over what is learned from for which time must suffice; else rows are left out."""
TOWER_COST = 0.5
"""What a row costs while towers go on learning on the frozen trunk, over what it costs before."""
RARE_SHARE = 0.1
"""A task is rare where its positive rows are no more than this share of what can be learned from:
so many can all be kept."""


@dataclass(frozen=True)
class Budget:
    """What a training may do."""

    n_rows: int
    """Training rows with a label that counts for some task."""
    max_epochs: int
    tower_epochs: int
    sampling: Sampling = ALL_ROWS

    @property
    def is_tight(self) -> bool:
        """Whether rows are left out."""
        return self.sampling.share < 1


def budget_of(
    config: TrainConfig, n_rows: int, n_positive: Mapping[str, int], parts: int = 1
) -> Budget:
    """As many epochs, and then rows, as the minutes allow for.

    Args:
        config: has the minutes, the speed, and how many epochs there may be.
        n_rows: training rows with a label that counts for some task.
        n_positive: positive training rows of each binary task.
        parts: trainings that share the minutes.
    """
    steps = config.optimiser
    if config.minutes is None:
        return Budget(n_rows, steps.max_epochs, steps.tower_epochs)
    passes = config.minutes * 60 * config.machine.rows_per_second / parts
    cost_of_epoch = 1 + (TOWER_COST if steps.tower_epochs else 0)
    least = min(MIN_EPOCHS, steps.max_epochs)
    affordable = passes / (cost_of_epoch * least)
    share = min(1.0, affordable / max(n_rows, 1))
    epochs = min(steps.max_epochs, int(passes / (cost_of_epoch * max(share * n_rows, 1)) + 1e-6))
    rare = tuple(name for name, n in n_positive.items() if n <= RARE_SHARE * affordable)
    return Budget(
        n_rows,
        epochs,
        min(steps.tower_epochs, epochs),
        Sampling(share, rare) if share < 1 else ALL_ROWS,
    )
