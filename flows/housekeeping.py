"""Housekeeping by its schedule."""

from __future__ import annotations

from prefect.artifacts import create_table_artifact

from flows.retention.housekeeping import now, run_housekeeping
from flows.settings import read_settings
from flows.steps.parameters import as_flag
from flows.steps.prefect_tasks import flow, say


@flow(name="housekeeping", validate_parameters=False)
def housekeeping(dry_run: bool = False) -> list[tuple[str, str, str]]:
    """Drop days past their retention, compact small files, expire snapshots, remove what nothing
    reaches. Nothing that a kept release or its model's training needs.

    Args:
        dry_run: Only say what would be done.
    """
    is_dry_run = as_flag(dry_run, "dry_run")
    result = run_housekeeping(read_settings(), is_dry_run, now(), say)
    for what, how_many, which in result.lines:
        say(f"{what}: {how_many} {which}".rstrip())
    create_table_artifact(
        [dict(zip(("what", "how many", "which"), line, strict=True)) for line in result.lines],
        key="housekeeping",
        description="would be removed or rewritten" if is_dry_run else "removed or rewritten",
    )
    return result.lines
