"""A search for better settings on the examples that the lake has."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from contracts.table import ContractError
from contracts.tables import EXAMPLES
from flows.night import Night, short_hash
from flows.plan import hash_of
from flows.processes import run_models
from flows.tasks import Say

_ONE = timedelta(days=1)


def tune(night: Night, minutes: float, trials: int, say: Say) -> dict[str, Any]:
    """Search within a time budget; the same examples and tasks go on with the same search.

    Raises:
        ContractError: the lake has no examples.
    """
    days = sorted(day for day in night.receipts.days("examples") if day < night.as_of)
    files = [file.path for day in days for file in night.lake.files(EXAMPLES, day, day + _ONE)]
    if not files:
        raise ContractError("there are no examples to learn from yet: run a night first")
    tasks = [task.name for task in night.tasks]
    digests = night.planner.digests("examples", EXAMPLES.name)
    content = hash_of([tasks, sorted((str(day), digests.get(day)) for day in days)])
    folder = night.settings.folder / "runs" / night.run_id
    train = {
        "files": files,
        "as_ofs": [day.isoformat() for day in days],
        "known_until": night.as_of.isoformat(),
        "settle_days": night.settings.settle_days,
        "tasks": tasks,
        "config": asdict(night.settings.train),
        "folder": str(folder / "tune"),
    }
    spec = {
        "train": train,
        "storage": f"sqlite:///{night.settings.folder / 'tune.db'}",
        "name": short_hash(content),
        "seconds": 60 * minutes,
        "trials": trials,
        "threads": night.settings.train.threads,
    }
    return run_models("tune", spec, folder, say)
