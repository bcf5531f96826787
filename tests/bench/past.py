"""`make bench-past`: what the past costs, as JSON lines, on made-up clean rows.

Clean tables are made with DuckDB (no raw files: landing is measured by `make bench`), tiles by the
pipeline's own job. Each figure is a ratio of two times of the same run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.clean_tables import CLEAN_TABLES
from contracts.measures import TEXT_BUCKETS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.users import USERS
from contracts.table import Table
from contracts.tables import USER_FEATURES, USER_STATE
from contracts.tile_tables import ITEM_DAYS, TILES, USER_ITEM_DAYS
from flows.backfill import Backfill, EngineName, Stage, plan_of_backfill
from flows.engine.run import Run
from flows.settings import read_settings
from flows.state.receipts import Fingerprint, Receipt
from jobs.mapping.sources import read_mapping
from jobs.market.files import simulate
from jobs.market.traits import Market
from jobs.run import run_job
from jobs.spark.config import SparkConfig
from jobs.spark.files import WrittenDay
from jobs.spark.session import start_session
from jobs.stage import Settings
from jobs.stages import SPARK_JOBS, job_named
from jobs.values.user_key import UserKey
from tests.bench.duck import differences, features_by_hand
from tests.bench.lines import print_line
from tests.bench.night import memory
from tests.conftest import REPOSITORY

START = date(2025, 1, 1)
_SQL = {"string": "VARCHAR", "bigint": "BIGINT", "int": "INTEGER", "boolean": "BOOLEAN",
        "date": "DATE", "timestamp": "TIMESTAMPTZ", "array<string>": "VARCHAR[]"}  # fmt: skip


TILE_JOBS = [
    job.name for job in SPARK_JOBS if set(job.writes) & {*TILES.values(), USER_ITEM_DAYS, ITEM_DAYS}
]


class Peak:
    """The most memory that this process and all below it had while a block ran, GB."""

    def __enter__(self) -> Peak:
        self.gb, self._over = 0.0, threading.Event()

        def watch() -> None:
            while not self._over.wait(0.3):
                self.gb = max(self.gb, memory(os.getpid()))

        threading.Thread(target=watch, daemon=True).start()
        self._started = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._started
        self._over.set()


def make_clean(folder: Path, n_users: int, n_events: int, n_days: int) -> dict[str, list[str]]:
    """Clean tables of so many users, events and days: skewed users, 5 % of rows some days late."""
    folder.mkdir(parents=True)
    n_items = max(n_users // 20, 100)
    share = {"orders": 0.10, "posts": 0.05, "engagements": 0.65, "follows": 0.04, "reviews": 0.04,
             "account_events": 0.12}  # fmt: skip
    files: dict[str, list[str]] = {}
    user = f"md5(((r1 * r1) * {n_users})::INT::VARCHAR)"
    item = f"'i' || ((r2 * r2) * {n_items})::INT"
    other = f"md5((r2 * {n_users})::INT::VARCHAR)"
    columns: dict[str, dict[str, str]] = {
        "orders": {"line_id": "'l' || i", "order_id": "'o' || (i // 2)", "item_id": item,
                   "kind": "CASE WHEN r3 < 0.9 THEN 'purchase' ELSE 'return' END",
                   "quantity": "1 + (r3 * 3)::INT", "amount_minor": "(r4 * 9000)::BIGINT"},
        "posts": {"post_id": "'p' || i", "text": "'w' || (r3 * 500)::INT || ' w' || (r4 * 90)::INT"},
        "engagements": {
            "engagement_id": "'e' || i",
            "verb": "['view', 'view', 'view', 'like', 'comment', 'share', 'search', 'click']"
                    "[1 + (r3 * 7.99)::INT % 8]",
            "target_kind": "CASE WHEN r4 < 0.5 THEN 'item' WHEN r4 < 0.7 THEN 'ad' ELSE 'user' END",
            "target_id": f"CASE WHEN r4 < 0.5 THEN {item} WHEN r4 < 0.7 THEN 'ad' ELSE {other} END"},
        "follows": {"follow_id": "'f' || i", "followed_key": other,
                    "kind": "CASE WHEN r3 < 0.85 THEN 'follow' ELSE 'unfollow' END",
                    "valid_from": "moment"},
        "reviews": {"review_id": "'r' || i", "item_id": item, "stars": "1 + (r3 * 4.99)::INT % 5",
                    "sentiment": "CASE WHEN r3 < 0.4 THEN 'negative' WHEN r3 < 0.6 THEN 'neutral' "
                                 "ELSE 'positive' END"},
        "account_events": {
            "event_id": "'a' || i", "kind": "['login', 'payment', 'transfer'][1 + (r3 * 2.99)::INT]",
            "succeeded": "r4 < 0.95", "device_key": "'d' || (r2 * 3)::INT",
            "counterpart_key": f"CASE WHEN r3 > 0.84 THEN {other} END",
            "amount_minor": "CASE WHEN r3 > 0.34 THEN (r4 * 5000)::BIGINT END"},
    }  # fmt: skip
    with duckdb.connect() as c:
        c.execute("SET TimeZone = 'UTC'")
        c.execute("SET threads = 2")

        def write(table: Table, expressions: dict[str, str], source: str) -> None:
            listed = ", ".join(
                f"CAST({expressions.get(col.name, 'NULL')} AS {_SQL[col.type]}) AS {col.name}"
                for col in table.columns
            )
            path = folder / f"{table.name}.parquet"
            c.execute(f"COPY (SELECT {listed} FROM ({source})) TO '{path}' (FORMAT parquet)")
            files[table.name] = [str(path)]

        for seed, table in enumerate(CLEAN_TABLES):
            n = int(n_events * share.get(table.name, 0))
            rolls = ", ".join(
                f"hash(i, {seed * 10 + k}) / 18446744073709551615.0 AS r{k}" for k in range(1, 8)
            )
            late = "CASE WHEN r6 < 0.05 THEN 1 + (r7 * 20)::INT ELSE 0 END"
            source = (
                f"SELECT *, to_timestamp({(START - date(1970, 1, 1)).days} * 86400 + "
                f"floor(r5 * {n_days} * 86400)) AS moment, {late} AS late FROM "
                f"(SELECT i, {rolls} FROM range({n}) t(i))"
            )
            own = {
                "user_key": user,
                "occurred_at": "moment",
                "landed_on": "moment::DATE + late::INT",
            }
            if table is USERS:
                write(table, {"user_key": "md5(i::VARCHAR)", "country": "'c' || (i % 20)",
                              "signed_up_at": f"TIMESTAMPTZ '{START}'",
                              "occurred_at": f"TIMESTAMPTZ '{START}'", "landed_on": f"'{START}'"},
                      f"SELECT i FROM range({n_users}) t(i)")  # fmt: skip
            elif table is ITEMS:
                write(table, {"item_id": "'i' || i", "category_id": "'k' || (i % 40)",
                              "occurred_at": f"TIMESTAMPTZ '{START}'", "landed_on": f"'{START}'"},
                      f"SELECT i FROM range({n_items}) t(i)")  # fmt: skip
            else:
                write(table, columns.get(table.name, {}) | own, source)
    return files


class Bench:
    """Jobs over lists of files, without a lake."""

    def __init__(self, spark: SparkSession, folder: Path, inputs: dict[str, list[str]], end: date):
        mapping = read_mapping(REPOSITORY / "infra/sources/market.toml")
        self.settings = Settings(mapping, UserKey(b"a key for the bench alone"), 2, end)
        self.spark, self.folder, self.inputs, self._n = spark, folder, dict(inputs), 0

    def run(
        self, name: str, days: Sequence[date], engine: Any = "per-day", **inputs: list[str]
    ) -> dict[date, WrittenDay]:
        """Run a job; its first table's days. What it wrote is input to those that follow."""
        self._n += 1
        job = job_named(name)
        wanted = {read.table.name for read in job.reads} | {
            t.name for t in [job.incremental] if t is not None
        }
        files = {t: (self.inputs | inputs).get(t, []) for t in wanted}
        out = str(self.folder / f"{self._n}-{name}")
        result = run_job(self.spark, job, files, days, out, self.settings, 1, engine)
        for table, written in result.written.items():
            self.inputs[table] = sorted({p for day in written.values() for p in day.files})
        return result.written[job.writes[0].name]


