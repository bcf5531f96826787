"""Plans: what a run would do to every (stage, day), why, and what it will cost; kept by a token."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Engine, insert, select

from contracts.errors import ContractError, UsageError
from contracts.hashes import hash_of
from flows.state.receipts import Receipts
from flows.state.schema import PLANS

RECENT = 30
"""Receipts of a stage that a cost is estimated from."""


@dataclass(frozen=True)
class Planned:
    """One day of one stage: what would be done about it, why, and at what cost."""

    stage: str
    day: date | None
    """None: days that are not known before the files that hold them are read."""
    reuse: bool
    reason: str
    cause: date | None = None
    """The earliest day of the stage that it is cascaded from."""
    rows: int | None = None
    """Rows written by it, or by days like it; None: none was ever computed."""
    seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that a run would do, and what that was decided from."""

    call: Mapping[str, Any]
    """The command and its options."""
    days: tuple[Planned, ...]
    roots: Mapping[str, str]
    """Hashes of what a plan starts from: raw files, code and configuration, by name."""
    token: str = field(default="")

    @property
    def todo(self) -> tuple[Planned, ...]:
        return tuple(p for p in self.days if not p.reuse)

    def total(self, what: str) -> float:
        return sum(getattr(p, what) or 0 for p in self.todo)


def cost_of(receipts: Receipts, stage: str) -> tuple[int, float, int] | None:
    """Rows, seconds and bytes of a day of a stage: the mean of its newest receipts."""
    days = receipts.days(stage)[-RECENT:]
    newest = [r for day in days if (r := receipts.get(stage, day)) is not None]
    if not newest:
        return None

    def mean(of: str) -> float:
        return sum(float(getattr(r, of)) for r in newest) / len(newest)

    return round(mean("rows_out")), round(mean("seconds"), 3), round(mean("bytes"))


def plan_of(call: Mapping[str, Any], days: Sequence[Planned], roots: Mapping[str, str]) -> Plan:
    """The plan, under its token."""
    todo = [(p.stage, str(p.day), p.reason) for p in days if not p.reuse]
    token = hash_of([dict(call), todo, roots])
    return Plan(dict(call), tuple(days), dict(roots), token)


def keep(engine: Engine, plan: Plan) -> None:
    """Remember a plan under its token, to be run later."""
    content = {
        "call": dict(plan.call),
        "roots": dict(plan.roots),
        "todo": [[p.stage, str(p.day)] for p in plan.todo],
    }
    with engine.begin() as connection:
        known = connection.execute(select(PLANS.c.token).where(PLANS.c.token == plan.token))
        if known.first() is None:
            connection.execute(insert(PLANS).values(token=plan.token, content=content))


def kept(engine: Engine, token: str) -> dict[str, Any]:
    """What was kept under a token.

    Raises:
        UsageError: nothing was.
    """
    with engine.connect() as connection:
        row = connection.execute(select(PLANS.c.content).where(PLANS.c.token == token)).first()
    if row is None:
        raise UsageError(f"--plan {token}: no such plan in this home; `nightjar plan` makes one")
    content: dict[str, Any] = json.loads(row[0]) if isinstance(row[0], str) else row[0]
    return content


def check_kept(engine: Engine, token: str, now: Plan) -> None:
    """Refuse a plan that is not what would be done now.

    What was done of it in the meantime is no reason: a plan is taken up where it was left.

    Raises:
        UsageError: no plan was kept under the token, or it is of another call.
        ContractError: raw files, code or configuration have moved since, or more is to be done.
    """
    kept_plan = kept(engine, token)
    if kept_plan["call"] != dict(now.call):
        other = ", ".join(f"{name}: {value}" for name, value in kept_plan["call"].items())
        raise UsageError(f"--plan {token} is of another call: {other}")
    was = kept_plan["roots"]
    problems = [
        f"  {name}: " + ("new" if name not in was else "gone" if name not in now.roots else "moved")
        for name in sorted(was.keys() | now.roots.keys())
        if was.get(name) != now.roots.get(name)
    ]
    planned = {tuple(row) for row in kept_plan["todo"]}
    problems += [
        f"  {p.stage} {p.day}: {p.reason}, which the plan did not have"
        for p in now.todo
        if (p.stage, str(p.day)) not in planned
    ]
    if problems:
        more = [f"  and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise ContractError(
            "\n".join(["this is not what was planned; look at a new plan:", *problems[:20], *more])
        )


def runs_of_days(days: Sequence[Planned]) -> list[tuple[str, str, str, str, int]]:
    """Neighbouring days of which the same is said: stage, days, what, why, how many."""
    runs: list[tuple[str, str, str, str, int]] = []
    group: list[Planned] = []

    def close() -> None:
        if group:
            first, last = group[0], group[-1]
            span = (
                "?" if first.day is None
                else str(first.day) if len(group) == 1
                else f"{first.day} to {last.day}"
            )  # fmt: skip
            what = "reuse" if first.reuse else "recompute"
            runs.append((first.stage, span, what, first.reason, len(group)))
            group.clear()

    for planned in days:
        if group and (planned.stage, planned.reuse, planned.reason) != (
            group[-1].stage,
            group[-1].reuse,
            group[-1].reason,
        ):
            close()
        group.append(planned)
    close()
    return runs


def stage_costs(
    days: Collection[Planned],
) -> list[tuple[str, int, int | None, float | None, int | None]]:
    """Per stage with something to do: days, rows, seconds and bytes; None where unknown."""
    costs = []
    for stage in dict.fromkeys(p.stage for p in days if not p.reuse):
        mine = [p for p in days if p.stage == stage and not p.reuse]
        known = mine[0].rows is not None
        costs.append(
            (
                stage,
                len(mine),
                sum(p.rows or 0 for p in mine) if known else None,
                sum(p.seconds or 0 for p in mine) if known else None,
                sum(p.bytes or 0 for p in mine) if known else None,
            )
        )
    return costs


def as_json(plan: Plan) -> dict[str, Any]:
    """A plan for programs."""
    return {
        "token": plan.token,
        "call": dict(plan.call),
        "days": [asdict(p) for p in plan.days],
        "recompute": len(plan.todo),
        "reuse": len(plan.days) - len(plan.todo),
        "rows": int(plan.total("rows")),
        "seconds": round(plan.total("seconds"), 1),
        "bytes": int(plan.total("bytes")),
    }
