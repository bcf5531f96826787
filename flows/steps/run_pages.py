"""Pages of runs that are no whole night: a failure, a backfill, a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from contracts.errors import BusyError
from flows.engine.alerts import NOT_REPORTED
from flows.engine.run import Run
from flows.lifecycle.errors import may_pass, sentence
from flows.release.releases import Releases
from flows.report.outcome import message_of, of_failure
from flows.report.run_page import RunPage, run_page, write_run_page
from flows.state.writer_lock import LeaseLost
from flows.steps.prefect_tasks import warn
from flows.storage.home import Home


def show(page: RunPage, home: Home, location: str, key: str) -> Path:
    """Write a page into the home, and as an artifact of the run."""
    path = write_run_page(page, home, location)
    create_markdown_artifact(page.as_markdown, key=key, description=page.title)
    return path


@contextmanager
def page_of_failure(run: Run, what: str, command: str, location: str, key: str) -> Iterator[None]:
    """Where the block fails, a page says so in its first line, and what is to be done.

    None of a run that another one kept from writing: it has begun nothing.

    Args:
        run: the run.
        what: what it is, such as `the night of 2025-01-31`.
        command: what starts it again.
        location: where its page belongs.
        key: of its artifact.
    """
    try:
        yield
    except (BusyError, LeaseLost):
        raise
    except Exception as error:
        try:
            _show_failure(run, what, command, location, key, error)
        except Exception as problem:  # the failure itself is what is to be told
            warn(f"the page of the failure could not be made: {sentence(problem)}", NOT_REPORTED)
        raise


def _show_failure(
    run: Run, what: str, command: str, location: str, key: str, error: Exception
) -> None:
    current = Releases(run.engine).current()
    page = run_page(
        what,
        run.run_id,
        of_failure(what, command, error, current, run.run_id),
        stages=run.reports,
        message=message_of(error),
        release=current if current is not None and current.run_id == run.run_id else None,
    )
    home = run.settings.home_folder
    if may_pass(error):  # what is away may be Prefect's server
        write_run_page(page, home, location)
    else:
        show(page, home, location, key)