def digests(days: dict[date, WrittenDay]) -> dict[date, str]:
    return {day: one.digest for day, one in days.items()}


def bench_by_hand(
    b: Bench, clean: dict[str, list[str]], ours: dict[date, WrittenDay], day: date,
    spark_seconds: float, spark_gb: float, root: Path,
) -> None:  # fmt: skip
    """The same day by hand in DuckDB, from clean rows: rows, columns and time compared."""
    token = (F.pmod(F.xxhash64("word"), F.lit(TEXT_BUCKETS)) + 1).cast("int")
    texts = b.spark.read.parquet(*clean["posts"], *clean["reviews"]).select("text")
    words = texts.select(F.explode(F.split("text", " ")).alias("word"))
    words.distinct().select("word", token.alias("token")).write.parquet(str(root / "words"))
    vocabulary = [str(p) for p in (root / "words").glob("*.parquet")]
    out = root / "by-hand.parquet"
    inputs = {name: files for name, files in clean.items() if name != "fraud_marks"}
    with Peak() as hand:
        features_by_hand(inputs, vocabulary, day, out)
    rows, only, differing = differences(ours[day].files, [str(out)])
    print_line(
        bench="night_over_duckdb", as_of=str(day), rows=rows, columns=len(USER_FEATURES.columns),
        users_in_one_only=only, columns_that_differ=len(differing),
        tiles_state_and_features_seconds=spark_seconds, duckdb_seconds=hand.seconds,
        over_duckdb=spark_seconds / hand.seconds, aim=2, peak_gb=spark_gb, duckdb_peak_gb=hand.gb,
        note="Spark makes the day's tiles, merges them into yesterday's state, and computes "
        "features; DuckDB starts from all clean rows; its peak has Spark's idle process in it",
    )  # fmt: skip


