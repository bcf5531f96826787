"""Alerts: events that the automations of `flows/server/automations.py` turn into notifications."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.runtime import flow_run

CALIBRATION_DRIFT = "nightjar.alert.calibration-drift"
RECOMMENDATIONS_FELL = "nightjar.alert.recommendations-fell"
"""Released lists did worse than what was popular, or than they used to."""
NOT_REPAIRED = "nightjar.alert.not-repaired"
"""MLflow's alias or the file of views lags behind the release."""
NOT_ERASED = "nightjar.alert.not-erased"
"""An erasure was cut off and waits for being started again."""
NOT_REPORTED = "nightjar.alert.not-reported"
"""A release stands without its page, or without what else only tells of it."""
NOT_TRACKED = "nightjar.alert.not-tracked"
"""MLflow does not have a model that was trained."""
NEEDS_APPROVAL = "nightjar.alert.needs-approval"
"""A model scores only once a person approves it."""
TASK_WITHHELD = "nightjar.alert.task-withheld"
"""A task of the champion is not published any more: it failed on later test days."""
EVERY_ALERT = "nightjar.alert.*"
PUBLISHED = "nightjar.release.published"


_raised: dict[str, list[str]] = {}
"""Run to the messages of its alerts, in this process."""


def raised() -> tuple[str, ...]:
    """What this run has raised alerts of, for its page; each message once."""
    return tuple(dict.fromkeys(_raised.get(_run_id(), ())))


def alert(event: str, message: str, **about: str) -> None:
    """Tell whoever is on call, without stopping the run: what, in words, and what it is about."""
    _raised.setdefault(_run_id(), []).append(message)
    emit_event(event, resource=_this_run(), payload={"message": message, **about})


def announce(release_id: str, as_of: str) -> Exception | None:
    """Say that a release is current, for automations of other systems to start from.

    Returns:
        Why it was not said: Prefect's server is away, so that the event would be lost.
    """
    away = _away()
    if away is None:
        emit_event(
            PUBLISHED,
            resource={"prefect.resource.id": f"nightjar.release.{release_id}"},
            related=[{**_this_run(), "prefect.resource.role": "flow-run"}],
            payload={"release_id": release_id, "as_of": as_of},
        )
    return away


def _away() -> Exception | None:
    """Why Prefect's server does not answer; None if it does."""
    try:
        with get_client(sync_client=True) as client:
            return client.api_healthcheck()
    except Exception as error:  # a client that is new asks already when it is made
        return error


def _run_id() -> str:
    return str(flow_run.id or "none")


def _this_run() -> dict[str, str]:
    return {
        "prefect.resource.id": f"prefect.flow-run.{_run_id()}",
        "prefect.resource.name": flow_run.name or "nightjar",
    }
