"""Plans: what a run would do to every (stage, day), why, and what it will cost.

A plan is made before anything runs, so what a stage will find depends on what those before it will
write. A day that reads a day which is to be recomputed is taken to be recomputed as well; running
it finds out whether what it reads really changed, and stops there if it did not.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

from sqlalchemy import Engine, insert, select

from contracts.clean_tables import CLEAN_TABLES
from contracts.errors import ContractError, NightjarError, UsageError
from contracts.tables import NO_MODEL
from flows.engine.context import Context
from flows.engine.fingerprints import NEVER_COMPUTED, Decision, decide, hash_of, landing_stage
from flows.learning.fingerprints import score_fingerprint, train_fingerprint
from flows.learning.gate import accepted
from flows.monitor.scoreboard import due
from flows.release.releases import Releases
from flows.state.receipts import Fingerprint
from flows.state.schema import PLANS
from jobs.stage import Job
from jobs.stages import SPARK_JOBS, job_named

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
class Wanted:
    """Days of a stage that a run wants to be up to date, in the order in which it asks."""

    stage: str
    days: tuple[date, ...]
    force: frozenset[date] = frozenset()


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


class Forecast:
    """Walks the stages in the order in which they would run."""

    def __init__(self, context: Context):
        self._context = context
        self._pending: dict[str, list[date]] = {}
        self._unknown: set[str] = set()
        """Stages that will write days nobody knows yet."""
        self._costs: dict[str, tuple[int, float, int] | None] = {}
        self.days: list[Planned] = []
        self.roots = {f"{job.name} code": context.planner.code(job) for job in SPARK_JOBS}
        self.landed: tuple[date, ...] = ()
        """Days with raw rows; none if no file with days of its own was ever read."""

    def land(self) -> None:
        """Raw files against what has landed."""
        for source in self._context.mapping.sources:
            stage = landing_stage(source)
            pending = []
            for d in self._context.land_decisions(source):
                self.roots[f"{stage} {d.day}"] = hash_of(asdict(d.fingerprint))
                unknown = d.day == date.min
                self._add(d, None if unknown else d.day)
                if not d.reuse:
                    if unknown:
                        pending += [d for d in self._context.receipts.days(stage) if d != date.min]
                        self._unknown.add(stage)
                    else:
                        pending.append(d.day)
            self._pending[stage] = sorted(pending)
        self._context.expected_days = {d for days in self._pending.values() for d in days}

    def clean(self) -> None:
        """Every landed day of every clean table that the mapping feeds."""
        landed = self.landed = self._landed()
        for lookup in self._context.mapping.lookups:
            self.roots[f"lookup {lookup.name}"] = lookup.content()
        for table in CLEAN_TABLES:
            if table.name in self._context.mapping.mapped_tables:
                self.want(Wanted(f"clean_{table.name}", landed))
        for name in ("user_days", "late_data"):
            self.want(Wanted(name, landed))

    def _landed(self) -> tuple[date, ...]:
        try:
            return self._context.landed_days
        except NightjarError:
            if self._unknown:
                return ()
            raise

    def want(self, wanted: Wanted) -> None:
        """Decide each day of a Spark job."""
        job = job_named(wanted.stage)
        planner = self._context.planner
        pending = []
        for d in planner.decisions(job, wanted.days, wanted.force):
            cause = None
            if d.reuse or d.reason == "input moved":
                found = self._cascaded(job, d.day)
                if found is not None:
                    stage, cause = found
                    d = replace(d, reuse=False, reason=f"cascaded from {stage}")
            if job.settings(self._context.job_settings, d.day) is not None:
                self.roots[f"{d.stage} {d.day} configuration"] = d.fingerprint.configuration
            self._add(d, d.day, cause)
            if not d.reuse:
                pending.append(d.day)
        self._pending[wanted.stage] = sorted(pending)
        if self._unknown & {w for r in job.reads for w in planner.writers(job, r.table)}:
            self._unknown.add(wanted.stage)
            if not wanted.days:
                self.days.append(Planned(wanted.stage, None, False, NEVER_COMPUTED))

    def _cascaded(self, job: Job, day: date) -> tuple[str, date | None] | None:
        """Which earlier stage's day will have been recomputed, of those that this one reads."""
        planner = self._context.planner
        for read in job.reads:
            start, end, before = planner.range(read, day)
            for stage in planner.writers(job, read.table):
                days = self._pending.get(stage, [])
                first = 0 if start is None else bisect_left(days, start)
                until = end if before is None else min(end, before)
                if first < len(days) and days[first] < until:
                    return stage, days[first]
                if stage in self._unknown:
                    return stage, None
        return None

    def then(
        self,
        stage: str,
        day: date,
        reads: Mapping[str, Collection[date]],
        fingerprint: Fingerprint,
        force: Collection[date] = (),
    ) -> None:
        """A stage that is not Spark's, which reads days of others."""
        self.roots[f"{stage} {day} code"] = fingerprint.code
        self.roots[f"{stage} {day} configuration"] = fingerprint.configuration
        known, cause = self._context.receipts.get(stage, day), None
        d = decide(stage, day, fingerprint, known, day in force)
        moved = [
            (of, min(todo))
            for of, days in reads.items()
            if (todo := set(days) & set(self._pending.get(of, ())))
        ]
        if moved and (d.reuse or d.reason == "input moved"):
            of, cause = moved[0]
            d = replace(d, reuse=False, reason=f"cascaded from {of}")
        self._pending.setdefault(stage, []).extend([] if d.reuse else [day])
        self._add(d, day, cause)

    def _add(self, decision: Decision, day: date | None, cause: date | None = None) -> None:
        self.days.append(
            self._costed(Planned(decision.stage, day, decision.reuse, decision.reason, cause))
        )

    def _costed(self, planned: Planned) -> Planned:
        if planned.reuse:
            return planned
        if planned.stage not in self._costs:
            self._costs[planned.stage] = cost_of(self._context, planned.stage)
        found = self._costs[planned.stage]
        if found is None:
            return planned
        rows, seconds, n_bytes = found
        return replace(planned, rows=rows, seconds=seconds, bytes=n_bytes)