def bench_plan(root: Path) -> None:
    """A plan of a year of all stages over receipts that are there, without the start-up."""
    raw, home = root / "plan-raw", root / "plan-home"
    n_days = 365
    simulate(Market(20, START, n_days, 1), raw, lambda done, total: None)
    settings = read_settings(
        home=home, raw=raw, source=REPOSITORY / "infra/sources/market.toml", key="x" * 16
    )
    end = START + timedelta(days=n_days)
    night = Run(settings, end)
    night.look_at_files()
    days = [START + timedelta(days=n) for n in range(n_days)]
    stages: dict[str, tuple[str, ...]] = {
        f"land_{s.name}": ("landed",) for s in night.mapping.sources
    } | {job.name: tuple(t.name for t in job.writes) for job in SPARK_JOBS}
    night.receipts.write(
        Receipt(
            stage, day, Fingerprint("c", "s", "i"),
            {name: {"rows": 1, "digest": f"{day}", "first": str(day), "snapshot": 1}
             for name in tables},
            1, 1, 0.1, 1, None, "bench", datetime(2025, 1, 1, tzinfo=UTC),
        )
        for stage, tables in stages.items()
        for day in days
    )  # fmt: skip
    night.state.hashes.of(f.path for files in night.days.files.values() for f in files)
    started = time.perf_counter()
    night.reload_receipts()
    asked = Backfill(days[0], days[-1], list(Stage), EngineName.one_pass, False)
    plan = plan_of_backfill(night, asked)
    print_line(
        bench="plan", days=n_days, stages=len({p.stage for p in plan.days}),
        decisions=len(plan.days), seconds=time.perf_counter() - started, aim_seconds=2,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--range", type=int, default=90, help="as-of days of the backfill")
    parser.add_argument("--single", type=int, default=4, help="days computed alone")
    parser.add_argument("--memory", default="6g")
    told_ = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="nightjar-past-"))
    try:
        bench_plan(root)
        bench(told_, root)
    finally:
        shutil.rmtree(root)


