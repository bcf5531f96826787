"""What a label can look like. Each kind has its label in `jobs/labels.py`, its head in
`models/network/heads.py`, its metrics in `models/evaluation/metrics.py`, LightGBM's objective in
`models/training/tree_fit.py`, the scale on which both are mixed in `models/trees/links.py`, and its
score columns here; a test fails if one is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.errors import ContractError
from contracts.table import Column, require_identifier


@dataclass(frozen=True)
class Binary:
    """Does the target happen in the window? The label is 0 or 1."""

    negated: bool = False
    """Asks whether it does *not* happen."""
    name = "binary"
    label_type = "int"


@dataclass(frozen=True)
class Count:
    """How often does the target happen in the window? The label is 0 or more."""

    name = "count"
    label_type = "bigint"


@dataclass(frozen=True)
class Regression:
    """How much of the target, where it may be below 0? The label is its sum in the window."""

    name = "regression"
    label_type = "bigint"


@dataclass(frozen=True)
class ZeroInflatedLogNormal:
    """How much of the target, where most have none? The label is its sum in the window, at least 0
    (Wang, Liu, Miao: A Deep Probabilistic Model for Customer Lifetime Value Prediction, 2019)."""

    name = "zero_inflated_log_normal"
    label_type = "bigint"


@dataclass(frozen=True)
class Ordinal:
    """Which of the ordered levels 1…`levels`? The label is the first value in the window."""

    levels: int
    name = "ordinal"
    label_type = "int"

    def __post_init__(self) -> None:
        if self.levels < 2:
            raise ContractError(f"an ordinal kind needs 2 levels or more, found {self.levels}")


@dataclass(frozen=True)
class MultiClass:
    """Which one of `classes`? The label is the first value in the window: its place, from 1."""

    classes: tuple[str, ...]
    """From the least wished for to the most: ranking scores go by the mean place."""
    name = "multi_class"
    label_type = "int"

    def __post_init__(self) -> None:
        if len(set(self.classes)) < 2:
            raise ContractError(
                f"a multi-class kind needs 2 classes or more, found {', '.join(self.classes)}"
            )
        for name in self.classes:
            require_identifier(name, "class")


@dataclass(frozen=True)
class MultiLabel:
    """Which of many things in the window, any number of them? The label is their sorted names.

    What there is comes from the data: the model learns the `max_classes` most frequent names of
    its training days.
    """

    max_classes: int
    name = "multi_label"
    label_type = "array<string>"

    def __post_init__(self) -> None:
        if self.max_classes < 1:
            raise ContractError(f"max_classes must be 1 or more, found {self.max_classes}")


Kind = Binary | Count | Regression | ZeroInflatedLogNormal | Ordinal | MultiClass | MultiLabel
KINDS: tuple[type[Kind], ...] = (
    Binary,
    Count,
    Regression,
    ZeroInflatedLogNormal,
    Ordinal,
    MultiClass,
    MultiLabel,
)


def label_range(kind: Kind) -> tuple[float | None, float | None]:
    """The smallest and largest label; None is no bound."""
    match kind:
        case Binary():
            return 0, 1
        case Ordinal(levels=levels):
            return 1, levels
        case MultiClass(classes=classes):
            return 1, len(classes)
        case Count() | ZeroInflatedLogNormal():
            return 0, None
        case Regression() | MultiLabel():
            return None, None


def kind_columns(kind: Kind, score: str, about: str) -> tuple[Column, ...]:
    """The calibrated scores of a kind: columns that start with `score`, nullable."""
    match kind:
        case Binary():
            return (_probability(score, about),)
        case Count():
            return (_amount(f"{score}_expected", f"Expected number. {about}"),)
        case Regression():
            return (
                Column(f"{score}_expected", "double", f"Expected amount. {about}", nullable=True),
            )
        case ZeroInflatedLogNormal():
            return (
                _probability(f"{score}_probability", f"Probability that it is above 0. {about}"),
                _amount(
                    f"{score}_expected",
                    f"Expected amount, in minor units of the reporting currency. {about}",
                ),
            )
        case Ordinal(levels=levels):
            return _levels(levels, score, about)
        case MultiClass(classes=classes):
            return tuple(
                _probability(f"{score}_is_{name}", f"Probability of {name}. {about}")
                for name in classes
            )
        case MultiLabel():
            return _classes(score, about)


def _levels(levels: int, score: str, about: str) -> tuple[Column, ...]:
    expected = Column(
        f"{score}_expected",
        "float",
        f"Expected level, 1 to {levels}. {about}",
        nullable=True,
        minimum=1,
        maximum=levels,
    )
    return (
        expected,
        *(
            _probability(f"{score}_is_{level}", f"Probability of level {level}. {about}")
            for level in range(1, levels + 1)
        ),
    )


def _classes(score: str, about: str) -> tuple[Column, ...]:
    return (
        Column(
            f"{score}_classes",
            "array<string>",
            f"What the model can tell, the same for every user. {about}",
            nullable=True,
        ),
        Column(
            f"{score}_probabilities",
            "array<float>",
            f"Probability of each, in the order of {score}_classes. {about}",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(f"{score}_top", "string", f"The most probable of them. {about}", nullable=True),
    )


def _probability(name: str, doc: str) -> Column:
    return Column(name, "float", doc, nullable=True, minimum=0, maximum=1)


def _amount(name: str, doc: str) -> Column:
    return Column(name, "double", doc, nullable=True, minimum=0)
