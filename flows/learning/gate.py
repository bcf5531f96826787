"""Which model a night scores with: by the gate's word, or a person's where it asks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, insert, select

from contracts.errors import UsageError
from contracts.tables import NO_MODEL
from flows.state.schema import ACCEPTED


def accept(engine: Engine, trained: Mapping[str, Any] | None, model_id: str) -> None:
    """Let a model pass that the gate asks about; `trained` is what its night's training said.

    Raises:
        UsageError: the night has trained another model, or none; or the gate does not ask.
    """
    found = trained["model_id"] if trained is not None else "none"
    if trained is None or found != model_id:
        raise UsageError(f"accept: the night has trained model {found}, not {model_id}")
    decision = trained["gate"]["decision"]
    if decision != "ask":
        raise UsageError(
            f"accept: the gate does not ask about model {model_id}: it says {decision}"
        )
    if not accepted(engine, model_id):
        with engine.begin() as connection:
            connection.execute(
                insert(ACCEPTED).values(model_id=model_id, accepted_at=datetime.now(UTC))
            )


def accepted(engine: Engine, model_id: str) -> bool:
    """Whether a person has let the model pass."""
    with engine.connect() as connection:
        found = connection.execute(select(ACCEPTED).where(ACCEPTED.c.model_id == model_id))
        return found.first() is not None


def chosen(
    trained: Mapping[str, Any], champion: str | None, is_accepted: bool, base_rates: bool = False
) -> tuple[str, str, bool]:
    """The model to score with, why in words, and whether a person should be asked.

    Without a champion, a model of which no task is fit scores nobody; with `base_rates` it says
    what its tasks come to on average.
    """
    verdict, model_id = trained["gate"], str(trained["model_id"])
    reasons = "; ".join(verdict["reasons"])
    if champion == model_id:
        why = f"model {model_id} is the champion already; when it was trained: {reasons}"
        return model_id, why, False
    if verdict["decision"] == "promote":
        return model_id, f"model {model_id} passes: {reasons}", False
    if champion is None and base_rates and model_id != NO_MODEL:
        return model_id, f"only base rates of model {model_id} are published: {reasons}", False
    if champion is None:
        return NO_MODEL, f"nobody is scored, for there is no model: {reasons}", False
    if verdict["decision"] != "ask":
        return champion, f"champion {champion} stays: {reasons}", False
    if is_accepted:
        return model_id, f"model {model_id} passes, as a person decided: {reasons}", False
    return champion, f"champion {champion} stays until a person decides: {reasons}", True
