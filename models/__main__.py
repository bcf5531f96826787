"""`python -m models WHAT SPEC REPORT`: a process with a JSON spec in, a JSON report out."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from contracts.table import ContractError

_SET_PARENT_DEATH_SIGNAL = 1


def die_with_parent(parent: int) -> None:
    """Ask Linux to end this process when the flow's ends; elsewhere the flow stops it itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the flow has ended")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    parser.add_argument("what", choices=["train", "score", "clocks", "reasons"])
    parser.add_argument("spec", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument(
        "--parent", type=int, default=os.getppid(), help="process whose end ends this one"
    )
    told = parser.parse_args()
    die_with_parent(told.parent)
    spec = json.loads(told.spec.read_text())
    try:
        if told.what == "train":
            from models.train import TrainSpec, train

            report = train(TrainSpec.from_json(spec))
        elif told.what == "clocks":
            from models.clocks import compare_clocks

            report = compare_clocks(spec)
        elif told.what == "reasons":
            from models.reasons import explain

            report = explain(spec)
        else:
            from models.score import ScoreSpec, score

            report = {"days": [score(ScoreSpec.from_json(day)) for day in spec["days"]]}
    except ContractError as error:
        told.report.write_text(json.dumps({"error": str(error)}))
        return 1
    told.report.write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
