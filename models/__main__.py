"""`python -m models WHAT SPEC REPORT`: a process with a JSON spec in, a JSON report out."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.errors import NightjarError, UsageError
from models.artifact import encryption
from models.distributed import check_world, is_rank, rank, run_ranks

_SET_PARENT_DEATH_SIGNAL = 1
TRACKING_VARIABLE = "NIGHTJAR_TRACKING_URI"
ENDED = 143
"""Exit code of a process that was asked to end: 128 and SIGTERM."""


def die_with_parent(parent: int) -> None:
    """Ask Linux to end this process when the flow's ends; elsewhere the flow stops it itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the flow has ended")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    parser.add_argument(
        "what", choices=["train", "score", "scoreboard", "clocks", "reasons", "tune"]
    )
    parser.add_argument("spec", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument(
        "--parent", type=int, default=os.getppid(), help="process whose end ends this one"
    )
    told = parser.parse_args()
    die_with_parent(os.getppid() if is_rank() else told.parent)
    spec = json.loads(told.spec.read_text())
    if spec.get("run"):  # the address may hold a password, so it stands in no file
        spec["run"]["tracking_uri"] = os.environ[TRACKING_VARIABLE]
    n = processes_of(told.what, spec)
    if n > 1 and not is_rank():
        return run_ranks(n, [told.what, str(told.spec), str(told.report)], told.report)
    try:
        encryption.use(encryption.key_from(os.environ.get(encryption.KEY_VARIABLE)))
        check_world(n, "train.devices" if told.what == "train" else "score_processes")
        if told.what == "train":
            from models.train import train
            from models.training.multi_task import TrainSpec

            report = train(TrainSpec.from_json(spec))
        elif told.what == "clocks":
            from models.evaluation.late_data import compare_clocks

            report = compare_clocks(spec)
        elif told.what == "scoreboard":
            from models.evaluation.scoreboard import compare_days

            report = compare_days(spec)
        elif told.what == "tune":
            from models.training import hyperparameter_search

            report = hyperparameter_search.from_json(spec)
        elif told.what == "reasons":
            from models.evaluation.explanations import explain

            report = explain(spec)
        else:
            from models.score import ScoreSpec, score

            report = {"days": [score(ScoreSpec.from_json(day)) for day in spec["days"]]}
    except NightjarError as error:
        is_call = isinstance(error, UsageError)
        told.report.write_text(json.dumps({"error": str(error), "is_call": is_call}))
        return 1
    except SystemExit:
        if told.what == "train":  # asked to end: where it was is kept
            return ENDED
        raise
    if rank() == 0:
        told.report.write_text(json.dumps(report, indent=1))
    return 0


def processes_of(what: str, spec: Mapping[str, Any]) -> int:
    """How many processes share the work."""
    if what == "train":
        return int(spec["config"].get("devices", 1))
    return int(spec.get("processes", 1))


if __name__ == "__main__":
    sys.exit(main())
