"""Every task of the model: its kind, label, horizon, mask, weight, and score columns.

A *kind* says what a label looks like. Its label is made in `jobs/labels.py`, its head in
`models/heads.py`, its score columns here; a test fails if one of the three is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from contracts.table import Column, ContractError, require_identifier


@dataclass(frozen=True)
class Binary:
    """Does the target happen in the window? The label is 0 or 1."""

    negated: bool = False
    """Asks whether it does *not* happen."""
    name = "binary"
    label_type = "int"


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


Kind = Binary | ZeroInflatedLogNormal | Ordinal
KINDS: tuple[type[Kind], ...] = (Binary, ZeroInflatedLogNormal, Ordinal)


Target = Literal["order", "activity", "net_spend_minor", "stars"]
"""What `jobs/labels.py` can look for in a window: an order that is not wholly cancelled, anything
at all, purchases less what was undone, the stars of a review."""


@dataclass(frozen=True)
class Mask:
    """Whom a question makes sense for: in words, and in SQL over `user_features`."""

    doc: str
    sql: str = "true"


@dataclass(frozen=True)
class Task:
    """A question about each user, answered as of a midnight for the `horizon` days after it."""

    name: str
    doc: str
    kind: Kind
    horizon: int
    """Days of the label's window `[as_of, as_of + horizon)`."""
    target: Target
    """What is looked for in the window."""
    mask: Mask
    """A label outside the mask is null."""
    needs: tuple[str, ...]
    """Clean tables without which the task is switched off."""
    weight: float = 1.0
    """Its share in the loss, before balancing."""
    within: str | None = None
    """A task of a longer horizon that this one implies: its probability is never above that."""

    def __post_init__(self) -> None:
        require_identifier(self.name, "task")
        if self.horizon < 1:
            raise ContractError(
                f"task {self.name}: horizon must be 1 day or more, found {self.horizon}"
            )
        if self.weight <= 0:
            raise ContractError(f"task {self.name}: weight must be above 0, found {self.weight}")

    @property
    def label(self) -> str:
        return f"label_{self.name}"

    @property
    def percentile(self) -> str:
        return f"percentile_{self.name}"

    def label_column(self) -> Column:
        return Column(
            self.label,
            self.kind.label_type,
            f"{self.doc} Null where the window is open or the mask says no: {self.mask.doc}.",
            nullable=True,
            minimum=1 if isinstance(self.kind, Ordinal) else 0,
            maximum=_label_maximum(self.kind),
        )

    def score_columns(self) -> tuple[Column, ...]:
        """Calibrated scores, then the percentile of the uncalibrated ranking score."""
        score = f"score_{self.name}"
        percentile = Column(
            self.percentile,
            "float",
            f"Mid-rank of the uncalibrated {self.name} score over all users of that day, 0 to 1.",
            nullable=True,
            minimum=0,
            maximum=1,
        )
        about = f"{self.doc} Learned from {self.mask.doc}."
        match self.kind:
            case Binary():
                return (_probability(score, about), percentile)
            case ZeroInflatedLogNormal():
                return (
                    _probability(
                        f"{score}_probability", f"Probability that it is above 0. {about}"
                    ),
                    Column(
                        f"{score}_expected",
                        "double",
                        f"Expected amount, in minor units of the reporting currency. {about}",
                        nullable=True,
                        minimum=0,
                    ),
                    percentile,
                )
            case Ordinal(levels=levels):
                return (
                    Column(
                        f"{score}_expected",
                        "float",
                        f"Expected level, 1 to {levels}. {about}",
                        nullable=True,
                        minimum=1,
                        maximum=levels,
                    ),
                    *(
                        _probability(
                            f"{score}_is_{level}", f"Probability of level {level}. {about}"
                        )
                        for level in range(1, levels + 1)
                    ),
                    percentile,
                )


def _probability(name: str, doc: str) -> Column:
    return Column(name, "float", doc, nullable=True, minimum=0, maximum=1)


def _label_maximum(kind: Kind) -> float | None:
    match kind:
        case Binary():
            return 1
        case Ordinal(levels=levels):
            return levels
        case ZeroInflatedLogNormal():
            return None


BUYERS = Mask("users with an order ever", "n_orders_all > 0")
ACTIVE = Mask("users active in the 28 days before", "days_since_last_seen <= 28")
DORMANT = Mask(
    "users inactive for the 28 days before",
    "days_since_last_seen is null or days_since_last_seen > 28",
)

TASKS: tuple[Task, ...] = (
    Task(
        "purchase_7d",
        "Places an order in the next 7 days that is not wholly cancelled.",
        Binary(),
        horizon=7,
        target="order",
        mask=BUYERS,
        needs=("orders",),
        within="purchase_30d",
    ),
    Task(
        "purchase_30d",
        "Places an order in the next 30 days that is not wholly cancelled.",
        Binary(),
        horizon=30,
        target="order",
        mask=BUYERS,
        needs=("orders",),
    ),
    Task(
        "spend_30d",
        "Purchases less returns and cancellations in the next 30 days, at least 0, in minor units "
        "of the reporting currency.",
        ZeroInflatedLogNormal(),
        horizon=30,
        target="net_spend_minor",
        mask=BUYERS,
        needs=("orders",),
    ),
    Task(
        "next_rating_90d",
        "Stars of the first review in the next 90 days.",
        Ordinal(levels=5),
        horizon=90,
        target="stars",
        mask=Mask("users who review in the window"),
        needs=("reviews",),
    ),
    Task(
        "churn_28d",
        "Does nothing at all in the next 28 days.",
        Binary(negated=True),
        horizon=28,
        target="activity",
        mask=ACTIVE,
        needs=(),
    ),
    Task(
        "return_90d",
        "Does something in the next 90 days.",
        Binary(),
        horizon=90,
        target="activity",
        mask=DORMANT,
        needs=(),
    ),
)


def task_named(name: str) -> Task:
    """The task of that name.

    Raises:
        ContractError: there is none; the message lists those there are.
    """
    for task in TASKS:
        if task.name == name:
            return task
    raise ContractError(f"task {name!r}: expected one of {', '.join(t.name for t in TASKS)}")


def enabled_tasks(mapped: frozenset[str]) -> tuple[Task, ...]:
    """Tasks whose clean tables somebody's mapping feeds."""
    return tuple(task for task in TASKS if set(task.needs) <= mapped)
