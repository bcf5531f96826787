"""`python -m models COMMAND SPEC REPORT`: a process with a JSON spec in, a JSON report out."""

from __future__ import annotations

import argparse
import json
import os
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.content_specs import ContentScoresSpec, ExplainContentSpec
from contracts.errors import NightjarError, UsageError
from contracts.parent_process import die_with_parent
from contracts.spec_json import decode
from contracts.specs import (
    TRACKING_VARIABLE,
    ExplainSpec,
    LateDataSpec,
    RankSpec,
    RecOutcomesSpec,
    RetrieveSpec,
    ScoreboardSpec,
    ScoreDaysSpec,
    Spec,
    TableSpec,
    TrainSpec,
    TuneSpec,
)
from models.artifact import encryption
from models.distributed import check_world, is_rank, rank, run_ranks
from models.progress import show_progress

ENDED = 143
"""Exit code of a process that was asked to end: 128 and SIGTERM."""


@dataclass(frozen=True)
class Command:
    """What a process can be asked for."""

    spec: type[Spec]
    function: str
    """Where the function is that takes the spec and returns the report. It is imported when it is
    called, for each brings libraries that the others do not need."""
    processes_setting: str | None = "processes"
    """The setting that says how many ranks of torchrun share the work; None: as many as there are
    share its pieces out (`models.pieces`)."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Further arguments of the function, and the environment variables that hold them: what may
    hold a password stands in no file."""


COMMANDS: Mapping[str, Command] = {
    command.spec.command: command
    for command in (
        Command(
            TrainSpec,
            "models.train:train",
            "train.machine.devices",
            {"tracking_uri": TRACKING_VARIABLE},
        ),
        Command(ScoreDaysSpec, "models.score:score_days", "score_processes"),
        Command(TableSpec, "models.released_table:write_days"),
        Command(ScoreboardSpec, "models.evaluation.scoreboard:compare_days"),
        Command(RetrieveSpec, "models.retrieval.retrieve:retrieve_days", None),
        Command(RankSpec, "models.ranking.rank:rank_days", None),
        Command(RecOutcomesSpec, "models.ranking.outcomes:compare_days"),
        Command(ContentScoresSpec, "models.content.content_scores:score_days", None),
        Command(ExplainContentSpec, "models.content.explain_text:explain_text"),
        Command(LateDataSpec, "models.evaluation.late_data:compare_features"),
        Command(ExplainSpec, "models.evaluation.explanations:explain"),
        Command(TuneSpec, "models.training.hyperparameter_search:search"),
    )
}


def main() -> int:
    given = _arguments()
    die_with_parent(os.getppid() if is_rank() else given.parent)
    command = COMMANDS[given.command]
    show_progress()
    try:
        spec = decode(command.spec, given.spec.read_text())
        if spec.processes > 1 and not is_rank():
            words = [given.command, str(given.spec), str(given.report)]
            return run_ranks(spec.processes, words, given.report)
        encryption.use(encryption.key_from(os.environ.get(encryption.KEY_VARIABLE)))
        if command.processes_setting is not None:
            check_world(spec.processes, command.processes_setting)
        secrets = {name: os.environ.get(variable) for name, variable in command.secrets.items()}
        report: dict[str, Any] = pkgutil.resolve_name(command.function)(spec, **secrets)
    except NightjarError as error:
        is_call = isinstance(error, UsageError)
        given.report.write_text(json.dumps({"error": str(error), "is_call": is_call}))
        return 1
    except SystemExit:
        if command.spec is TrainSpec:  # asked to end: its state is kept
            return ENDED
        raise
    if rank() == 0:
        given.report.write_text(json.dumps(report, indent=1))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("spec", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument(
        "--parent", type=int, default=os.getppid(), help="process whose end ends this one"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
