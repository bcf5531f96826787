"""Prefect's automations: alerts when a run fails, crashes or is late, or a night raises one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from prefect.blocks.core import Block
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.types import SecretDict

from contracts.errors import UsageError
from contracts.foreign import library_message
from flows.engine.alerts import EVERY_ALERT
from flows.settings import NightjarSettings

BLOCK = "nightjar-alerts"
_DESCRIPTION = "Created by `nightjar up`; changes here are undone when it starts."
_HEARTBEAT = "prefect.flow-run.heartbeat"
_RUN = "{{ flow_run.name }}: {{ flow_run.state.name }}"
_EVENTS = {
    "Nightjar: a run failed": (
        ("prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"),
        _RUN,
        "{{ flow_run.state.message }}\n{{ flow_run | ui_url }}",
    ),
    "Nightjar: a run is late": (
        ("prefect.flow-run.Late",),
        "{{ flow_run.name }} is late: is the worker up?",
        "It should have started at {{ flow_run.expected_start_time }} and waits for a worker.\n"
        "{{ flow_run | ui_url }}",
    ),
    "Nightjar: an alert": (
        (EVERY_ALERT,),
        "{{ event.resource.name }}",
        "{{ event.payload.message }}",
    ),
}
"""Automation to the events it waits for, and the subject and text of what it sends."""
SILENT = "Nightjar: a run has gone silent"
SILENCE = timedelta(minutes=5)
"""A run that was killed with its worker sends no event. Once its heartbeats have stopped for so
long its state becomes crashed, which is an alert."""


def put_automations(settings: NightjarSettings) -> tuple[str, ...]:
    """Create or update the automations; without a receiver they only record what happened.

    Returns:
        Their names.

    Raises:
        UsageError: the settings name a notification block that Prefect does not have.
    """
    block = notification_block(settings)
    with get_client(sync_client=True) as client:
        for name, (expect, subject, body) in _EVENTS.items():
            action = (
                DoNothing()
                if block is None
                else SendNotification(block_document_id=block, subject=subject, body=body)
            )
            put(
                client,
                AutomationCore(
                    name=name,
                    description=_DESCRIPTION,
                    enabled=True,
                    trigger=EventTrigger(
                        expect=set(expect),
                        match={"prefect.resource.id": "prefect.flow-run.*"},
                        for_each={"prefect.resource.id"},
                        posture=Posture.Reactive,
                        threshold=1,
                        within=timedelta(0),
                    ),
                    actions=[action],
                ),
            )
        put(client, crash_silent_runs())
    return (*_EVENTS, SILENT)


def crash_silent_runs(silence: timedelta = SILENCE) -> AutomationCore:
    """Sets runs to crashed that have sent a heartbeat, and then neither another one nor an end."""
    ends = ("Completed", "Failed", "Crashed", "Cancelled")
    return AutomationCore(
        name=SILENT,
        description=_DESCRIPTION,
        enabled=True,
        trigger=EventTrigger(
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *(f"prefect.flow-run.{end}" for end in ends)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                name="Crashed",
                state=StateType.CRASHED,
                force=False,
                message=f"No heartbeat for {silence.total_seconds():.0f} seconds: the run was "
                "killed, or its machine is down. Run it again: what was finished is reused.",
            )
        ],
    )


def put(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Create the automation, or make the one of its name like it."""
    existing = client.find_automation(wanted.name)
    if existing is None:
        client.create_automation(wanted)
    else:
        client.update_automation(existing.id, wanted)


def notification_block(settings: NightjarSettings) -> UUID | None:
    """The id of the block that notifications go to; None without a receiver."""
    block: Any
    if settings.alert_block is not None:
        try:
            block = Block.load(settings.alert_block)
        except ValueError as error:
            why = library_message(error)
            raise UsageError(f"alert_block = {settings.alert_block!r}: {why}") from None
        return cast(UUID, block._block_document_id)
    if settings.alert_webhook is None:
        return None
    block = webhook_block(settings.alert_webhook.get_secret_value())
    return cast(UUID, block.save(BLOCK, overwrite=True))


def webhook_block(url: str) -> CustomWebhookNotificationBlock:
    """Posts alerts to an address that Prefect shows to nobody: who knows it can post there too."""
    return CustomWebhookNotificationBlock(
        name=BLOCK,
        url="{{webhook}}",
        json_data={"text": "{{subject}}\n{{body}}"},
        headers=None,
        cookies=None,
        secrets=SecretDict({"webhook": url}),
    )
