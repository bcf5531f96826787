"""Part of `make bench-past`: what a night costs as history grows, and what thirty nights leave behind.

Nights of a simulated market, through the flow itself, in one process; JSON lines.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from contracts.tables import TABLES
from flows.lake.lake import Lake
from flows.retention.housekeeping import run_housekeeping
from flows.settings import configure_libraries, read_settings
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from flows.storage.home import Home
from flows.storage.permissions import close_home
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.bench.lines import print_line
from tests.flows.conftest import ENVIRONMENT
from tests.flows.first_night import START

TRAINING = ("train", "score")


def night(home: Path, raw: Path, day: date) -> tuple[float, float, int]:
    """Seconds of a night, those of its Spark stages, and stage-days recomputed."""
    os.environ |= {"NIGHTJAR_HOME": str(home), "NIGHTJAR_RAW": str(raw)}
    from flows.nightly import nightly

    started = time.perf_counter()
    done = nightly(str(day))
    took = time.perf_counter() - started
    receipts = Receipts(open_database(f"sqlite:///{home}/nightjar.db"))
    spark = sum(r.seconds for r in receipts.of_run(done["run_id"]) if r.stage not in TRAINING)
    return took, spark, done["recomputed"]


def size_of(home: Path) -> dict[str, Any]:
    """Files, bytes and snapshots of a home."""
    lake = Lake(home / "lake")
    paths = [p for p in (home / "lake").rglob("*") if p.is_file()]
    return {
        "files": len(paths),
        "megabytes": sum(p.stat().st_size for p in paths) / 1e6,
        "snapshots": sum(len(lake.table(t).snapshots()) for t in TABLES),
        "megabytes_of_receipts": (home / "nightjar.db").stat().st_size / 1e6,
        "metadata_files": sum(p.suffix in (".avro", ".json") for p in paths),
    }


def bench_history(root: Path, users: int, short: int, long: int) -> None:
    """The second of two nights, after a short and after a long history."""
    raw = root / "raw"
    simulate(Market(users, START, long + 3, 3), raw, lambda done, total: None)
    by_history = {}
    for history in (short, long):
        home = root / f"home{history}"
        night(home, raw, START + timedelta(days=history))
        by_history[history] = night(home, raw, START + timedelta(days=history + 1))
    again = night(root / f"home{long}", raw, START + timedelta(days=long + 1))
    print_line(
        bench="night_by_history", users=users, short=short, long=long,
        short_spark_seconds=by_history[short][1], long_spark_seconds=by_history[long][1],
        long_over_short=by_history[long][1] / by_history[short][1], aim=1.1,
        whole_night_long_over_short=by_history[long][0] / by_history[short][0],
    )  # fmt: skip
    print_line(bench="night_with_nothing_to_do", seconds=again[0], recomputed=again[2], aim_seconds=15,
         note="in a process that runs already")  # fmt: skip


def bench_growth(root: Path, users: int, nights: int, history: int) -> None:
    """Nights in a row, each with its housekeeping, as if each lay a day after the one before."""
    raw, home = root / "raw-growth", root / "growth"
    simulate(Market(users, START, history + nights, 4), raw, lambda done, total: None)
    os.environ |= {"NIGHTJAR_KEEP_SNAPSHOT_DAYS": "0", "NIGHTJAR_KEEP_FILES_HOURS": "0",
                   "NIGHTJAR_KEEP_RELEASES": "3"}  # fmt: skip
    for n in range(nights):
        took, spark, _ = night(home, raw, START + timedelta(days=history + n))
        os.environ["NIGHTJAR_HOME"] = str(home)
        settings = read_settings()
        at = datetime.now(UTC) + timedelta(seconds=1)
        run_housekeeping(settings, False, at, lambda line: None)
        if n in (0, 1, 4, 9, 14, 19, 24, 29) or n == nights - 1:
            print_line(
                bench="growth", night=n + 1, seconds=took, spark_seconds=spark, **size_of(home)
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--short", type=int, default=92)
    parser.add_argument("--long", type=int, default=367)
    parser.add_argument("--nights", type=int, default=30)
    o = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="nightjar-nights-"))
    os.environ |= ENVIRONMENT | {"NIGHTJAR_EXAMPLE_SPACING_DAYS": "14"}
    close_home(Home.of(root))
    configure_libraries(Home.of(root))
    try:
        if o.long:
            bench_history(root, o.users, o.short, o.long)
        if o.nights:
            bench_growth(root, 120, o.nights, 100)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
