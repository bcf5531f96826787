"""The summary that a night's page opens with: what somebody needs to know who reads no further.

What it says is decided here, part by part; HTML, Markdown and the terminal only show it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.counts import n_of
from contracts.tables import NO_MODEL, USER_SCORES
from flows.monitor.drop_reasons import DAYS_BEFORE, MIN_DAYS_BEFORE, DropReason
from flows.release.changes import DEFINITIONS, TASKS, Changes
from flows.release.releases import Release
from flows.report.cost import READING, STEPS, Cost, usual_seconds
from flows.report.outcome import Outcome

MOST_NAMES, MOST_LINES = 6, 5
"""Names and lines that a part of one screen has room for."""


@dataclass(frozen=True)
class Part:
    """A part of the summary."""

    title: str
    lines: tuple[str, ...]
    section: str
    """The section of the page that has the details."""
    needs_a_look: bool = False


@dataclass(frozen=True)
class Summary:
    """What came of a night, in a line, what is to be done next, and what there is to know."""

    outcome: Outcome
    parts: tuple[Part, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """As a terminal shows it: the first line, what is next, then a line for each part."""
        return (
            self.outcome.headline,
            f"Next: {self.outcome.next_step}.",
            *(
                f"{part.title}: {'; '.join(line.rstrip('.') for line in part.lines)}"
                for part in self.parts
            ),
        )


def listed(names: Iterable[str], most: int = MOST_NAMES) -> str:
    """Names, and how many more there are than there is room for."""
    every = list(names)
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more:,} more" if more > 0 else "")


def users(
    n_users: int,
    scored: Sequence[str],
    base_rates: Sequence[str],
    n_off: int,
    as_of: object,
    model_id: str,
) -> Part:
    """Who is scored, for what, and by which model."""
    lines = []
    if scored:
        lines += [
            f"{n_of(n_users, 'user')}, as of {as_of}",
            f"{n_of(len(scored), 'task')} by model {model_id}",
        ]
    elif base_rates:
        have = n_of(n_users, "user has", "users have")
        rates = f"everybody's base rate for {n_of(len(base_rates), 'task')}, from model {model_id}"
        lines.append(f"Nobody is scored: {have} {rates}")
    else:
        lines.append(f"Nobody is scored: {n_of(n_users, 'user')} in the release without a score")
    if scored and base_rates:
        lines.append(f"everybody's base rate for {n_of(len(base_rates), 'task')} more")
    if n_off:
        lines.append(f"{n_of(n_off, 'task is', 'tasks are')} off")
    return Part("Users scored", tuple(lines), "tasks", needs_a_look=not scored)


def for_analysts(changes: Changes | None) -> Part:
    """What an analyst finds changed since the release before."""
    if changes is None:
        first = "The first release: all of it is new"
        return Part("New for analysts", (first,), "changes")
    lines = [
        *_named("tables added", changes.tables_added),
        *_named("tables gone", changes.tables_gone),
        *_named("columns added", changes.columns_added),
        *_named("columns gone", changes.columns_gone),
        *_named("columns of another type", changes.columns_retyped),
        *_named("tasks newly published", changes.tasks_added),
        *_named("tasks withheld now", changes.tasks_withheld),
        *_named("computed by other code", changes.redefined),
    ]
    lost = changes.tables_gone or changes.columns_gone or changes.columns_retyped
    if not lines:
        lines.append(f"Same {_compared(changes)}")
    if changes.not_known:
        lines.append(f"not known of the release before: its {' and '.join(changes.not_known)}")
    lines.append(_rows(changes))
    title = f"New for analysts since {changes.before_as_of}"
    return Part(title, tuple(lines), "changes", bool(lost or changes.tasks_withheld))


def _compared(changes: Changes) -> str:
    """What of the two releases could be compared."""
    names = ["tables"] if changes.rows is None else ["tables", "columns"]
    names += [name for name in (TASKS, DEFINITIONS) if name not in changes.not_known]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def nothing_new(release: Release) -> Part:
    """Of a night that left the release of an earlier run as it was."""
    line = f"Nothing since release {release.release_id}, as of {release.as_of}"
    return Part("New for analysts", (line,), "changes")


def _named(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what}: {listed(names)}"] if names else []


def _rows(changes: Changes) -> str:
    if changes.rows is None:
        return "rows of the release before are not kept, so not compared"
    moved = changes.moved_rows
    if not moved:
        return "no table has more or fewer rows"
    first = sorted(moved, key=lambda name: (name != USER_SCORES.name, name))
    shown = (f"{name} {moved[name][1] - moved[name][0]:+,}" for name in first)
    return f"rows: {listed(shown, 4)}"


def tasks(trained: Mapping[str, Any], model_id: str) -> Part:
    """How tonight's model does beside the champion, the constant and its LightGBM twin."""
    reports, gate = trained["tasks"], trained["gate"]
    if not reports:
        why = "Nothing was trained tonight"
        scores = "" if model_id == NO_MODEL else f"; model {model_id} scores"
        return Part("Tasks", (why + scores,), "tasks")
    lines = []
    is_new = trained["model_id"] == model_id
    if not is_new:
        lines.append(f"tonight's model is not in use (gate: {gate['decision']})")
    if gate["against"] == "the champion":
        lines.append(_beside_champion(gate.get("comparisons", {})))
    else:
        lines.append("no champion to compare with")
    unfit = [name for name in reports if name in gate.get("withheld", {})]
    better = len(reports) - len(unfit)
    lines.append(
        f"better than the constant and than chance: {better:,} of {len(reports):,}"
        + (f", not {listed(unfit)}" if unfit else "")
    )
    gains = {name: report["gain_over_twin"] for name, report in reports.items()}
    ahead = [name for name, gain in gains.items() if gain["low"] > 0]
    behind = [name for name, gain in gains.items() if gain["high"] < 0]
    lines.append(
        f"beside LightGBM: {_counted('ahead', ahead)}, {_counted('behind', behind)}, "
        f"{len(gains) - len(ahead) - len(behind):,} alike"
    )
    return Part("Tasks", tuple(lines), "tasks", bool(unfit or behind or not is_new))


