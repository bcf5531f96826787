"""The runner: executes a run's list of stages, each as a task of Prefect's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prefect.futures import PrefectFuture, as_completed, wait
from prefect.task_runners import ThreadPoolTaskRunner

from contracts.errors import BusyError, NightjarError
from flows.engine.run import Run
from flows.learning.gate import trained_tonight
from flows.lifecycle.errors import may_pass
from flows.monitor.quarantine import Limits
from flows.planning.stage_list import (
    Check,
    Entry,
    Landing,
    SideBySide,
    StageDays,
    chunks_of,
    states_of,
)
from flows.steps import tasks
from flows.steps.process_stages import PROCESS_STAGES
from jobs.stage import Process
from jobs.stages import job_named, stage_named

CONCURRENT = 3
"""Stages that run at once where they do not wait for one another."""
RUNNER: Any = ThreadPoolTaskRunner(max_workers=CONCURRENT)
SAMPLE_EVERY = 30
"""Of so many days of a chunk, one is computed alone as well and compared."""

CHECKS: Mapping[Check, Callable[[Run], object]] = {
    Check.mapping: tasks.check_mapping,
    Check.history: lambda run: run.days.check_history(),
    Check.limits: lambda run: tasks.limits(run.lake, run.as_of, Limits.of(run.settings)),
    Check.gate: lambda run: tasks.gate(run, trained_tonight(run.context, run.receipts)),
}


def execute(run: Run, entries: Iterable[Entry]) -> dict[str, Any]:
    """Bring all of it up to date, in order.

    Returns:
        The results of stages that processes compute, by name.

    Raises:
        NightjarError: a check, or a stage; what is finished by then is kept.
    """
    results: dict[str, Any] = {}
    for entry in entries:
        match entry:
            case Check():
                CHECKS[entry](run)
            case SideBySide(stages):
                together(_submitted(run, stage) for stage in stages)
            case Landing():
                tasks.land(run, entry.source.name)
            case StageDays(name):
                if isinstance(stage_named(name), Process):
                    results[name] = PROCESS_STAGES[name].execute(run, entry, results)
                else:
                    _spark_job(run, entry)
    return results


def _submitted(run: Run, entry: StageDays | Landing) -> PrefectFuture[Any]:
    if isinstance(entry, Landing):
        return tasks.land.submit(run, entry.source.name)
    days = entry.days(run.days)
    return tasks.compute.submit(run, entry.stage, days, entry.engine, entry.force)


def _spark_job(run: Run, entry: StageDays) -> None:
    """All days at once, or those that are to be computed chunk by chunk."""
    days = entry.days(run.days)
    todo = {d.day for d in run.fingerprints.decisions(job_named(entry.stage), days, entry.force)
            if not d.reuse}  # fmt: skip
    if entry.chunk_days is None or not todo:
        tasks.compute(run, entry.stage, days, entry.engine, entry.force)
        return
    for chunk in chunks_of(entry, days, todo):
        for state in states_of(entry, [chunk]):
            tasks.compute(run, state.stage, state.days(run.days))
        sample = -(-len(chunk.todo) // SAMPLE_EVERY) if len(chunk.todo) > 1 else 0
        tasks.compute(run, entry.stage, chunk.todo, entry.engine, entry.force, sample)


def together(futures: Iterable[PrefectFuture[Any]]) -> None:
    """Wait for all of what is submitted as it is asked for, some at a time.

    Once something around us is away for too long, no more is asked for: it would fail as well.

    Raises:
        NightjarError: what is wrong with each of those that failed, once all have ended.
    """
    submitted: list[PrefectFuture[Any]] = []
    running: list[PrefectFuture[Any]] = []
    try:
        for future in futures:
            submitted.append(future)
            running.append(future)
            if len(running) == CONCURRENT:
                ended = next(iter(as_completed(running)))
                running.remove(ended)
                problem = _problem_of(ended)
                if problem is not None and _is_away(problem):
                    break
    finally:
        wait(submitted)
    problems = [problem for future in submitted if (problem := _problem_of(future)) is not None]
    by_text = {str(problem): problem for problem in problems}
    if len(by_text) == 1:
        raise problems[0]
    if problems:
        raise NightjarError("\n".join(by_text))


def _is_away(problem: NightjarError) -> bool:
    """Whether others would fail at the same; what is busy is so for one table alone."""
    return may_pass(problem) and not isinstance(problem, BusyError)


def _problem_of(ended: PrefectFuture[Any]) -> NightjarError | None:
    """What is wrong with something that failed."""
    try:
        ended.result()
    except NightjarError as error:
        return error
    return None