def bench(o: argparse.Namespace, root: Path) -> None:
    started = time.perf_counter()
    clean = make_clean(root / "clean", o.users, o.events, o.days)
    print_line(bench="input", users=o.users, events=o.events, days=o.days,
         seconds=time.perf_counter() - started)  # fmt: skip
    started = time.perf_counter()
    spark = start_session(SparkConfig(memory=o.memory), root / "scratch")
    spark.range(10).count()
    startup = time.perf_counter() - started
    end = START + timedelta(days=o.days)
    b = Bench(spark, root / "out", clean, end)
    every = [START + timedelta(days=n) for n in range(o.days + 25)]
    with Peak() as tiles:
        for name in TILE_JOBS:
            b.run(name, every)
    paths = [path for tiles in TILES.values() for path in b.inputs[tiles.name]]
    rows = sum(pq.read_metadata(path).num_rows for path in paths)
    print_line(bench="tiles", events=o.events, tiles=rows, seconds=tiles.seconds, peak_gb=tiles.gb)
    first = end - timedelta(days=o.range - 1)
    days = [first + timedelta(days=n) for n in range(o.range)]
    with Peak() as items:
        b.run("item_features", days)
    print_line(bench="item_features", days=o.range, seconds=items.seconds, peak_gb=items.gb)
    with Peak() as state:
        b.run("user_state", [first])
    base = b.inputs[USER_STATE.name]
    print_line(bench="user_state_from_the_start", seconds=state.seconds, peak_gb=state.gb)

    with Peak() as whole:
        one_pass = b.run("user_features", days, "one-pass", user_state=base)
    out = [pq.read_metadata(p) for p in b.inputs[USER_FEATURES.name]]
    n_rows, size = (
        sum(m.num_rows for m in out),
        sum(Path(p).stat().st_size for p in b.inputs[USER_FEATURES.name]),
    )

    # Night by night, as the per-day engine does: the day's tiles, the state, then features.
    alone: list[float] = []
    chosen = days[: o.single]
    states = base
    equal = True
    written = [table.name for name in TILE_JOBS for table in job_named(name).writes]
    tiles_of_all = {name: b.inputs[name] for name in written}
    for day in chosen:
        with Peak() as one:
            for name in TILE_JOBS:
                b.run(name, [day - timedelta(days=1)])  # what landed on the day before
            b.inputs |= tiles_of_all
            if day != first:
                b.run("user_state", [day], user_state=states)
                states = b.inputs[USER_STATE.name]
            features = b.run("user_features", [day], "per-day", user_state=states)
        equal &= digests(features)[day] == digests(one_pass)[day]
        alone.append(one.seconds)
    bench_by_hand(b, clean, features, chosen[-1], alone[-1], one.gb, root)
    warm = sorted(alone[1:])[len(alone[1:]) // 2] if len(alone) > 1 else alone[0]
    with Peak() as writing:  # the floor: the same rows read back and written by Arrow alone
        copied = 0
        for path in [p for d in one_pass.values() for p in d.files][::10]:
            table = pq.read_table(path)
            pq.write_table(table, root / "copy.parquet", compression="zstd")
            copied += table.num_rows
    print_line(
        bench="backfill_one_pass", days=o.range, rows=n_rows, columns=len(USER_FEATURES.columns),
        megabytes=size / 1e6, seconds=whole.seconds, spark_startup=startup,
        rewriting_the_same_rows=writing.seconds * n_rows / max(copied, 1), peak_gb=whole.gb,
        one_day=warm, first_day=alone[0], per_day_engine=warm * o.range,
        over_per_day_engine=whole.seconds / (warm * o.range), aim_over_per_day_engine=1 / 15,
        over_one_day=whole.seconds / warm, aim_over_one_day=6, equal_to_per_day=equal,
        note=f"per-day engine: median of {max(len(alone) - 1, 1)} days times the days",
    )  # fmt: skip


if __name__ == "__main__":
    main()
