"""Part of `make bench-past`: every engine and a definition by hand, on whole logs, to the bit.

A log is landed and cleaned as a backfill would do it, and features are computed as of each of its
days: in one pass; by the per-day definition; for some days alone, from yesterday's state, as nights
do; and in DuckDB by hand, from clean rows. JSON lines.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import functions as F

from contracts.clean_tables import CLEAN_TABLES
from contracts.content_tables import CONTENT_SCORES
from contracts.measures import TEXT_BUCKETS
from contracts.source_tables.fraud_marks import FRAUD_MARKS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.reviews import REVIEWS
from contracts.tables import USER_FEATURES
from flows.engine.run import Run
from flows.engine.spark_stages import compute, land, write
from flows.planning.stage_list import StageDays, chunks_of, fixed, tiles_of
from flows.settings import read_settings
from jobs.market.files import simulate
from jobs.market.traits import Market
from jobs.spark.files import read_table
from jobs.spark.schema import arrow_schema
from jobs.stages import job_named
from tests.bench.duck import differences, features_by_hand
from tests.bench.lines import print_line
from tests.bench.past import START
from tests.conftest import REAL_DATA, REPOSITORY

CHUNK, ALONE_EVERY = 64, 40
_ONE = timedelta(days=1)


def prepare(home: Path, raw: Path, mapping: str, until: date) -> Run:
    """A home with all that landed before a day cleaned and summed up by day."""
    settings = read_settings(
        home=home, raw=raw, source=REPOSITORY / f"infra/sources/{mapping}.toml", key="k" * 20
    )
    night = Run(settings, until)
    night.look_at_files()
    for source in night.mapping.sources:
        land(night, source, print)
    days = night.days.landed_days
    for table in CLEAN_TABLES:
        if table.name in night.mapping.mapped_tables:
            compute(night, f"clean_{table.name}", days, print)
    for name in tiles_of(night.mapping):
        compute(night, name, days, print)
    return night


def clean_files(night: Run, root: Path) -> dict[str, list[str]]:
    """Files of the clean tables, an empty one of those that the mapping does not feed."""
    files = {}
    for table in CLEAN_TABLES:
        paths = [f.path for f in night.lake.files(table)]
        if not paths:
            path = root / f"no-{table.name}.parquet"
            pq.write_table(arrow_schema(table).empty_table(), path)
            paths = [str(path)]
        if table is not FRAUD_MARKS:
            files[table.name] = paths
    scores = [f.path for f in night.lake.files(CONTENT_SCORES)]
    return files | ({CONTENT_SCORES.name: scores} if scores else {})


def vocabulary(night: Run, clean: dict[str, list[str]], root: Path) -> list[str]:
    token = (F.pmod(F.xxhash64("word"), F.lit(TEXT_BUCKETS)) + 1).cast("int")
    posts, reviews = (
        read_table(night.spark.session, table, clean[table.name]).select("text")
        for table in (POSTS, REVIEWS)
    )
    words = posts.union(reviews).select(F.explode(F.split("text", " ")).alias("word")).distinct()
    words.select("word", token.alias("token")).write.parquet(str(root / "words"))
    return [str(p) for p in (root / "words").glob("*.parquet")]


def compare(night: Run, root: Path, name: str) -> None:
    """All as-of days of a log by every engine."""
    job = job_named("user_features")
    days = [d for d in (night.days.landed_days[0] + _ONE * n for n in range(1, 10_000))
            if d <= night.as_of]  # fmt: skip
    compute(night, "item_features", days, print)
    clean = clean_files(night, root)
    words = vocabulary(night, clean, root)
    rows, differ, by_hand, in_one_only = 0, 0, 0, 0
    seconds = {"one_pass": 0.0, "per_day": 0.0, "by_hand": 0.0}
    columns: dict[str, int] = {}
    alone = 0
    entry = StageDays("user_features", fixed(days), chunk_days=CHUNK)
    for chunk in (each.todo for each in chunks_of(entry, days, days)):
        compute(night, "user_state", chunk[:1], print)
        started = time.perf_counter()
        swept, _ = write(night, job, chunk, "one-pass", "swept")
        seconds["one_pass"] += time.perf_counter() - started
        started = time.perf_counter()
        defined, _ = write(night, job, chunk, "per-day", "defined")
        seconds["per_day"] += time.perf_counter() - started
        of_sweep, of_definition = (x.written[USER_FEATURES.name] for x in (swept, defined))
        for day in chunk:
            rows += of_sweep[day].rows
            differ += of_sweep[day].digest != of_definition[day].digest
            if (day - days[0]).days % ALONE_EVERY == ALONE_EVERY - 1:
                compute(night, "user_state", [day], print)
                single, _ = write(night, job, [day], "per-day", "alone")
                differ += single.written[USER_FEATURES.name][day].digest != of_sweep[day].digest
                alone += 1
            started = time.perf_counter()
            features_by_hand(clean, words, day, root / "hand.parquet")
            seconds["by_hand"] += time.perf_counter() - started
            if not of_sweep[day].rows:
                continue
            n, only, by_column = differences(of_sweep[day].files, [str(root / "hand.parquet")])
            by_hand, in_one_only = by_hand + n, in_one_only + only
            for column, count in by_column.items():
                columns[column] = columns.get(column, 0) + count
        shutil.rmtree(night.lake.staging(night.run_id, "swept"))
        shutil.rmtree(night.lake.staging(night.run_id, "defined"))
        print(f"{name}: equal so far to {chunk[-1]}: {rows:,} rows, {differ} days, "
              f"{in_one_only} users and {len(columns)} columns differ", flush=True)  # fmt: skip
    print_line(
        bench="parity", log=name, days=len(days), first=str(days[0]), last=str(days[-1]),
        rows=rows, columns=len(USER_FEATURES.columns), days_that_differ_between_engines=differ,
        days_alone_from_a_state=alone, rows_by_hand=by_hand, users_in_one_only=in_one_only,
        columns_that_differ_by_hand=columns, **{f"{k}_seconds": v for k, v in seconds.items()},
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--online-retail", type=Path, default=REAL_DATA / "online_retail")
    parser.add_argument("--until", type=date.fromisoformat, default=date(2011, 12, 10))
    parser.add_argument("--users", type=int, default=400, help="of the market; 0: no market")
    parser.add_argument("--days", type=int, default=150)
    o = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="nightjar-parity-"))
    logs = []
    if o.users:
        simulate(Market(o.users, START, o.days, 5), root / "raw", lambda done, total: None)
        logs.append(("market", root / "raw", START + _ONE * o.days))
    if o.online_retail.is_dir():
        logs.append(("online_retail", o.online_retail, o.until))
    else:
        print(f"{o.online_retail} is not there: online_retail is left out")
    try:
        for name, raw, until in logs:
            here = root / name
            here.mkdir()
            compare(prepare(here / "home", raw, name, until), here, name)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
