"""Rollback: the release before is current again."""

from __future__ import annotations

from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from contracts.errors import UsageError
from flows.lake.home_binding import open_home, open_lake
from flows.release.releases import Releases, now, release_at
from flows.report.outcome import of_rollback
from flows.report.run_page import mark_rolled_back, run_page
from flows.report.summary import Summary
from flows.settings import read_settings
from flows.state.writer_lock import NIGHT_FIRST, writing
from flows.steps.parameters import as_text
from flows.steps.prefect_tasks import after_publication, flow, patience, say
from flows.steps.publish import repair_and_announce


@flow(name="rollback", validate_parameters=False)
def rollback(release: str = "", reason: str = "") -> dict[str, Any]:
    """Make the release before the current one current again.

    What the release that is withdrawn computed of its days is recomputed next time, not reused.

    Args:
        release: The release to withdraw, as a check: it must be the current one. Empty: the one
            that was current when this was asked for.
        reason: Why, in a few words; it is logged.
    """
    named = as_text(release, "release")
    settings = read_settings()
    engine = open_home(settings)
    asked_at = flow_run.scheduled_start_time or now()
    meant = named or release_at(Releases(engine), asked_at)
    log = get_run_logger()
    if (why := as_text(reason, "reason")) is not None:
        log.info(f"reason: {why}")
    run_id = f"rollback-{now():%Y%m%dT%H%M%S%f}"
    with writing(engine, run_id, "a rollback", patience(), NIGHT_FIRST, say) as lease:
        releases, lake = Releases(engine), open_lake(settings, engine)
        lake.hold(lease)
        current = releases.current()
        if current is not None and current.release_id != meant:
            raise UsageError(
                f"release: {meant or 'nothing'} is to be withdrawn, but {current.release_id} is "
                "current; nothing was changed"
            )
        withdrawn, current = releases.rollback(lake)
        log.info(f"{withdrawn.release_id} is withdrawn; {current.release_id} is current")
        repair_and_announce(releases, lake, settings, "rollback")
    outcome = of_rollback(withdrawn, current)
    with after_publication("the rollback's mark on its page"):
        mark_rolled_back(settings.home_folder, withdrawn, outcome)
        page = run_page("a rollback", run_id, outcome)
        create_markdown_artifact(page.as_markdown, key="rollback", description=page.title)
    return {
        "withdrawn": withdrawn.release_id,
        "current": current.release_id,
        "summary": Summary(outcome),
    }
