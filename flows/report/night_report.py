"""One page about a night: an HTML file that needs no network, and the same as Markdown."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from contracts.segments import ACTIVE_DAYS, NEW_DAYS, SEGMENTS
from contracts.splits import LATER_DAYS
from contracts.tables import RELEASED_TABLES
from flows.engine.run import StageReport
from flows.monitor.drop_reasons import DropReason
from flows.monitor.null_like_ids import NullLike
from flows.monitor.quarantine import MIN_ROWS
from flows.monitor.row_counts import Counted, cut_off_line
from flows.release.audit import Audited
from flows.release.releases import Release
from flows.report import summary
from flows.report.charts import drifts, scoreboard
from flows.report.content import ContentModel
from flows.report.cost import STEPS, Cost, usual_seconds
from flows.report.lists import LIST_NAMES, list_outcome_rows, list_rows
from flows.report.model_card import what_scores
from flows.report.outcome import of_night
from flows.report.rendering import interval, number, render, seconds, shares, stage_rows
from flows.report.sections import TREND, ReportSections
from flows.report.summary import Summary
from flows.storage.home import Home
from flows.storage.location import join

MEMBERS = ("model", "network", "twin", "constant")
"""Whose metrics stand beside one another in the table of tasks."""
TASK_NAMES = (
    "task", "metric", "model", "network", "LightGBM", "constant", "network's share",
    "gain (95 %)", "test rows",
)  # fmt: skip
"""Of the columns of the table of tasks."""
SECTIONS = (
    ("look", "What to look at"),
    ("tasks", "How well it predicts"),
    ("content", "What texts say"),
    ("recommendations", "Recommendations"),
    ("scoreboard", "Scoreboard"),
    ("changes", "What changed for analysts"),
    ("data", "What was read"),
    ("dropped", "Why rows were dropped"),
    ("late", "What came late"),
    ("drift", "Drift"),
    ("time", "Time"),
    ("audits", "Audit"),
    ("sample", "A few scored users"),
    ("card", "Model card"),
    ("dictionary", "Data dictionary"),
)
"""Anchors of the page's sections, and what its table of contents calls them."""
MUCH_QUARANTINED, MUCH_DRIFT = 0.1, 0.25
"""Shares and stability indices that a page points at."""


