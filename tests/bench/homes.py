"""`python -m tests.bench.homes HOME`: network, LightGBM and their mixture on a home's examples.

The newest night of HOME has left examples in its lake; they are trained on once per seed as that
night would, with `--set name=value …` changed. JSON lines: per task the mean over seeds, and last
the share of what LightGBM gains over the constant, and where the mixture is significantly worse or
better. `--alone` trains single-task twins of the network too.

Settings are chosen with `--valid`: all is then trained and judged as an earlier night would have
been, of whose test days tonight's are none.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.specs import TrainSpec
from contracts.tables import EXAMPLES
from contracts.tasks import TASKS
from contracts.train_config import TrainConfig
from flows.cli.main import DEMO_DAYS, DEMO_KEY, DEMO_SEED, DEMO_START, DEMO_USERS
from flows.lake.lake import Lake
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from jobs.market.files import simulate
from jobs.market.traits import Market
from models.evaluation.held_out import held_out_rows
from models.training.task_choice import choose_tasks
from tests.bench.lines import print_figures
from tests.bench.members import Trial, lines_of, measure, settings_of, summary_of
from tests.conftest import REAL_DATA, REPOSITORY

AS_OF = DEMO_START + timedelta(days=DEMO_DAYS)
_NIGHT = "from flows.cli.main import main; main()"


@dataclass(frozen=True)
class HomeSet:
    """Raw logs, and the night whose examples are learned from."""

    mapping: str
    as_of: date
    raw: Callable[[Path], Path | None]
    """The folder of the raw logs, given one that they may be written below; None: they are not
    there."""


def market(seed: int) -> HomeSet:
    """The demo's market, or another like it."""

    def raw(folder: Path) -> Path:
        logs = folder / "raw"
        if not (logs / "SIMULATED").exists():
            market = Market(DEMO_USERS, DEMO_START, DEMO_DAYS, seed)
            simulate(market, logs, lambda done, total: None)
        return logs

    return HomeSet("market", AS_OF, raw)


def real(name: str, as_of: date) -> HomeSet:
    """A data set that is not simulated."""
    logs = REAL_DATA / name
    return HomeSet(name, as_of, lambda _: logs if logs.is_dir() else None)


HOMES = {
    "market": market(DEMO_SEED),
    "other_market": market(23),
    "online_retail": real("online_retail", date(2011, 11, 1)),
    "ciao": real("ciao", date(2010, 7, 1)),
}


def home_of(of: HomeSet, folder: Path) -> Path | None:
    """The home of a set below a folder, its night run up to examples, which reuses what is up to
    date; None where the raw logs are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    raw, home = of.raw(folder), folder / "home"
    if raw is None:
        return None
    mapping = REPOSITORY / f"infra/sources/{of.mapping}.toml"
    own = {"NIGHTJAR_KEY": DEMO_KEY, "PYTHONPATH": str(REPOSITORY)}
    others = {k: v for k, v in os.environ.items() if not k.startswith("NIGHTJAR_")}
    log = folder / "night.log"
    with log.open("wb") as output:
        night = subprocess.run(
            [sys.executable, "-c", _NIGHT, "run", "--no-train", "--as-of", str(of.as_of),
             "--source", str(mapping), "--raw", str(raw), "--home", str(home)],
            env=others | own, cwd=folder, stdout=output, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if night.returncode:
        sys.exit(f"the night of {of.as_of} failed: see {log}")
    return home


def examples_of(home: Path) -> tuple[tuple[str, ...], tuple[date, ...], date]:
    """Files of the examples, their as-of days, and the newest night."""
    files = tuple(file.path for file in Lake(home / "lake").files(EXAMPLES))
    days: set[date] = set()
    for path in files:
        days |= set(pc.unique(pq.read_table(path, columns=["as_of"]).column(0)).to_pylist())
    receipts = Receipts(open_database(f"sqlite:///{home / 'nightjar.db'}"))
    return files, tuple(sorted(days)), max(receipts.days("user_features"))


def trial_of(home: Path, config: TrainConfig, valid: bool) -> Trial:
    """The examples of a home's newest night, judged on its test days.

    With `valid` as a night would have judged that came so much earlier that none of its test days
    is among those; tasks that would be tested on other users of the same days are left out.
    """
    files, as_ofs, night = examples_of(home)
    names = tuple(task.name for task in TASKS)
    spec = TrainSpec(files, as_ofs, night, 2, names, config, "")
    chosen = choose_tasks(spec)
    if valid:
        earlier = night - 2 * (as_ofs[-1] - as_ofs[-2])
        by_time = tuple(name for name, split in chosen.splits.items() if not split.by_user)
        before = tuple(day for day in as_ofs if day < earlier)
        spec = replace(spec, known_until=earlier, as_ofs=before, tasks=by_time)
        chosen = choose_tasks(spec, by_user=False)
    cuts = chosen.cuts("test", config.evaluation.test_max_rows)
    return Trial(spec, chosen, held_out_rows(files, chosen.layout, cuts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="single-task twins as well")
    parser.add_argument("--set", nargs="*", default=[], help="settings, as name=value")
    parser.add_argument("--valid", action="store_true", help="an earlier night, to choose by")
    o = parser.parse_args()
    given, home = settings_of(o.set), o.home.absolute()
    trial = trial_of(home, TrainConfig().changed(**given), o.valid)
    lines = lines_of(home.name, [measure(trial, seed, o.alone) for seed in range(o.seeds)])
    for line in lines:
        print_figures(line)
    print_figures(summary_of(home.name, lines, seeds=o.seeds, settings=given, valid=o.valid))


if __name__ == "__main__":
    main()
