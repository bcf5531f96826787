"""How the model is built and trained. Saved beside every artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from contracts.errors import ContractError

_RANGES: tuple[tuple[str, Callable[[float | None], bool], tuple[str, ...]], ...] = (
    (
        "1 or more",
        lambda value: value is not None and value >= 1,
        (
            "width",
            "n_experts",
            "id_width",
            "id_buckets",
            "hash_buckets",
            "batch_size",
            "max_epochs",
            "patience",
            "threads",
            "min_rows",
            "twin_max_rows",
            "test_max_rows",
            "members",
            "numeric_width",
            "n_bins",
            "gate_min_rows",
            "devices",
        ),
    ),
    (
        "0 to below 1",
        lambda value: value is not None and 0 <= value < 1,
        ("dropout", "input_dropout", "sequence_dropout", "event_dropout", "average"),
    ),
    (
        "0 or more",
        lambda value: value is not None and value >= 0,
        (
            "depth",
            "n_values",
            "tower_epochs",
            "weight_decay",
            "l1",
            "tie",
            "consistency",
            "gate_max_worse",
            "folds",
            "checkpoint_seconds",
        ),
    ),
    (
        "above 0, or none to turn clipping off",
        lambda value: value is None or value > 0,
        ("max_grad_norm",),
    ),
    ("1 or more, or none", lambda value: value is None or value >= 1, ("student_width",)),
    ("0 to 1", lambda value: value is not None and 0 <= value <= 1, ("student_soft",)),
    (
        "above 0",
        lambda value: value is not None and value > 0,
        ("learning_rate", "id_learning_rate"),
    ),
)
"""What values are expected, whether one is so, and the settings of which it is expected."""


@dataclass(frozen=True)
class TrainConfig:
    """Few dials; what can be derived from them is a property."""

    trunk: Literal["shared_bottom", "mmoe", "ple", "ensemble"] = "mmoe"
    """What the tasks share: one network, a gated mixture of experts (Ma et al., 2018), levels of
    shared and own experts (Tang et al., 2020), or members that share weights (TabM, 2025)."""
    numbers: Literal["standard", "piecewise"] = "piecewise"
    """How numeric features enter: standardised, or as piecewise-linear embeddings on quantiles."""
    events: Literal["attention", "recurrent", "none"] = "attention"
    """How the sequence of events is read; none: not at all."""
    text: Literal["mean", "convolution", "none"] = "mean"
    """How hashed words are read; none: not at all."""
    balance: Literal[
        "fixed",
        "uncertainty",
        "upgrad",
        "pcgrad",
        "mgda",
        "aligned_mtl",
        "imtl_g",
        "cagrad",
        "nash_mtl",
    ] = "fixed"
    """How the tasks' losses become one step (`models/training/loss_balance.py`)."""
    wide: bool = True
    """Whether each tower sees the inputs themselves as well, by one linear layer, beside what the
    trunk made of them (wide and deep: Cheng et al., 2016)."""
    width: int = 128
    """Units of the trunk's layers; experts and towers follow from it."""
    depth: int = 2
    """Residual blocks in the trunk; with none, a mixture's experts see the inputs themselves."""
    n_experts: int = 4
    """Experts of a mixture, shared experts of ple; unused by others."""
    members: int = 8
    """Members of an ensemble; unused by other trunks."""
    normalisation: Literal["layer", "batch"] = "layer"
    """Of the residual blocks; an ensemble's are always by layer."""
    dropout: float = 0.3
    """Share of activations dropped while training."""
    input_dropout: float = 0.2
    """Share of inputs dropped while training."""
    sequence_dropout: float = 0.5
    """Share of rows that are trained on without their events, and without their words: both know
    a user well enough to memorise labels."""
    event_dropout: float = 0.0
    """Share of events left out of each sequence while training."""
    tie: float = 0.0
    """Weight in the loss of how far the towers of related tasks lie apart
    (`models/training/task_relations.py`)."""
    consistency: float = 0.0
    """Weight in the loss of how far two answers to one question lie apart."""
    id_width: int = 8
    """Dimensions of an id's embedding."""
    numeric_width: int = 4
    """Dimensions of a number's piecewise-linear embedding."""
    n_bins: int = 16
    """Quantile bins of a numeric feature, at most."""
    n_values: int = 0
    """Values of a numeric feature, the most frequent ones, that get an embedding of their own."""
    hash_buckets: int = 131_072
    """Hash buckets of an id feature that has too many ids for a vocabulary."""
    id_buckets: int = 4096
    """Hash buckets for the items of the event sequence."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.3
    l1: float = 0.0
    """Weight of the mean absolute value of the inputs' weights in the loss."""
    id_learning_rate: float = 0.02
    """Of the embeddings of ids, items, categories and words, each of which few rows teach."""
    schedule: Literal["constant", "one_cycle"] = "constant"
    """Of the learning rate: one cycle rises over a third of the epochs and falls over the rest."""
    average: float = 0.99
    """Decay of the running mean of the weights, which is what is validated and kept; 0: off."""
    batch_size: int = 512
    max_epochs: int = 30
    patience: int = 4
    """Epochs without a better validation loss before a task rests; when all do, training stops."""
    tower_epochs: int = 10
    """Epochs, at most, in which towers go on learning when the trunk is finished; 0: none."""
    max_grad_norm: float | None = 1.0
    """Gradients are clipped to this norm; None turns clipping off."""
    seed: int = 0
    threads: int = 1
    """Torch threads. More than one makes sums depend on the machine."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    warm_start: bool = False
    """Whether training begins with the champion's weights, where that gives nothing away."""
    student_width: int | None = None
    """Width of a smaller network that learns from the first and scores in its place; none: off."""
    student_soft: float = 0.5
    """Share of the student's loss that is the distance from what the first network says."""
    devices: int = 1
    """Processes that train one model together, each on its part of every batch: GPUs, or cores."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products while training; float32 where the processor has no other."""
    checkpoint_seconds: float = 300.0
    """Between two states from which a training that was killed can go on."""
    min_rows: int = 100
    """A task with fewer labelled rows in training, validation or test is left out."""
    twin_max_rows: int = 200_000
    """Training rows that a LightGBM twin sees at most, sampled by a hash of the row."""
    test_max_rows: int = 200_000
    """Rows that each task is tested on, or calibrated on, at most, sampled by a hash of the row."""
    single_task_twins: Literal["never", "weekly", "always"] = "weekly"
    """When each task is trained alone as well, to see whether sharing helps it: on Sundays, and
    when tasks or features have changed since the last training; never; or each time."""
    folds: int = 0
    """Earlier midnights at which the whole training is repeated, to see how steady it is."""
    bootstrap_samples: int = 200
    """Resamples of users behind each interval."""
    gate_max_worse: float = 0.01
    """Relative loss by which a task may be worse than the champion's, or than the constant's."""
    gate_min_rows: int = 200
    """A task with fewer test rows that neither model used says nothing to the gate."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be.

        Raises:
            ContractError: naming every one of them.
        """
        problems = [
            f"train.{name}: expected {expected}, found {getattr(self, name)}"
            for expected, is_right, names in _RANGES
            for name in names
            if not is_right(getattr(self, name))
        ]
        if problems:
            raise ContractError("; ".join(problems))

    @property
    def tower_width(self) -> int:
        """Units of each task's own layer."""
        return max(self.width // 2, 8)
