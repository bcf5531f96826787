"""Rollback: the release before is current again."""

from __future__ import annotations

from prefect import flow, get_run_logger

from contracts.table import CallError
from flows.database import open_database
from flows.forms import as_text
from flows.lake import Lake
from flows.lease import NIGHT_FIRST, writing
from flows.registry import Registry
from flows.releases import Releases, heal
from flows.settings import read_settings
from flows.tasks import patience, say


@flow(name="rollback", validate_parameters=False)
def rollback(release: str = "", reason: str = "") -> dict[str, str]:
    """Make the release before the current one current again.

    What the release that is taken back computed of its days is recomputed next time, not reused.

    Args:
        release: The release to take back, as a check: it must be the current one. Empty: whichever
            is current.
        reason: Why, in a few words; it is logged.
    """
    named = as_text(release, "release")
    settings = read_settings()
    engine = open_database(settings.receipts_url)
    log = get_run_logger()
    if (why := as_text(reason, "reason")) is not None:
        log.info(f"reason: {why}")
    with writing(engine, "rollback", "a rollback", patience(), NIGHT_FIRST, say):
        releases, lake = Releases(engine), Lake(settings.folder / "lake")
        current = releases.current()
        if named is not None and (current is None or current.release_id != named):
            found = "nothing" if current is None else current.release_id
            raise CallError(
                f"release: {named} is to be taken back, but {found} is current; nothing was changed"
            )
        withdrawn, current = releases.rollback(lake)
        log.info(f"{withdrawn.release_id} is taken back; {current.release_id} is current")
        for mended in heal(releases, lake, Registry(settings), settings.folder / "nightjar.duckdb"):
            log.info(f"rollback: {mended}")
    return {"withdrawn": withdrawn.release_id, "current": current.release_id}
