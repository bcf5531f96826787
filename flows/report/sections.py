"""What a night's page shows beyond its own steps: trends, drift, what changed, and a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from contracts.content_tables import CONTENT_SCORES
from contracts.days import ONE_DAY
from contracts.recommendation_tables import REC_LISTS, REC_OUTCOMES
from contracts.segments import ALL
from contracts.tables import SCOREBOARD
from contracts.tasks import TASKS
from flows.engine.home_state import HomeState
from flows.engine.run_context import RunContext
from flows.lake.lake import Lake
from flows.learning import ranking
from flows.monitor.quarantine import TREND_DAYS
from flows.release.changes import Changes, changes
from flows.release.diff import Comparison, compare
from flows.release.drift import DRIFTING, WORST, Drifted, drift
from flows.release.duckdb_views import query
from flows.release.releases import Release, Releases, scored_tasks
from flows.report.model_card import model_card
from flows.state.receipts import CONTENT, Receipts
from jobs.mapping.content_heads import heads_of

LATE_DAYS = 14
Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class ReportSections:
    """Sections of the page; one that has nothing to say is empty."""

    late: Rows = ()
    """Arrival day, events, users, first and last day that they belong to, scores that lack them."""
    scoreboard: Rows = ()
    """Task, day scored, metric, value, means of predicted and seen, users; newest days."""
    history: Mapping[str, Sequence[tuple[Any, float]]] = field(default_factory=dict)
    """Task to its value by day scored, oldest first."""
    changes: Changes | None = None
    """What differs for analysts from the release before; None if there is none."""
    changed: Comparison | None = None
    drifted: Sequence[Drifted] = ()
    """The columns that moved most since the release before, features and scores."""
    card: Rows = ()
    """What is to be known of the model: name and text."""
    lists: Rows = ()
    """Surface, users with a list as of the night, items on all lists, and lists that are short."""
    rankers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Surface to the report of what orders its lists."""
    list_outcomes: Rows = ()
    """Surface, newest day whose outcome is known, users, nDCG@10 of the released lists, of decayed
    popularity and of the user's own; hits, coverage and concentration of the lists."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """By what the newest texts were scored, as their receipt says."""
    surfaces_off: Mapping[str, str] = field(default_factory=dict)
    """Surfaces that are switched off, and why."""


def report_sections(
    context: RunContext,
    state: HomeState,
    release: Release,
    trained: Mapping[str, Any],
    model_id: str,
) -> ReportSections:
    """What there is to say of the release that is current, beside the one before it; nothing has
    changed in one that an earlier run has published."""
    settings, lake = context.settings, state.lake
    database = settings.home_folder.analysts_file
    before, is_new = Releases(state.engine).of(release.replaces), release.run_id == context.run_id
    return ReportSections(
        late=_late(database),
        scoreboard=_scoreboard(database),
        history=_history(database),
        changes=changes(lake, before, release) if before is not None and is_new else None,
        changed=compare(settings, before.release_id, release.release_id, None)
        if before is not None and is_new and before.withdrawn_at is None and _is_kept(lake, before)
        else None,
        drifted=_drifted(lake, state.receipts, before, release) if before is not None else (),
        card=model_card(context, trained, model_id),
        lists=_lists(database, context.as_of),
        rankers=_rankers(state.receipts, context.as_of),
        list_outcomes=list_outcomes(database),
        content=_content(context, state.receipts),
        surfaces_off=context.surfaces_off,
    )


def _is_kept(lake: Lake, release: Release) -> bool:
    return all(
        lake.has_snapshot(table, release.snapshots[table.name])
        for table in DRIFTING
        if table.name in release.snapshots
    )


def _late(database: Path) -> Rows:
    return query(
        database,
        "SELECT landed_on, n_events, n_users, first_day, last_day, n_scores FROM late_ledger "
        f"ORDER BY landed_on DESC LIMIT {LATE_DAYS}",
    )[1]


def _scoreboard(database: Path) -> Rows:
    return query(
        database,
        "SELECT task, as_of, metric, value, mean_predicted, mean_observed, n_users "
        f"FROM {SCOREBOARD.name} WHERE segment = '{ALL}' "
        "QUALIFY row_number() OVER (PARTITION BY task ORDER BY as_of DESC) = 1 ORDER BY task",
    )[1]


def _history(database: Path) -> dict[str, list[tuple[Any, float]]]:
    history: dict[str, list[tuple[Any, float]]] = {}
    for task, day, value in query(
        database,
        f"SELECT task, as_of, value FROM {SCOREBOARD.name} "
        f"WHERE segment = '{ALL}' AND value IS NOT NULL ORDER BY task, as_of",
    )[1]:
        history.setdefault(task, []).append((day, value))
    return history


def _lists(database: Path, as_of: date) -> Rows:
    return query(
        database,
        "SELECT surface, count(*), sum(len(item_ids))::BIGINT, count(shortfall) "
        f"FROM {REC_LISTS.name} WHERE as_of = DATE '{as_of}' GROUP BY surface ORDER BY surface",
    )[1]


def _rankers(receipts: Receipts, as_of: date) -> Mapping[str, Mapping[str, Any]]:
    receipt = receipts.get(ranking.STAGE, as_of)
    return {} if receipt is None else receipt.outputs["surfaces"]


def _content(context: RunContext, receipts: Receipts) -> Mapping[str, Any]:
    """What the newest receipt says, where anything is asked of texts."""
    name = CONTENT_SCORES.name
    if not heads_of(context.mapping):
        return {}
    newest = receipts.get(name, max(receipts.days(name), default=date.min))
    said: Mapping[str, Any] = {} if newest is None else newest.outputs[name].get(CONTENT, {})
    return said


def list_outcomes(database: Path) -> Rows:
    """How the lists of each surface did on the newest day of which that is known, see
    `ReportSections`."""
    return query(
        database,
        "SELECT p.surface, p.as_of, p.n_users, p.ndcg10, d.ndcg10, o.ndcg10, p.hit10, "
        f"p.coverage10, p.gini10 FROM {REC_OUTCOMES.name} p "
        + " ".join(
            f"JOIN {REC_OUTCOMES.name} {name} ON ({name}.surface, {name}.as_of, {name}.segment, "
            f"{name}.method) = (p.surface, p.as_of, p.segment, '{method}')"
            for name, method in (("d", "popular"), ("o", "own"))
        )
        + f" WHERE p.segment = '{ALL}' AND p.method = 'published' "
        "QUALIFY row_number() OVER (PARTITION BY p.surface ORDER BY p.as_of DESC) = 1 ORDER BY 1",
    )[1]


def _drifted(lake: Lake, receipts: Receipts, before: Release, release: Release) -> list[Drifted]:
    drifted: list[Drifted] = []
    both = (before, release)
    if not _is_kept(lake, before):
        return drifted
    for table in DRIFTING:
        old, new = (
            [
                file.path
                for file in lake.files(
                    table, r.as_of, r.as_of + ONE_DAY, snapshot=r.snapshots[table.name]
                )
            ]
            if table.name in r.snapshots
            else []
            for r in (before, release)
        )
        if old != new:
            drifted += [
                d for d in drift(table, old, new) if d.column not in _rescored(receipts, both)
            ]
    return sorted(drifted, key=lambda d: -d.index)[:WORST]


def _rescored(receipts: Receipts, releases: Sequence[Release]) -> set[str]:
    """Columns of tasks that one of the releases has no scores of by a model: they have not drifted,
    they came, went, or gave way to a base rate."""
    scored = [
        scored_tasks(receipts, release.as_of) if release.tasks is None else release.tasks
        for release in releases
    ]
    return {
        column.name
        for task in TASKS
        if any(task.name not in names for names in scored)
        for column in task.score_columns()
    }


TREND = f"course over {TREND_DAYS} days"