@dataclass(frozen=True)
class NightReport:
    """Everything the page shows."""

    as_of: date
    run_id: str
    mapping: str
    release: Release
    """What is current now: tonight's, or one of before if tonight changed nothing."""
    before: Release | None
    """The one that it replaces."""
    model_id: str
    stages: tuple[StageReport, ...]
    tonight: Counted
    """What landed since the release before."""
    ever: Counted
    """What landed since the beginning."""
    reasons: Sequence[DropReason]
    """Why rows were dropped, tonight and before."""
    null_like: Sequence[NullLike]
    """Ids that look as if there were none, of what landed since the release before."""
    trained: Mapping[str, Any]
    audited: tuple[Audited, ...]
    switched_off: Mapping[str, str]
    n_scored: int
    scored_tasks: Sequence[str]
    base_rates: Sequence[str]
    """Tasks of which everybody has the same value instead."""
    sample: tuple[list[str], list[tuple[Any, ...]]]
    sections: ReportSections
    alerts: Sequence[str]
    """What the run has raised alerts of."""
    cost: Cost
    costs_before: Sequence[Cost]
    """Of up to seven nights before, oldest first."""

    @property
    def summary(self) -> Summary:
        """What the page opens with."""
        attention = self.attention
        outcome = of_night(
            self.as_of,
            self.run_id,
            self.release,
            self.before,
            self.trained,
            len(self.costs_before),
            len(self.alerts) + len(attention),
        )
        parts = (
            summary.users(
                self.n_scored,
                self.scored_tasks,
                self.base_rates,
                len(self.switched_off),
                self.as_of,
                self.model_id,
            ),
            summary.for_analysts(self.sections.changes)
            if self.is_new
            else summary.nothing_new(self.release),
            summary.tasks(self.trained, self.model_id),
            summary.alerts(self.alerts, attention),
            summary.dropped(self.reasons),
            summary.time(self.cost, self.costs_before, self.tonight.rows_in),
        )
        return Summary(outcome, parts)

    @property
    def what_scores(self) -> str:
        """What tonight's model is of each task."""
        return what_scores(self.trained)

    @property
    def is_new(self) -> bool:
        """Whether tonight has published the release that is current."""
        return self.release.run_id == self.run_id

    @property
    def attention(self) -> list[str]:
        """What somebody should look at, the gravest first; empty on a good night."""
        lines = [f"Audit: {a.check}: {a.found}." for a in self.audited if not a.passed]
        if self.trained["tasks"] and self.trained["model_id"] != self.model_id:
            lines.append("The model that was trained tonight is not in use; see the gate.")
        lines += [
            f"{name} does worse than its LightGBM twin: {interval(report['gain_over_twin'])}."
            for name, report in self.trained["tasks"].items()
            if report["gain_over_twin"]["high"] < 0
        ]
        lines += [
            f"{table} from {source}: {bad:,} of {n:,} rows are quarantined ({bad / n:.0%})."
            for source, table, n, _, _, bad, _ in self.tonight.rows
            if n >= MIN_ROWS and bad > MUCH_QUARANTINED * n
        ]
        lines += [f"{cut_off_line(*of)}." for of in self.tonight.cut_off]
        lines += [f"{one.advice}." for one in self.null_like]
        lines += [
            f"{d.column} of {d.table} is distributed differently than before: "
            f"stability index {d.index:.2f}, much is {MUCH_DRIFT:g}."
            for d in self.sections.drifted
            if d.index > MUCH_DRIFT
        ]
        return lines

    @property
    def count_rows(self) -> list[tuple[str, ...]]:
        """Source and table, then rows in, clean, duplicate, quarantined and erased: tonight's, and
        those of all time."""
        tonight = {row[:2]: row[2:] for row in self.tonight.rows}
        return [
            (*of, *(f"{n:,}" for n in (*tonight.get(tuple(of), (0,) * len(ever)), *ever)))
            for *of, a, b, c, d, e in self.ever.rows
            for ever in ((a, b, c, d, e),)
        ]

    @property
    def reason_rows(self) -> list[tuple[str, ...]]:
        """Source, table, reason, rows tonight, usually and of all time, their course, newest."""
        return [
            (
                r.source,
                r.table,
                r.reason,
                f"{r.tonight:,}" + (" (beyond the usual)" if r.is_beyond_usual else ""),
                "—" if r.usual is None else f"{r.usual:,}",
                f"{r.ever:,}",
                r.course,
                str(r.newest),
            )
            for r in self.reasons
        ]

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Anchor and title of each section that the page has, in order."""
        has = {
            "content": self.sections.content,
            "recommendations": self.list_rows
            or self.list_outcome_rows
            or self.sections.surfaces_off,
            "scoreboard": self.scoreboard_rows,
            "dropped": self.reasons,
            "late": self.late_rows,
            "drift": self.drift_rows,
        }
        return [(anchor, title) for anchor, title in SECTIONS if has.get(anchor, True)]

    @property
    def task_names(self) -> tuple[str, ...]:
        return TASK_NAMES

    @property
    def cost_names(self) -> list[str]:
        """Names of the columns of `cost_rows`."""
        return ["seconds", "tonight", "usual", *(str(c.as_of) for c in self.costs_before)]

    @property
    def cost_rows(self) -> list[tuple[str, ...]]:
        """Step, seconds tonight, their median on the nights before, and each of these."""
        every = (self.cost, *self.costs_before)
        steps = [step for step in STEPS if any(step in cost.by_step for cost in every)]
        return [
            (
                step or "in all",
                "reused" if step and step not in self.cost.by_step else seconds(self.cost.of(step)),
                seconds(usual_seconds(self.costs_before, step)),
                *(seconds(cost.of(step)) for cost in self.costs_before),
            )
            for step in (None, *steps)
        ]

    @property
    def late_rows(self) -> list[tuple[str, ...]]:
        return [
            (
                str(day),
                f"{n:,}",
                f"{users:,}",
                str(first) if first == last else f"{first} to {last}",
                f"{scores:,}",
            )
            for day, n, users, first, last, scores in self.sections.late
        ]

    @property
    def scoreboard_rows(self) -> list[tuple[str, ...]]:
        return [
            (task, str(day), metric, number(value), number(predicted), number(observed), f"{n:,}")
            for task, day, metric, value, predicted, observed, n in self.sections.scoreboard
        ]

    @property
    def said(self) -> ContentModel:
        return ContentModel(self.sections.content)

    @property
    def list_names(self) -> tuple[str, ...]:
        return LIST_NAMES

    @property
    def list_rows(self) -> list[tuple[str, ...]]:
        return list_rows(self.sections.lists, self.sections.rankers)

    @property
    def list_outcome_rows(self) -> list[tuple[str, ...]]:
        return list_outcome_rows(self.sections.list_outcomes)

    @property
    def drift_rows(self) -> list[tuple[str, ...]]:
        return [(d.column, d.table, f"{d.index:.3f}") for d in self.sections.drifted]

    @property
    def table_rows(self) -> list[tuple[str, ...]]:
        """Table, its rows in the release before and in this one, and how many more."""
        changes = self.sections.changes
        moved = {} if changes is None or changes.rows is None else changes.rows
        return [(name, f"{a:,}", f"{b:,}", f"{b - a:+,}") for name, (a, b) in moved.items()]

    @property
    def changed_rows(self) -> list[tuple[str, ...]]:
        changed = self.sections.changed
        return [] if changed is None else [tuple(str(c) for c in row) for row in changed.rows]

    @property
    def task_rows(self) -> list[tuple[str, ...]]:
        """Per task: name, metric, model, its members and their mixture, the constant, the gain over
        the twin and its interval, test rows."""
        rows = []
        for name, report in self.trained["tasks"].items():
            main, gain = report["main"], report["gain_over_twin"]
            rows.append(
                (
                    name,
                    main,
                    *(number(report.get(who, {}).get(main)) for who in MEMBERS),
                    shares(report),
                    interval(gain),
                    f"{report['test_rows']:,}",
                )
            )
        return rows

    @property
    def by_user(self) -> list[str]:
        """Tasks with too little history to be tested on later days."""
        return [
            name
            for name, report in self.trained["tasks"].items()
            if report.get("measured_on", LATER_DAYS) != LATER_DAYS
        ]

    @property
    def segment_names(self) -> list[str]:
        """Names of the columns of `segment_rows`."""
        of_segments = [name for segment in SEGMENTS for name in (segment, "model", "LightGBM")]
        return ["task", "metric", *of_segments]

    @property
    def segment_rows(self) -> list[tuple[str, ...]]:
        """Per task: name, metric, then rows, model and twin of each segment."""
        rows = []
        for name, report in self.trained["tasks"].items():
            cells = []
            for segment in SEGMENTS:
                metrics = report.get("segments", {}).get(segment)
                cells += (
                    [
                        f"{metrics['rows']:,}",
                        number(metrics.get("model")),
                        number(metrics.get("twin")),
                    ]
                    if metrics
                    else ["0", "—", "—"]
                )
            rows.append((name, report["main"], *cells))
        return rows

    @property
    def sharing_rows(self) -> list[tuple[str, ...]]:
        """Per task that was trained alone as well: what sharing gains its network, and what
        follows."""
        return [
            (
                name,
                report["main"],
                number(report.get("network", report["model"]).get(report["main"])),
                number(alone["metrics"].get(report["main"])),
                interval(alone),
                alone["verdict"],
            )
            for name, report in self.trained["tasks"].items()
            if (alone := report.get("single_task"))
        ]

    @property
    def stage_rows(self) -> list[tuple[str, ...]]:
        return stage_rows(self.stages)


def as_markdown(report: NightReport) -> str:
    """The page as Markdown, for the Prefect UI."""
    return render("report.md.j2", **_shown(report), pictures={})


def write_report(report: NightReport, home: Home, pictures: str) -> Path:
    """Write the page as HTML with its pictures inside; a night run again replaces its page."""
    storage, embedded = home.storage, {}
    for name in ("curves", "reliability", "importance", "sharing"):
        picture = join(pictures, f"{name}.png")
        if storage.exists(picture):
            embedded[name] = base64.b64encode(storage.read_bytes(picture)).decode()
    drawn = {
        "drift": drifts(report.sections.drifted),
        "scoreboard": scoreboard(report.sections.history),
    }
    embedded |= {name: picture for name, picture in drawn.items() if picture is not None}
    page = home.report(report.as_of)
    storage.remove(home.report_of_failure(report.as_of))
    storage.write_text(page, render("report.html.j2", **_shown(report), pictures=embedded))
    return storage.local_path(page)


def _shown(report: NightReport) -> dict[str, Any]:
    """What the templates show besides pictures."""
    return {
        "night": report,
        "tables": RELEASED_TABLES,
        "trend": TREND,
        "new_days": NEW_DAYS,
        "active_days": ACTIVE_DAYS,
    }
