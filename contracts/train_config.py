"""How the model is built and trained. Saved beside every artifact.

No two groups have a setting of the same name, so that a name alone says which is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from math import inf
from typing import Any, Literal

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
            "bootstrap_samples",
            "rows_per_second",
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
            "gate_max_worse",
            "folds",
            "checkpoint_seconds",
            "seed",
        ),
    ),
    (
        "above 0, or none to turn clipping off",
        lambda value: value is None or value > 0,
        ("max_grad_norm",),
    ),
    (
        "above 0 and finite, or none for no budget",
        lambda value: value is None or 0 < value < inf,
        ("minutes",),
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
class InputConfig:
    """How columns become numbers that the network takes in."""

    numbers: Literal["standard", "piecewise"] = "piecewise"
    """How numeric features enter: standardised, or as piecewise-linear embeddings on quantiles."""
    events: Literal["attention", "recurrent", "none"] = "attention"
    """How the sequence of events is read; none: not at all."""
    text: Literal["mean", "convolution", "none"] = "mean"
    """How hashed words are read; none: not at all."""
    content: bool = False
    """Whether features that tell what a user's posts are like are read: sentiment, toxicity, links
    and posts without words. They have not paid on the data that this was chosen on."""
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


@dataclass(frozen=True)
class NetworkConfig:
    """What the tasks share, and what each has of its own."""

    trunk: Literal["shared_bottom", "mmoe", "ple", "ensemble"] = "mmoe"
    """What the tasks share: one network, a gated mixture of experts (Ma et al., 2018), levels of
    shared and own experts (Tang et al., 2020), or members that share weights (TabM, 2025)."""
    width: int = 128
    """Units of the trunk's layers; experts and towers follow from it."""
    depth: int = 2
    """Residual blocks in the trunk; with none, a mixture's experts see the inputs themselves."""
    dropout: float = 0.3
    """Share of activations dropped while training."""
    input_dropout: float = 0.2
    """Share of inputs dropped while training."""
    sequence_dropout: float = 0.5
    """Share of rows that are trained on without their events, and without their words: on both a
    network overfits, for they tell users apart."""
    event_dropout: float = 0.0
    """Share of events left out of each sequence while training."""
    n_experts: int = 4
    """Experts of a mixture, shared experts of ple; unused by others."""
    members: int = 8
    """Members of an ensemble; unused by other trunks."""
    wide: bool = True
    """Whether each tower sees the inputs themselves as well, by one linear layer, beside what the
    trunk made of them (wide and deep: Cheng et al., 2016)."""

    @property
    def tower_width(self) -> int:
        """Units of each task's own layer."""
        return max(self.width // 2, 8)


@dataclass(frozen=True)
class LossConfig:
    """What is made smaller."""

    balance: Literal["fixed", "uncertainty", "upgrad", "pcgrad", "mgda"] = "fixed"
    """How the tasks' losses become one step (`models/training/loss_balance.py`)."""
    student_width: int | None = None
    """Width of a smaller network that learns from the first and scores in its place; none: off."""
    student_soft: float = 0.5
    """Share of the student's loss that is the distance from what the first network says."""


@dataclass(frozen=True)
class OptimiserConfig:
    """How it is made smaller, and for how long."""

    learning_rate: float = 1e-3
    """Of all weights but the embeddings'."""
    batch_size: int = 512
    """Rows per step."""
    max_epochs: int = 30
    """Passes over the training rows, at most."""
    patience: int = 2
    """Epochs without a better validation loss after which a task stops early; training ends when
    all have."""
    weight_decay: float = 0.3
    """Decoupled weight decay (AdamW: Loshchilov and Hutter, 2019), of all weights but biases."""
    id_learning_rate: float = 0.02
    """Of the embeddings of ids, items, categories and words, each of which stands in few rows."""
    schedule: Literal["constant", "one_cycle"] = "constant"
    """Of the learning rate: one cycle rises over a third of the epochs and falls over the rest."""
    average: float = 0.99
    """Decay of the running mean of the weights, which is what is validated and kept; 0: off."""
    tower_epochs: int = 10
    """Epochs, at most, in which towers are trained further on the frozen trunk; 0: none."""
    max_grad_norm: float | None = 1.0
    """Gradients are clipped to this norm; None turns clipping off."""
    warm_start: bool = False
    """Whether training begins with the champion's weights, where that gives nothing away; one that
    has time for a share of the rows only always does."""


@dataclass(frozen=True)
class EvaluationConfig:
    """How a model is judged, and beside what."""

    gate_max_worse: float = 0.01
    """Relative loss by which a task may be worse than the champion's, or than the constant's."""
    min_rows: int = 100
    """A task with fewer labelled rows in training, validation or test is left out."""
    single_task_twins: Literal["never", "weekly", "always"] = "weekly"
    """When each task is trained alone as well, to see whether sharing helps it: on Sundays, and
    when tasks or features have changed since the last training; never; or each time."""
    gate_min_rows: int = 200
    """A task with fewer test rows that neither model used says nothing to the gate."""
    twin_max_rows: int = 200_000
    """Training rows that a LightGBM twin sees at most, sampled by a hash of the row."""
    test_max_rows: int = 200_000
    """Rows that each task is tested on, or calibrated on, at most, sampled by a hash of the row."""
    folds: int = 0
    """Earlier midnights at which the whole training is repeated, to see how steady it is."""
    bootstrap_samples: int = 200
    """Resamples of users behind each interval."""


@dataclass(frozen=True)
class MachineConfig:
    """What it is trained on."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Where training and scoring run; auto: on a GPU where there is one."""
    threads: int = 1
    """Torch threads. More than one makes sums depend on the machine."""
    devices: int = 1
    """Processes that train one model together, each on its part of every batch: GPUs, or cores."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the products while training; float32 where the processor has no other."""
    rows_per_second: int = 4000
    """Rows that the network is expected to learn from in a second, by which `train.minutes` become
    rows. The report says what was measured."""
    checkpoint_seconds: float = 300.0
    """Between two states from which a training that was killed can go on."""


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of training, by what it is about. What can be derived is a property."""

    inputs: InputConfig = InputConfig()
    network: NetworkConfig = NetworkConfig()
    losses: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    machine: MachineConfig = MachineConfig()
    minutes: float | None = 60.0
    """Budget of the network's training: where examples are too many, it learns from a share of
    them for fewer epochs, as far as `machine.rows_per_second` says; none: from all."""
    mixture: Literal["mixture", "network", "twin"] = "mixture"
    """What scores: the best mixture of the network and boosted trees per task, either alone."""
    seed: int = 0
    """Of first weights, of the order of rows and of random masks."""

    def __post_init__(self) -> None:
        """Refuse settings that cannot be.

        Raises:
            ContractError: naming every one of them.
        """
        values = self.flat
        problems = [
            f"train.{PATHS[name]}: expected {expected}, found {values[name]}"
            for expected, is_right, names in _RANGES
            for name in names
            if not is_right(values[name])
        ]
        if problems:
            raise ContractError("; ".join(problems))

    @property
    def flat(self) -> dict[str, Any]:
        """Every setting by its name alone."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if is_dataclass(value):
                values |= {f.name: getattr(value, f.name) for f in fields(value)}
            else:
                values[field.name] = value
        return values

    def changed(self, **values: Any) -> TrainConfig:
        """The same but for some settings, by their names alone.

        Raises:
            ContractError: there is no such setting, or it cannot have that value.
        """
        unknown = sorted(set(values) - set(PATHS))
        if unknown:
            raise ContractError(f"train: there is no setting {', '.join(unknown)}")
        groups: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            group, _, _ = PATHS[name].rpartition(".")
            groups.setdefault(group, {})[name] = value
        alone = groups.pop("", {})
        return replace(
            self,
            **alone,
            **{group: replace(getattr(self, group), **given) for group, given in groups.items()},
        )


def _paths() -> dict[str, str]:
    groups = {f.name: f.default for f in fields(TrainConfig)}
    return {
        f.name: f"{group}.{f.name}"
        for group, default in groups.items()
        if is_dataclass(default)
        for f in fields(default)
    } | {name: name for name, default in groups.items() if not is_dataclass(default)}


PATHS: Mapping[str, str] = _paths()
"""A setting's name to its place below `train`: `width` to `network.width`."""

MAIN = (
    "minutes", "trunk", "width", "dropout", "balance", "learning_rate", "max_epochs",
    "gate_max_worse", "single_task_twins", "accelerator",
)  # fmt: skip
"""The settings that one would turn first, and which documentation names first."""

_USELESS = "it made no model better (docs/decisions/relations-between-tasks.md)"
_UNPROVED = "no experiment spoke for it (docs/decisions/settings-of-training.md)"
REMOVED: Mapping[str, str] = {
    "tie": _USELESS,
    "consistency": _USELESS,
    "l1": _UNPROVED,
    "normalisation": _UNPROVED,
}
"""Settings that there were, and why there are none any more."""
REMOVED_BALANCES = frozenset({"aligned_mtl", "imtl_g", "cagrad", "nash_mtl"})
"""Values of `losses.balance` that there were."""


def check_names(given: Mapping[str, Any]) -> None:
    """Refuse settings that there are not, or not in that place: before there were groups, each
    stood by its name alone.

    Raises:
        ContractError: naming the right place of each, or why it is gone.
    """
    groups = {path.partition(".")[0] for path in PATHS.values() if "." in path}
    places = [
        place
        for name in sorted(given)
        for place in (
            [f"{name}.{inner}" for inner in sorted(given[name])]
            if name in groups and isinstance(given[name], Mapping)
            else [name]
        )
    ]
    known = {*PATHS.values(), *groups}
    places.sort(key=lambda place: place.rpartition(".")[2] in REMOVED)
    problems = [_misplaced(place) for place in places if place not in known]
    if problems:
        raise ContractError("; ".join(problems))


def _misplaced(place: str) -> str:
    """What to write in place of a setting that is not where it was given."""
    name = place.rpartition(".")[2]
    if name in REMOVED:
        return f"train.{place} is gone: {REMOVED[name]}"
    if name in PATHS:
        moved = "is now" if name == place else "is not in this group: it is"
        return f"train.{place} {moved} train.{PATHS[name]}"
    known = {path.rpartition(".")[2]: path for path in PATHS.values()}
    known |= {path.partition(".")[0]: path.partition(".")[0] for path in PATHS.values()}
    close = get_close_matches(name, known, n=1)
    meant = f"; did you mean train.{known[close[0]]}?" if close else ""
    return f"there is no setting train.{place}{meant}"


def regrouped(saved: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an artifact, perhaps from before there were groups, as they are written now.

    Raises:
        ContractError: there is no such setting, or one that is gone decides how the network is
            built.
    """
    flat: dict[str, Any] = {}
    for name, value in saved.items():
        flat |= value if isinstance(value, Mapping) else {name: value}
    unknown = sorted(set(flat) - set(PATHS) - set(REMOVED))
    if unknown:
        raise ContractError(f"train: there is no setting {', '.join(unknown)}")
    if flat.get("normalisation", "layer") != "layer":
        raise ContractError(f"train.normalisation is gone: {REMOVED['normalisation']}")
    if flat.get("balance") in REMOVED_BALANCES:
        flat["balance"] = "fixed"  # it decides how a network is trained, not what it is
    groups: dict[str, Any] = {}
    for name, value in flat.items():
        if name in PATHS:
            group, _, _ = PATHS[name].rpartition(".")
            (groups.setdefault(group, {}) if group else groups)[name] = value
    return groups
