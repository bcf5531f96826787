"""Replay: quarantined rows are cleaned again, and what depends on them is rebuilt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact

from contracts.errors import UsageError
from flows.engine.run import Run
from flows.monitor.quarantine import dropped_rows
from flows.planning import stage_list
from flows.release.releases import Release, Releases
from flows.settings import read_settings
from flows.state.writer_lock import AFTER_THE_NIGHT
from flows.steps import publish
from flows.steps.candidate import Candidate
from flows.steps.opening import default_as_of, only_writer
from flows.steps.parameters import as_day, as_flag, as_path, as_text
from flows.steps.prefect_tasks import after_publication, flow, say
from flows.steps.runner import RUNNER, execute

Counts = Mapping[tuple[str, str], int]
Dropped = Mapping[tuple[str, str, date], int]
"""Rows in quarantine by table, reason, and day on which they landed."""


@flow(name="replay", task_runner=RUNNER, validate_parameters=False)
def replay(
    day: date,
    until: str = "",
    reason: str = "",
    publish_release: bool = True,
    source: str = "",
    raw: str = "",
) -> dict[str, Any]:
    """Clean the days of quarantined rows again, after a mapping, rule or file was corrected.

    Only these days of the tables that lost rows on them are cleaned; features of the newest day are
    rebuilt, users scored with the current model, and one release is published. Days that a changed
    mapping concerns beyond these are cleaned by the next night.

    Args:
        day: The day on which the rows landed, such as 2025-01-31.
        until: The last such day, included. Empty: just the one.
        reason: Only rows whose reason holds this text, such as "price". Empty: all of them.
        publish_release: Whether to score and publish at once, or leave that to the next night.
        source: The mapping of the raw files. Empty: the one in the settings.
        raw: The folder of the raw files. Empty: the one in the settings.
    """
    first = as_day(day, "day")
    last = as_day(until, "until") if until else first
    if last < first:
        raise UsageError(f"until ({last}) must not lie before day ({first})")
    text, at_once = as_text(reason, "reason"), as_flag(publish_release, "publish_release")
    run = open_replay(last, as_path(source), as_path(raw))
    before, after, release = clean_again(run, first, last, text, at_once)
    rows = changes(total(before), total(after))
    with after_publication("the replay's report"):
        create_markdown_artifact(as_markdown(first, last, rows), key="replay")
    for table, why, was, now in rows:
        say(f"{table}: {why}: {was} in quarantine before, {now} now")
    return {
        "run_id": run.run_id,
        "rows": rows,
        "release_id": None if release is None else release.release_id,
        "recomputed": sum(report.recomputed for report in run.reports),
    }


def clean_again(
    run: Run, first: date, last: date, reason: str | None, at_once: bool
) -> tuple[Dropped, Dropped, Release | None]:
    """Clean the days of quarantined rows again, and publish what follows if that is wanted.

    Returns:
        Rows in quarantine before and after, by table, reason and day; and the release.

    Raises:
        UsageError: nothing is in quarantine.
    """
    with only_writer(run, f"a replay of {first} to {last}", AFTER_THE_NIGHT):
        before = dropped_rows(run.lake, first, last, reason)
        if not before:
            raise UsageError(
                f"nothing that landed from {first} to {last} is in quarantine"
                + (f" for a reason that holds {reason!r}" if reason else "")
                + "; `nightjar quarantine` lists what is"
            )
        current = Releases(run.engine).current() if at_once else None
        entries = stage_list.replay(run.context, days_of(before), current)
        candidate = Candidate.of(execute(run, entries))
        after = dropped_rows(run.lake, first, last, reason)
        release = None
        if current is not None:
            publish.audit(run, candidate, [current.as_of])
            release = publish.publish(run, candidate, [current.as_of])
        elif at_once:
            say("nothing is published before the first night; what was cleaned stays")
    return before, after, release


def open_replay(last: date, source: Path | None, raw: Path | None) -> Run:
    """As of the newest released day, so that what is rebuilt is what analysts see."""
    settings = read_settings(source=source, raw=raw)
    run = Run(settings, last + timedelta(days=1))
    current = Releases(run.engine).current()
    newest = current.as_of if current is not None else default_as_of()
    if newest > run.as_of:
        run = Run(settings, newest)
    run.look_at_files()
    return run


def days_of(dropped: Dropped) -> dict[str, list[date]]:
    """Clean table to the days on which it lost rows."""
    return {table: sorted({d for t, _, d in dropped if t == table}) for table, _, _ in dropped}


def total(dropped: Dropped) -> Counts:
    """Rows by table and reason, of all days."""
    rows: Counter[tuple[str, str]] = Counter()
    for (table, why, _), n in dropped.items():
        rows[table, why] += n
    return rows


def changes(before: Counts, after: Counts) -> list[tuple[str, str, str, str]]:
    """Table, reason, rows before and now."""
    return [
        (table, why, f"{before.get((table, why), 0):,}", f"{after.get((table, why), 0):,}")
        for table, why in sorted(before.keys() | after.keys())
    ]


def as_markdown(first: date, last: date, rows: Sequence[Sequence[str]]) -> str:
    """What came of it, for the Prefect UI."""
    head = "| table | reason | in quarantine before | now |\n|---|---|--:|--:|"
    span = f"{first}" if first == last else f"{first} to {last}"
    return "\n".join([f"# Replay of {span}", "", head, *(f"| {' | '.join(r)} |" for r in rows)])