def cost_of(context: Context, stage: str) -> tuple[int, float, int] | None:
    """Rows, seconds and bytes of a day of a stage: the mean of its newest receipts."""
    days = context.receipts.days(stage)[-RECENT:]
    found = [r for day in days if (r := context.receipts.get(stage, day)) is not None]
    if not found:
        return None

    def mean(of: str) -> float:
        return sum(float(getattr(r, of)) for r in found) / len(found)

    return round(mean("rows_out")), round(mean("seconds"), 3), round(mean("bytes"))


def finished(context: Context, forecast: Forecast, call: Mapping[str, Any]) -> Plan:
    """The plan, under its token."""
    context.expected_days = set()  # what runs finds the days that really landed
    todo = [(p.stage, str(p.day), p.reason) for p in forecast.days if not p.reuse]
    token = hash_of([dict(call), todo, forecast.roots])
    return Plan(dict(call), tuple(forecast.days), dict(forecast.roots), token)


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
    found: dict[str, Any] = json.loads(row[0]) if isinstance(row[0], str) else row[0]
    return found


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
    made: list[tuple[str, str, str, str, int]] = []
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
            made.append((first.stage, span, what, first.reason, len(group)))
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
    return made


def stage_costs(
    days: Collection[Planned],
) -> list[tuple[str, int, int | None, float | None, int | None]]:
    """Per stage with something to do: days, rows, seconds and bytes; None where unknown."""
    made = []
    for stage in dict.fromkeys(p.stage for p in days if not p.reuse):
        mine = [p for p in days if p.stage == stage and not p.reuse]
        known = mine[0].rows is not None
        made.append(
            (
                stage,
                len(mine),
                sum(p.rows or 0 for p in mine) if known else None,
                sum(p.seconds or 0 for p in mine) if known else None,
                sum(p.bytes or 0 for p in mine) if known else None,
            )
        )
    return made


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


def forecast_night(context: Context) -> Forecast:
    """What the night of `context.as_of` would do."""
    made, day = Forecast(context), context.as_of
    context.check_history()
    made.land()
    made.clean()
    past = context.example_days if made.landed else ()
    made.want(Wanted("user_state", (day,)))
    for name in ("item_features", "user_features"):
        made.want(Wanted(name, (*past, day)))
    known = due(context)
    made.want(Wanted("labels", tuple(sorted({*past, *(d.day for d in known)}))))
    made.want(Wanted("examples", tuple(past)))
    for d in known:
        made.then(d.stage, d.day, {"labels": (d.day,)}, d.fingerprint)
    trained = None if context.settings.no_train else context.receipts.get("train", day)
    if not context.settings.no_train:
        made.then("train", day, {"examples": past}, train_fingerprint(context, past))
    scored = context.receipts.get("score", day)  # with the model that the gate will choose again
    model_id = scored.outputs.get("model_id") if scored else None
    if context.settings.no_train:
        model_id = Releases(context.engine).champion(day) or NO_MODEL
    if trained is not None and accepted(context.engine, trained.outputs["model_id"]):
        model_id = trained.outputs["model_id"]  # unless a person has answered since
    reads = {"train": (day,), "user_features": (day,)}
    made.then("score", day, reads, score_fingerprint(context, model_id, day))
    return made
