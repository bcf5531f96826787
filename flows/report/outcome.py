"""The first line of a run's page: what came of it, in plain words, and what is to be done next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from contracts.counts import n_of
from contracts.errors import UsageError
from contracts.tables import NO_MODEL
from flows.learning.fingerprints import NO_TRAINING
from flows.lifecycle.errors import may_pass, reason
from flows.release.audit import FailedAudit
from flows.release.releases import Release
from flows.report.cost import NIGHTS_BEFORE

AGAIN = "what is finished is kept, and only the rest is computed"


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    headline: str
    next_step: str
    is_good: bool = True
    """Whether nothing has to be done."""
    has_failed: bool = False
    """Whether analysts do not get what the run was for."""


def of_night(
    as_of: date,
    run_id: str,
    release: Release,
    before: Release | None,
    trained: Mapping[str, Any],
    nights_before: int,
    n_to_look_at: int,
) -> Outcome:
    """Of a night that came to its end.

    Args:
        as_of: the night.
        run_id: its run.
        release: what is current now.
        before: the release that it replaces.
        trained: the report of its training.
        nights_before: earlier nights that it can be compared with, up to seven.
        n_to_look_at: findings and alerts on its page.
    """
    look = f"look at {n_of(n_to_look_at, 'point')} below" if n_to_look_at else "nothing to do"
    has_more = bool(n_to_look_at)
    if release.run_id != run_id:
        return _nothing_new(release, look, not has_more)
    replaced = (
        "It is the first of this home."
        if before is None
        else f"It replaces {before.release_id}, as of {before.as_of}."
    )
    if release.as_of > as_of:
        return Outcome(
            f"Published: release {release.release_id} adds {as_of}; the newest day that analysts "
            f"see stays {release.as_of}. {replaced}",
            look,
            not has_more,
        )
    if release.model_id == NO_MODEL:
        return _without_scores(release, replaced, trained["gate"]["reasons"])
    published = f"Published: release {release.release_id} as of {as_of}. {replaced}"
    if trained["gate"]["decision"] == "ask" and trained["model_id"] != release.model_id:
        return Outcome(
            f"{published} Tonight's model waits for approval; model {release.model_id} went on "
            "scoring.",
            f"`nightjar run --as-of {as_of} --accept {trained['model_id']}` approves it",
            is_good=False,
        )
    return Outcome(f"{published}{_compared(nights_before)}", look, not has_more)


def _nothing_new(release: Release, look: str, is_good: bool) -> Outcome:
    """Of a night that leaves the release of an earlier run as it is."""
    return Outcome(
        f"Nothing new was published: nothing had changed since release {release.release_id} of "
        f"{release.published_at:%Y-%m-%d %H:%M} UTC, which analysts go on seeing.",
        f"{look}; what is new must first arrive as raw files, a setting or a mapping",
        is_good,
    )


def _without_scores(release: Release, replaced: str, reasons: Sequence[str]) -> Outcome:
    """Of a night without a model that is fit."""
    return Outcome(
        f"Published without scores: release {release.release_id} as of {release.as_of} has "
        f"features and labels, and nobody is scored, for {'; '.join(reasons)}. {replaced}",
        "run it again without `no_train` for scores, once the logs reach back far enough"
        if NO_TRAINING in reasons
        else "more days of logs help; the tasks below say what each lacks",
        is_good=False,
    )


def _compared(nights_before: int) -> str:
    """What the comparison with nights before lacks, if anything."""
    if not nights_before:
        return " There is no night before to compare it with."
    if nights_before < NIGHTS_BEFORE:
        return f" Only {n_of(nights_before, 'night')} before to compare it with."
    return ""


def of_failure(
    what: str, command: str, error: Exception, current: Release | None, run_id: str
) -> Outcome:
    """Of a run that an error has stopped.

    Args:
        what: it, such as `the night of 2025-01-31`.
        command: what starts it again.
        error: what stopped it.
        current: what analysts see.
        run_id: the run.
    """
    if current is not None and current.run_id == run_id:
        return Outcome(
            f"Published: release {current.release_id} as of {current.as_of} is what analysts see, "
            f"but {what} stopped afterwards: "
            f"{message_of(error)[0].rstrip('.:')}.",
            _advice(command, error),
            is_good=False,
        )
    sees = (
        "there is no release yet"
        if current is None
        else f"analysts go on seeing release {current.release_id} as of {current.as_of}"
    )
    if isinstance(error, FailedAudit):
        return Outcome(
            f"Nothing was published: {what} failed its audit; {sees}.",
            "compare the numbers below. If they are right, raise the limit that they name for one "
            f"run and run `{command}` again; if not, have the logs or the mapping corrected first",
            is_good=False,
            has_failed=True,
        )
    return Outcome(
        f"Failed: {what} has published nothing; {sees}.",
        _advice(command, error),
        is_good=False,
        has_failed=True,
    )


def _advice(command: str, error: Exception) -> str:
    """How to go on after an error, by what it is."""
    if isinstance(error, UsageError):
        return f"change what the message names, then run `{command}`"
    if may_pass(error):
        return f"once what was away answers again, run `{command}`: {AGAIN}"
    return f"correct what the message names, then run `{command}` again: {AGAIN}"


def message_of(error: Exception) -> tuple[str, ...]:
    """What stopped a run, line by line."""
    return tuple(reason(error).splitlines())


def of_backfill(
    days: Sequence[date], stages: Sequence[str], run_id: str, release: Release
) -> Outcome:
    """Of a backfill that came to its end; `release` is what is current now."""
    span = f"{days[0]} to {days[-1]}" if len(days) > 1 else str(days[0])
    if release.run_id != run_id:
        return Outcome(
            f"Nothing new was published: of {span}, nothing had changed in {', '.join(stages)}; "
            f"analysts go on seeing release {release.release_id}.",
            "nothing to do; `--force` computes the days all the same",
        )
    return Outcome(
        f"Published: release {release.release_id} brings {', '.join(stages)} of "
        f"{n_of(len(days), 'day')}, {span}, up to date; the newest day that analysts see stays "
        f"{release.as_of}.",
        "nothing to do; `nightjar rollback` takes it back",
    )


def of_rollback(withdrawn: Release, current: Release) -> Outcome:
    """Of a rollback: `current` is what analysts see again."""
    return Outcome(
        f"Rolled back: release {withdrawn.release_id} as of {withdrawn.as_of} is withdrawn; "
        f"analysts see {current.release_id} as of {current.as_of} again.",
        f"`nightjar diff {current.release_id} {withdrawn.release_id}` helps to find the cause; "
        "have it corrected before the next night, which computes the withdrawn days again",
        is_good=False,
    )
