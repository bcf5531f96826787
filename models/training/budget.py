"""How much of the examples a network learns from, so that training keeps within `train.minutes`.

No clock decides it: minutes become rows by the speed that the settings state, so that the same
examples, settings and champion give the same model on every machine. The report has the speed that
was measured beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from contracts.train_config import TrainConfig
from models.data.sampling import ALL_ROWS, Sampling

MIN_EPOCHS = 4
"""Passes over what is learned from for which time must suffice; else rows are left out."""
TOWER_COST = 0.5
"""What a row costs while towers go on learning on the frozen trunk, over what it costs before."""
WHOLE_SHARE = 0.1
"""Of what can be learned from, the share that may be rows which are kept whatever their hash."""
MIN_BATCHES = 4
"""Batches an epoch has at least, however short the time is."""


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

    def only(self, name: str) -> Budget:
        """The same for one task alone."""
        return replace(self, sampling=self.sampling.only(name))


def budget_of(
    config: TrainConfig, n_rows: int, labels: Mapping[str, int], n_positive: Mapping[str, int]
) -> Budget:
    """As many epochs, and then rows, as the minutes allow for.

    Args:
        config: has the minutes, the speed, and how many epochs there may be. A student has half of
            the time.
        n_rows: training rows with a label that counts for some task.
        labels: labelled training rows of each task.
        n_positive: positive training rows of each binary task.
    """
    steps = config.optimiser
    if config.minutes is None:
        return Budget(n_rows, steps.max_epochs, steps.tower_epochs)
    trainings = 1 if config.losses.student_width is None else 2
    passes = config.minutes * 60 * config.machine.rows_per_second / trainings
    cost_of_epoch = 1 + (TOWER_COST if steps.tower_epochs else 0)
    least = min(MIN_EPOCHS, steps.max_epochs)
    affordable = max(passes / (cost_of_epoch * least), MIN_BATCHES * steps.batch_size)
    used = min(n_rows, affordable)
    epochs = max(1, min(steps.max_epochs, int(passes / (cost_of_epoch * max(used, 1)) + 1e-6)))
    return Budget(
        n_rows,
        epochs,
        min(steps.tower_epochs, epochs),
        _sampling(affordable, n_rows, labels, n_positive) if n_rows > affordable else ALL_ROWS,
    )


def _sampling(
    affordable: float, n_rows: int, labels: Mapping[str, int], n_positive: Mapping[str, int]
) -> Sampling:
    """Rows of the rarest first, as long as all that are kept whole are few; then a share of all."""
    few: list[str] = []
    rare: list[str] = []
    whole, most = 0, WHOLE_SHARE * affordable
    counts = [(n, name, few) for name, n in labels.items()]
    counts += [(n, name, rare) for name, n in n_positive.items()]
    for n, name, kept in sorted(counts, key=lambda count: count[:2]):
        if n and name not in few and whole + n <= most:
            whole += n
            kept.append(name)
    rare = [name for name in rare if name not in few]
    return Sampling((affordable - whole) / n_rows, tuple(rare), tuple(few))
