"""A search for better settings on the examples that the lake has."""

from __future__ import annotations

from typing import Any

from contracts.days import ONE_DAY
from contracts.errors import ContractError
from contracts.hashes import hash_of, short_hash
from contracts.specs import TrainSpec, TuneSpec
from contracts.tables import EXAMPLES
from flows.engine.code_hash import code_fingerprint
from flows.engine.fingerprints import table_shape
from flows.engine.model_process import run_models
from flows.engine.run_days import RunDays
from flows.learning.fingerprints import first_as_of
from flows.lifecycle.progress import Say


def tune(days: RunDays, minutes: float, trials: int, say: Say) -> dict[str, Any]:
    """Search within a time budget; it goes on with an earlier search of the same examples, tasks,
    days, code and settings (but for those that are searched).

    Raises:
        ContractError: the lake has no examples.
    """
    context, state = days.context, days.state
    past = [day for day in state.receipts.days("examples") if day < days.as_of]
    files = [file.path for day in past for file in state.lake.files(EXAMPLES, day, day + ONE_DAY)]
    if not files:
        raise ContractError("there are no examples to learn from yet: run a night first")
    tasks = [task.name for task in context.tasks]
    digests = state.fingerprints.digests("examples", EXAMPLES.name)
    content = hash_of(
        [
            tasks,
            {name: day.isoformat() for name, day in first_as_of(days).items()},
            sorted((str(day), digests.get(day)) for day in past),
            str(days.as_of),  # it decides which days are trained on, and which are validation's
            context.settings.settle_days,
            code_fingerprint(("models.training.hyperparameter_search",)) + table_shape((EXAMPLES,)),
        ]
    )
    folder = context.process_folder
    train = TrainSpec(
        files=tuple(files),
        as_ofs=tuple(past),
        known_until=days.as_of,
        settle_days=context.settings.settle_days,
        tasks=tuple(tasks),
        config=context.settings.train,
        folder=str(folder / "tune"),
        first_as_of=first_as_of(days),
    )
    storage = f"sqlite:///{context.settings.home_folder.tuning_database}"
    spec = TuneSpec(train, storage, short_hash(content), 60 * minutes, trials)
    return run_models(spec, folder, say, context.settings.key_of_weights())
