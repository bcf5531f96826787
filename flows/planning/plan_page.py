"""A plan as the page that an operator sees in Prefect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from contracts.counts import n_of
from flows.planning.plan import Plan, runs_of_days, stage_costs


def plan_as_markdown(plan: Plan) -> str:
    """What would be done, why, at what cost, and the token that does it."""
    return "\n".join(
        [
            f"# Plan of {_subject(plan)}",
            "",
            *_costs(plan),
            "## Day by day",
            "",
            *_table(
                ("stage", "days", "n", "what", "why"),
                5,
                [
                    (stage, days, str(n), what, why)
                    for stage, days, what, why, n in runs_of_days(plan.days)
                ],
            ),
            "## To run exactly this",
            "",
            "Run the same form again with **mode** `run`, the same days, a reason, and **plan**",
            "",
            f"```\n{plan.token}\n```",
            "",
            "It refuses if raw files, code or settings have moved since.",
        ]
    )


def _subject(plan: Plan) -> str:
    """What the plan is of."""
    call = plan.call
    if call["command"] == "run":
        return f"the night of {call['as_of']}"
    what = f"{call['start']} to {call['end']}, {', '.join(call['stages'])}, {call['engine']}"
    return what + (", forced" if call["force"] else "")


def _costs(plan: Plan) -> list[str]:
    """How much is to be done, and what it costs by stage."""
    if not plan.todo:
        return ["Nothing is to be done: everything is up to date.", ""]
    return [
        f"**{n_of(len(plan.todo), 'stage-day is', 'stage-days are')} recomputed**, "
        f"{len(plan.days) - len(plan.todo):,} reused. "
        f"About {_duration(plan.total('seconds'))}, {n_of(int(plan.total('rows')), 'row')}, "
        f"{plan.total('bytes') / 1e6:,.0f} MB, as earlier runs of these stages took.",
        "",
        *_table(
            ("stage", "days", "rows", "time", "MB"),
            2,
            [
                (
                    stage,
                    str(n),
                    "unknown" if rows is None else f"{rows:,}",
                    "unknown" if seconds is None else _duration(seconds),
                    "unknown" if size is None else f"{size / 1e6:,.1f}",
                )
                for stage, n, rows, seconds, size in stage_costs(plan.days)
            ],
        ),
    ]


def _table(heads: Sequence[str], texts: int, rows: Iterable[Sequence[str]]) -> list[str]:
    """A table whose columns from number `texts` on are numbers."""
    return [
        f"| {' | '.join(heads)} |",
        "|" + "|".join("---" if i < texts else "--:" for i in range(len(heads))) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