def _beside_champion(comparisons: Mapping[str, Mapping[str, float]]) -> str:
    """A loss below the champion's is better; an interval that holds 0 says nothing."""
    if not comparisons:
        return "beside the champion: no task has rows enough to tell"
    better = [name for name, c in comparisons.items() if c["high"] < 0]
    worse = [name for name, c in comparisons.items() if c["low"] > 0]
    alike = len(comparisons) - len(better) - len(worse)
    return (
        f"beside the champion: {_counted('better', better)}, {_counted('worse', worse)}, "
        f"{alike:,} alike"
    )


def _counted(what: str, names: Sequence[str]) -> str:
    return f"{len(names):,} {what}" + (f" ({listed(names, 3)})" if names else "")


def alerts(raised: Sequence[str], findings: Sequence[str]) -> Part:
    """Alerts that the run has raised, then what else somebody should look at."""
    if not raised and not findings:
        return Part("Alerts", ("None, and nothing asks for a look",), "look")
    every = [*raised, *findings]
    lines = [
        f"{n_of(len(raised), 'alert') if raised else 'no alert'}, {n_of(len(findings), 'finding')}",
        *(_short(line) for line in every[: MOST_LINES - 1]),
    ]
    if len(every) > MOST_LINES - 1:
        lines.append(f"and {len(every) - MOST_LINES + 1:,} more below")
    return Part("Alerts", tuple(lines), "look", needs_a_look=True)


def _short(line: str, most: int = 125) -> str:
    """The first line of a message, cut at a word where it is long."""
    first = line.splitlines()[0]
    return first if len(first) <= most else first[:most].rsplit(" ", 1)[0] + " …"


def dropped(reasons: Sequence[DropReason]) -> Part:
    """Of what landed tonight, what was dropped beyond what was usual on the seven days before."""
    n = sum(reason.tonight for reason in reasons)
    known = [reason for reason in reasons if reason.usual_share is not None]
    title = f"Dropped beyond the usual of {DAYS_BEFORE} days" if known else "Dropped"
    if not n:
        return Part(title, ("No row was dropped tonight",), "data")
    in_all = f"{n_of(n, 'row')} dropped tonight, for {n_of(_kinds(reasons), 'reason')}"
    if not known:
        return Part(
            title,
            (in_all, f"What is usual is known after {MIN_DAYS_BEFORE} days", *_most(reasons)),
            "data",
        )
    beyond = [reason for reason in known if reason.is_beyond_usual]
    if not beyond:
        return Part(title, (in_all, "None of it beyond the usual"), "data")
    lines = [in_all]
    for reason in beyond[: MOST_LINES - 1]:
        lines.append(
            f"{reason.table}, {_short(reason.reason, 60)}: {reason.tonight:,}, usually "
            f"{reason.usual or 0:,}"
        )
    if len(beyond) > MOST_LINES - 1:
        lines.append(f"and {len(beyond) - MOST_LINES + 1:,} more below")
    return Part(title, tuple(lines), "data", needs_a_look=True)


def _kinds(reasons: Sequence[DropReason]) -> int:
    return sum(1 for reason in reasons if reason.tonight)


def _most(reasons: Sequence[DropReason]) -> list[str]:
    most = max(reasons, key=lambda reason: reason.tonight)
    return [f"most often {most.table}, {_short(most.reason, 60)}: {most.tonight:,}"]


def time(cost: Cost, before: Sequence[Cost], rows_in: int) -> Part:
    """What the night took, beside the median of the nights before."""
    usual = usual_seconds(before)
    title = f"Time, beside {n_of(len(before), 'night')} before" if before else "Time"
    is_read = bool(rows_in and READING in cost.by_step)
    rate = f", {n_of(round(rows_in / cost.seconds), 'row')} read per second" if is_read else ""
    overlap = sum(cost.by_step.values()) > cost.seconds
    beside = "; steps ran side by side, and count each" if overlap else ""
    lines = [f"in all {_spent(cost.seconds, usual)}{rate}{beside}"]
    for step in STEPS:
        usual = usual_seconds(before, step)
        if step in cost.by_step or usual:
            lines.append(f"{step} {_spent(cost.by_step.get(step), usual)}")
    return Part(title, tuple(lines), "time")


def _spent(seconds: float | None, usual: float | None) -> str:
    """Seconds beside the usual ones; None if there was nothing to do."""
    spent = "reused" if seconds is None else f"{seconds:,.0f} s"
    if usual is None:
        return spent
    return f"{spent}, usually {f'{usual:,.0f} s' if usual else 'none'}"
