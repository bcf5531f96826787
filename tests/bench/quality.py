"""`make bench-quality`: network, LightGBM and their mixture on five data sets, as JSON lines.

The demo's market, a market of another seed, Online Retail, Ciao, and Census-Income with two pairs
of tasks. A line per task with means over seeds, one of each set, and a table at the end. Homes are
made below `--folder` as nights make them, up to examples, and reused; a set whose data are not
there is left out. Test days say how good a model is; to choose by, there is `--valid`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contracts.train_config import TrainConfig
from tests.bench import census, homes
from tests.bench.lines import print_figures
from tests.bench.members import lines_of, measure, readable, settings_of, summary_of

FOLDER = Path(os.environ.get("NIGHTJAR_HOME", ".nightjar")) / "quality"
SEEDS, CENSUS_SEEDS = 3, 5
"""Census is split anew by each seed."""


def of_home(name: str, o: argparse.Namespace, given: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The lines of a home's tasks; None where its raw logs are not there."""
    home = homes.home_of(homes.HOMES[name], o.folder.absolute() / name)
    if home is None:
        return None
    trial = homes.trial_of(home, TrainConfig().changed(**given), o.valid)
    return lines_of(name, [measure(trial, seed) for seed in range(o.seeds or SEEDS)])


def of_census(
    group: str, o: argparse.Namespace, given: dict[str, Any]
) -> list[dict[str, Any]] | None:
    """The lines of two tasks, with the LightGBM that others compare with beside our own."""
    if not census.TABLE.exists():
        return None
    config, seeds, peers = census.SETTINGS[group].changed(**given), [], []
    for seed in range(o.seeds or CENSUS_SEEDS):
        with tempfile.TemporaryDirectory() as folder:
            trial = census.trial_of(group, seed, config, o.valid, Path(folder))
            seeds.append(measure(trial, seed))
            peers.append(census.peers_of(trial))
    lines = lines_of(group, seeds)
    for line in lines:
        of_task = [peer[line["task"]] for peer in peers]
        line["peer"] = float(np.mean(of_task))
        line["over_peer"] = census.over_peer(line["mixture_by_seed"], of_task)
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = (*homes.HOMES, *census.GROUPS)
    parser.add_argument("--sets", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", type=int, help=f"{SEEDS}; of Census {CENSUS_SEEDS}")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the homes")
    parser.add_argument("--set", nargs="*", default=[], help="settings, as name=value")
    parser.add_argument("--valid", action="store_true", help="without test days, to choose by")
    o = parser.parse_args(arguments)
    given, lines = settings_of(o.set), []
    for name in o.sets:
        of_set = (of_census if name in census.GROUPS else of_home)(name, o, given)
        if of_set is None:
            print(f"{name}: its data are not there, so it is left out", file=sys.stderr)
            continue
        for line in of_set:
            print_figures(line)
        print_figures(
            summary_of(name, of_set, seeds=of_set[0]["seeds"], settings=given, valid=o.valid)
        )
        lines += of_set
    print(readable(lines))


if __name__ == "__main__":
    main()
