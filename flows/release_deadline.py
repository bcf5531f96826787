"""The run that fails when a night's release is not there in time."""

from __future__ import annotations

from contracts.errors import ContractError
from flows.lake.home_binding import open_home
from flows.release.releases import Releases
from flows.settings import read_settings
from flows.steps.opening import night_schedule, scheduled_start
from flows.steps.parameters import as_day
from flows.steps.prefect_tasks import flow, say


@flow(name="release-deadline", validate_parameters=False)
def release_deadline(as_of: str = "") -> str:
    """Fail, and so raise an alert, unless the night's release is current.

    Args:
        as_of: The day that must have been scored, such as 2025-01-31. Empty: that of the night
            that was due last.
    """
    day = as_day(as_of, "as_of") if as_of else night_schedule().newest_due(scheduled_start())
    current = Releases(open_home(read_settings())).current()
    if current is None or current.as_of < day:
        state = "nothing was ever published" if current is None else (
            f"the newest release, {current.release_id}, is of {current.as_of}"
        )  # fmt: skip
        raise ContractError(
            f"there is no release of {day} yet: {state}. Look at the night's run: it failed, runs "
            "late, or waits for a worker. Analysts go on with the release before"
        )
    say(f"release {current.release_id} of {current.as_of} is current")
    return current.release_id
