"""Which model a night scores with: what the gate says, or a person where it needs approval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, insert, select

from contracts.errors import ContractError, UsageError
from contracts.tables import NO_MODEL
from flows.engine.home_state import HomeState
from flows.engine.run_context import RunContext
from flows.learning.fingerprints import not_trained
from flows.release.releases import Releases
from flows.state.receipts import Receipts
from flows.state.schema import ACCEPTED


def accept(engine: Engine, trained: Mapping[str, Any] | None, model_id: str) -> None:
    """Approve a model that needs it; `trained` is the report of its night's training.

    Raises:
        UsageError: the night has trained another model, or none; or it needs no approval.
    """
    of_night = trained["model_id"] if trained is not None else "none"
    if trained is None or of_night != model_id:
        raise UsageError(f"accept: the night has trained model {of_night}, not {model_id}")
    decision = trained["gate"]["decision"]
    if decision != "ask":
        raise UsageError(
            f"accept: model {model_id} needs no approval: the gate's decision is {decision}"
        )
    if not accepted(engine, model_id):
        with engine.begin() as connection:
            connection.execute(
                insert(ACCEPTED).values(model_id=model_id, accepted_at=datetime.now(UTC))
            )


def accepted(engine: Engine, model_id: str) -> bool:
    """Whether a person has approved the model."""
    with engine.connect() as connection:
        rows = connection.execute(select(ACCEPTED).where(ACCEPTED.c.model_id == model_id))
        return rows.first() is not None


@dataclass(frozen=True)
class Choice:
    """The model to score with."""

    model_id: str
    why: str
    needs_approval: bool = False
    """Whether the challenger scores only once a person approves it."""


def model_of_night(context: RunContext, state: HomeState) -> str | None:
    """The model that tonight scores with; None while it is not trained."""
    report = training_report(context, state.receipts)
    return None if report is None else choice_of(context, state.engine, report).model_id


def training_report(context: RunContext, receipts: Receipts) -> dict[str, Any] | None:
    """The report of tonight's training; None if there was none yet."""
    if context.settings.no_train:
        return not_trained(context)
    receipt = receipts.get("train", context.as_of)
    return None if receipt is None else dict(receipt.outputs)


def trained_tonight(context: RunContext, receipts: Receipts) -> dict[str, Any]:
    """The report of tonight's training.

    Raises:
        ContractError: there was none.
    """
    report = training_report(context, receipts)
    if report is None:
        raise ContractError(f"no model was trained as of {context.as_of}")
    return report


def choice_of(context: RunContext, engine: Engine, report: Mapping[str, Any]) -> Choice:
    """By the report of tonight's training, and what people have approved."""
    return chosen(
        report,
        Releases(engine).champion(context.as_of),
        accepted(engine, str(report["model_id"])),
        context.settings.failed_tasks == "base_rate",
    )


def chosen(
    trained: Mapping[str, Any], champion: str | None, is_accepted: bool, base_rates: bool = False
) -> Choice:
    """The model to score with.

    Without a champion, a model of which no task is fit scores nobody; with `base_rates` it says
    what its tasks come to on average.
    """
    verdict, model_id = trained["gate"], str(trained["model_id"])
    reasons = "; ".join(verdict["reasons"])
    if champion == model_id:
        why = f"model {model_id} is the champion already; when it was trained: {reasons}"
        return Choice(model_id, why)
    if verdict["decision"] == "promote":
        return Choice(model_id, f"model {model_id} passes: {reasons}")
    if champion is None and base_rates and model_id != NO_MODEL:
        return Choice(model_id, f"only base rates of model {model_id} are published: {reasons}")
    if champion is None:
        return Choice(NO_MODEL, f"nobody is scored, for there is no model: {reasons}")
    if verdict["decision"] != "ask":
        return Choice(champion, f"champion {champion} stays: {reasons}")
    if is_accepted:
        return Choice(model_id, f"model {model_id} passes, approved by a person: {reasons}")
    return Choice(champion, f"champion {champion} stays until a person approves: {reasons}", True)
