"""Every task of the model: its kind, label, horizon, mask, weight, and score columns.

Adding a task of an existing kind adds a row here; see docs/adding-a-task.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.errors import ContractError
from contracts.kinds import (
    Binary,
    Count,
    Kind,
    MultiClass,
    MultiLabel,
    Ordinal,
    ZeroInflatedLogNormal,
    kind_columns,
    label_range,
)
from contracts.measures import COUNTED_FROM, EVENTS
from contracts.table import Column, require_identifier

OUTCOMES = {
    "order": "an order that is not wholly cancelled",
    "net_spend_minor": "purchases less what was undone, in minor units",
    "stars": "the stars of a review",
    "sentiment": "the sentiment of a review, as its place among negative, neutral and positive",
    "category": "the category of an item ordered, reviewed or engaged with",
    "payment_fraud": "a payment that turned out to be fraud",
    "login_fraud": "a login that turned out to be fraud",
    "transfer_fraud": "a transfer that turned out to be fraud",
}
"""What `jobs/labels.py` can look for in a window besides the measures of `user_days`."""

OUTCOME_TABLES: Mapping[str, tuple[str, ...]] = {
    "order": ("orders",),
    "net_spend_minor": ("orders",),
    "stars": ("reviews",),
    "sentiment": ("reviews",),
    "category": ("orders", "reviews", "engagements"),
    "payment_fraud": ("account_events",),
    "login_fraud": ("account_events",),
    "transfer_fraud": ("account_events",),
}
"""Clean tables in which each of them happens: what else is known of it may be older or younger."""

EVENT_TABLES = tuple(EVENTS)
"""Clean tables of what users did; the others say what users and items are."""

SENTIMENTS = ("negative", "neutral", "positive")


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
    target: str
    """What is looked for in the window: one of `OUTCOMES`, or a measure of `user_days`."""
    mask: Mask
    """A label outside the mask is null."""
    needs: tuple[str, ...]
    """Clean tables without which the task is switched off."""
    needs_fields: tuple[str, ...] = ()
    """Optional fields of those, as `table.field`, without which it is switched off as well."""
    weight: float = 1.0
    """Its share in the loss, before balancing."""
    within: str | None = None
    """A task of a longer horizon that this one implies: its probability is never above that."""
    given: str | None = None
    """A measure without which, in the window, the label is null: the score is conditional on it."""
    known_after: int = 0
    """Days past the window until what happened in it is known: marks of fraud take weeks."""

    def __post_init__(self) -> None:
        require_identifier(self.name, "task")
        for what, least in (("horizon", 1), ("known_after", 0)):
            if getattr(self, what) < least:
                raise ContractError(
                    f"task {self.name}: {what} must be {least} {'day' if least else 'days'} or "
                    f"more, found {getattr(self, what)}"
                )
        if self.weight <= 0:
            raise ContractError(f"task {self.name}: weight must be above 0, found {self.weight}")
        if self.target not in {*COUNTED_FROM, *OUTCOMES}:
            raise ContractError(
                f"task {self.name}: target {self.target!r}: expected a measure of user_days or one "
                f"of {', '.join(OUTCOMES)}"
            )
        if self.given is not None and self.given not in COUNTED_FROM:
            raise ContractError(
                f"task {self.name}: given {self.given!r}: expected a measure of user_days"
            )

    @property
    def label(self) -> str:
        return f"label_{self.name}"

    @property
    def percentile(self) -> str:
        return f"percentile_{self.name}"

    @property
    def method(self) -> str:
        """The column that says where the score comes from."""
        return f"method_{self.name}"

    @property
    def closes_after(self) -> int:
        """Days from `as_of` until the label can be known, before `settle_days`."""
        return self.horizon + self.known_after

    @property
    def labelled_from(self) -> tuple[str, ...]:
        """Clean tables in which its target happens: before their first day there is nothing to
        learn, however far back others reach."""
        if self.target in OUTCOMES:
            return OUTCOME_TABLES[self.target]
        return COUNTED_FROM[self.target]

    def label_column(self) -> Column:
        least, most = label_range(self.kind)
        return Column(
            self.label,
            self.kind.label_type,
            f"{self.doc} Null where the window is open or the mask says no: {self.mask.doc}.",
            nullable=True,
            minimum=least,
            maximum=most,
        )

    def score_columns(self) -> tuple[Column, ...]:
        """Calibrated scores, then the percentile of the uncalibrated ranking score."""
        about = f"{self.doc} Trained on {self.mask.doc}."
        return (
            *kind_columns(self.kind, f"score_{self.name}", about),
            Column(
                self.percentile,
                "float",
                f"Mid-rank of the uncalibrated {self.name} score over all users of that day, 0 to "
                "1.",
                nullable=True,
                minimum=0,
                maximum=1,
            ),
        )

    def method_column(self) -> Column:
        """Where the score comes from, the same for every user of a day."""
        return Column(
            self.method,
            "string",
            f"Where the {self.name} score comes from: {BY_MODEL}; {BY_BASE_RATE}, the same for "
            "everybody, because the model's was not fit to be published; null where there is none.",
            nullable=True,
        )


BY_MODEL, BY_BASE_RATE = "model", "base rate"
"""Where a published score comes from."""

BUYERS = Mask("users with an order ever", "n_orders_all > 0")
ACTIVE = Mask("users active in the 28 days before", "days_since_last_seen <= 28")
ACTIVE_90 = Mask("users active in the 90 days before", "days_since_last_seen <= 90")
DORMANT = Mask(
    "users inactive for the 28 days before",
    "days_since_last_seen is null or days_since_last_seen > 28",
)
MARKS_TAKE = 35
"""Days until nearly all marks of fraud have come in."""


def _engagement(name: str, doc: str, target: str) -> Task:
    return Task(name, doc, Count(), 7, target, ACTIVE_90, ("engagements",))


def _fraud(kind: str) -> Task:
    return Task(
        f"{kind}_fraud_30d",
        f"Has a {kind} in the next 30 days that turns out to be fraud.",
        Binary(),
        horizon=30,
        target=f"{kind}_fraud",
        mask=Mask(f"users with a {kind} ever", f"n_{kind}s_all > 0"),
        needs=("account_events", "fraud_marks"),
        known_after=MARKS_TAKE,
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
    _engagement("view_7d", "Views posts, items or users so often in the next 7 days.", "n_views"),
    _engagement("like_7d", "Gives so many likes in the next 7 days.", "n_likes"),
    _engagement("comment_7d", "Writes so many comments in the next 7 days.", "n_comments"),
    _engagement("share_7d", "Shares so many things in the next 7 days.", "n_shares"),
    _engagement("search_7d", "Searches so often in the next 7 days.", "n_searches"),
    Task(
        "ad_click_7d",
        "Clicks an ad in the next 7 days, if shown one: the score is conditional on that.",
        Binary(),
        horizon=7,
        target="n_ad_clicks",
        mask=Mask("users who see an ad in the window"),
        needs=("engagements",),
        given="n_ad_views",
    ),
    Task(
        "interests_30d",
        "Categories of the items ordered, reviewed or engaged with in the next 30 days.",
        MultiLabel(max_classes=32),
        horizon=30,
        target="category",
        mask=ACTIVE_90,
        needs=("items",),
        needs_fields=("items.category_id",),
    ),
    Task(
        "sentiment_next_30d",
        "Sentiment of the first review in the next 30 days.",
        MultiClass(SENTIMENTS),
        horizon=30,
        target="sentiment",
        mask=Mask("users who review in the window"),
        needs=("reviews",),
    ),
    Task(
        "churn_28d",
        "Does nothing at all in the next 28 days.",
        Binary(negated=True),
        horizon=28,
        target="n_events",
        mask=ACTIVE,
        needs=(),
    ),
    Task(
        "return_90d",
        "Does something in the next 90 days.",
        Binary(),
        horizon=90,
        target="n_events",
        mask=DORMANT,
        needs=(),
    ),
    _fraud("payment"),
    _fraud("login"),
    _fraud("transfer"),
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


LABEL_REACH = max(task.closes_after for task in TASKS)
"""Days after `as_of` in which what happens can still decide a label, however late it lands."""


def lacking(task: Task, mapped: frozenset[str]) -> tuple[str, ...]:
    """What a task needs that is not among what a mapping has, tables and fields as `table.field`:
    tables, or, where those are there, fields."""
    tables = sorted(set(task.needs) - mapped)
    return tuple(tables or sorted(set(task.needs_fields) - mapped))


def enabled_tasks(mapped: frozenset[str]) -> tuple[Task, ...]:
    """Tasks whose clean tables and fields somebody's mapping feeds."""
    return tuple(task for task in TASKS if not lacking(task, mapped))
