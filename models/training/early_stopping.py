"""Which epoch was best for a task, and which tasks no longer get better: functions of the history
of validation losses alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.tasks import Task

MIN_GAIN = 5e-4
"""Share of the constant's loss by which an epoch must be better to count as such."""

History = Sequence[Mapping[str, float]]
"""Per epoch, `epoch` and `valid_loss/<task>`: loss over the constant's."""


def chains(tasks: Sequence[Task]) -> list[list[str]]:
    """Names of tasks that are within one another, together; each of the others by itself."""
    by_outermost: dict[str, list[str]] = {}
    names = {task.name: task for task in tasks}
    for task in tasks:
        outermost = task
        while outermost.within in names:
            outermost = names[outermost.within or ""]
        by_outermost.setdefault(outermost.name, []).append(task.name)
    return list(by_outermost.values())


def best_epochs(history: History, tasks: Sequence[Task]) -> dict[str, tuple[int, float]]:
    """Per task its best epoch so far, and the loss of its chain then; nothing of a task without
    validation rows."""
    best_of: dict[str, tuple[int, float]] = {}
    for chain in chains(tasks):
        best: tuple[int, float] | None = None
        for row in history:
            losses = [row[f"valid_loss/{name}"] for name in chain if f"valid_loss/{name}" in row]
            loss = sum(losses) / len(losses) if losses else float("nan")
            if loss < (best[1] - MIN_GAIN if best is not None else float("inf")):
                best = int(row["epoch"]), loss
        if best is not None:
            best_of |= dict.fromkeys(chain, best)
    return best_of


def stopped_early(history: History, tasks: Sequence[Task], patience: int) -> list[str]:
    """Tasks that have not got better for `patience` epochs, or have no validation rows."""
    if not history:
        return []
    last, best_of = int(history[-1]["epoch"]), best_epochs(history, tasks)
    return [
        task.name
        for task in tasks
        if task.name not in best_of or last - best_of[task.name][0] >= patience
    ]


def best_loss(history: History, tasks: Sequence[Task]) -> float:
    """The mean over tasks of the best loss of each so far: falls when some task gets better."""
    losses = [loss for _, loss in best_epochs(history, tasks).values()]
    return sum(losses) / len(losses) if losses else float("inf")
