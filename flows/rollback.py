"""Rollback: the release before is current again."""

from __future__ import annotations

from prefect import flow, get_run_logger

from flows.database import open_database
from flows.lake import Lake
from flows.lease import writing
from flows.registry import Registry
from flows.releases import Releases, heal
from flows.settings import read_settings


@flow(name="rollback")
def rollback() -> dict[str, str]:
    """Make the release before the current one current again.

    What the release that is taken back computed of its days is recomputed next time, not reused.
    """
    settings = read_settings()
    engine = open_database(settings.receipts_url)
    log = get_run_logger()
    with writing(engine, "rollback", "a rollback"):
        releases, lake = Releases(engine), Lake(settings.folder / "lake")
        withdrawn, current = releases.rollback(lake)
        log.info(f"{withdrawn.release_id} is taken back; {current.release_id} is current")
        for mended in heal(releases, lake, Registry(settings), settings.folder / "nightjar.duckdb"):
            log.info(f"rollback: {mended}")
    return {"withdrawn": withdrawn.release_id, "current": current.release_id}
