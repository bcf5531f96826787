"""Real reviews and a real graph without times: what reconciles, and what must not be seen early."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from pathlib import Path

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.clean_tables import CLEAN_TABLES, clean_table_named
from contracts.days import DEDUP_DAYS
from contracts.tables import LANDED
from jobs.cleaning.fields import NO_MONEY, Context
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import clean, verdicts
from jobs.features.follow_graph import edges
from jobs.landing.landing import landed
from jobs.mapping.sources import RawFile, Source, SourceMapping, read_mapping
from jobs.spark.schema import spark_schema
from jobs.stage import Settings
from jobs.stages import SPARK_JOBS
from jobs.values.user_key import UserKey
from tests.conftest import REPOSITORY, real_data

pytestmark = pytest.mark.slow

CRAWL = date(2011, 4, 12)
WHO = "who-is-"
"""Every raw id of a user starts with it."""


@pytest.fixture(scope="module")
def mapping() -> SourceMapping:
    return read_mapping(REPOSITORY / "infra/sources/ciao.toml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every tenth user's ratings, and the first edges of trust: the whole takes a minute.

    Users' ids say that they are some, so that they are found wherever they come to lie.
    """
    real, copy = real_data("ciao"), tmp_path_factory.mktemp("ciao")
    for name, column, n_users in (("ratings", 0, 1), ("trust", None, 2)):
        with (
            gzip.open(real / f"{name}.csv.gz", "rt") as source,
            gzip.open(copy / f"{name}.csv.gz", "wt") as target,
        ):
            for i, line in enumerate(source):
                kept = i < 4000 if column is None else line.split(",")[column].endswith("7")
                if i == 0:
                    target.write(line)
                elif kept:
                    cells = line.split(",")
                    named = [WHO + cell if at < n_users else cell for at, cell in enumerate(cells)]
                    target.write(",".join(named))
    return copy


def judged(spark: SparkSession, mapping: SourceMapping, folder: Path, source_name: str, table: str):
    source = next(s for s in mapping.sources if s.name == source_name)
    rows = _landed(spark, source, folder)
    days = [r[0] for r in rows.select("landed_on").distinct().collect()]
    feed = next(t for t in source.tables if t.table == table)
    context = Context(UserKey(b"a key for the tests alone"), NO_MONEY)
    return verdicts(
        rows,
        [(source, feed)],
        lambda s: rules_of(clean_table_named(table), context),
        days,
        DEDUP_DAYS,
    )


def test_real_ratings_reconcile_to_the_row(
    spark: SparkSession, mapping: SourceMapping, folder: Path
) -> None:
    with gzip.open(folder / "ratings.csv.gz", "rt") as stream:
        lines = list(csv.DictReader(stream))
    rows = judged(spark, mapping, folder, "ratings", "reviews").persist()
    counted = rows.groupBy(F.coalesce("reason", "verdict").alias("what"))
    got = {r.what: r["count"] for r in counted.count().collect()}
    valid = [line for line in lines if line["rating"] != "0"]
    ids: dict[tuple[str, ...], list[str]] = {}
    for line in valid:
        key = (line["userid"], line["productid"], line["unix_ts"])
        ids.setdefault(key, []).append(line["rating"])
    first = {key: stars[0] for key, stars in ids.items()}
    again = [(key, s) for key, stars in ids.items() for s in stars[1:]]
    assert len(lines) > 20_000
    assert got == {
        what: n
        for what, n in {
            "clean": len(ids),
            "duplicate": sum(s == first[key] for key, s in again),
            "review_id: conflicts with an earlier row of the same id": sum(
                s != first[key] for key, s in again
            ),
            "stars: not 1 to 5": len(lines) - len(valid),
        }.items()
        if n
    }
    assert _names_nobody(rows, "review_id", "user_key")
    times = {r[0] for r in rows.select(F.unix_seconds("occurred_at")).distinct().collect()}
    assert times == {int(line["unix_ts"]) for line in lines}
    rows.unpersist()


def test_edges_and_helpfulness_land_on_the_day_of_the_crawl(
    spark: SparkSession, mapping: SourceMapping, folder: Path
) -> None:
    follows = clean(
        judged(spark, mapping, folder, "trust", "follows"),
        rules_of(clean_table_named("follows"), _context()).table,
    ).persist()
    n = follows.count()
    assert n > 3900
    assert follows.where("occurred_at is null").count() == n
    assert _names_nobody(follows, "follow_id", "user_key", "followed_key")
    assert {r[0] for r in follows.select("landed_on").distinct().collect()} == {CRAWL}
    assert {
        r[0].replace(tzinfo=UTC) for r in follows.select("valid_from").distinct().collect()
    } == {datetime(2011, 4, 12, tzinfo=UTC)}
    seen = edges(follows, [date(2010, 7, 1), CRAWL, date(2011, 4, 13)])
    assert {r.as_of: r["count"] for r in seen.groupBy("as_of").count().collect()} == {
        date(2011, 4, 13): n
    }
    likes = judged(spark, mapping, folder, "helpfulness", "engagements").where("verdict = 'clean'")
    assert _names_nobody(likes, "engagement_id", "target_id")
    row = likes.agg(F.min("landed_on"), F.count("user_key"), F.count("target_id")).collect()[0]
    assert row[0] == CRAWL
    assert row[1] == 0  # nobody is said to have given them
    assert row[2] > 500


def test_no_raw_id_of_a_user_is_in_any_table(
    spark: SparkSession, mapping: SourceMapping, folder: Path
) -> None:
    """Those that cleaning writes, tiles, and what is known of each user; in no column of them."""
    landed_rows = reduce(
        DataFrame.unionByName, (_landed(spark, s, folder) for s in mapping.sources)
    )
    assert not _naming_somebody(landed_rows).isEmpty()
    landed_rows = landed_rows.where(F.col("landed_on").isin([CRAWL, *_some_days(landed_rows)]))
    tables = {LANDED.name: landed_rows.localCheckpoint()}
    settings = Settings(mapping, UserKey(b"a key for the tests alone"))
    days = [row[0] for row in tables[LANDED.name].select("landed_on").distinct().collect()]
    jobs = [job for job in SPARK_JOBS if job.name not in _without_rows(mapping)]
    for job in jobs[: [job.name for job in jobs].index("user_state") + 1]:
        reads = {read.table for read in job.reads} | (
            {job.incremental} if job.incremental else set()
        )
        for table in reads:
            tables.setdefault(table.name, spark.createDataFrame([], spark_schema(table)))
        as_of = [max(days) + timedelta(days=1)]
        computed = job.compute(tables, days if job.name != "user_state" else as_of, settings)
        if computed.shared is not None:
            computed.shared.persist()
        for name, rows in computed.tables.items():
            rows = rows.localCheckpoint()
            before = tables.get(name)
            tables[name] = rows if before is None else before.unionByName(rows)
        if computed.shared is not None:
            computed.shared.unpersist()
    written = {name for name, rows in tables.items() if not rows.isEmpty()}
    assert written == {
        "landed", "items", "reviews", "engagements", "follows", "quarantine", "reconciliation",
        "user_days_reviews", "user_days_engagements", "user_item_days", "item_days", "late_data", "user_state",
    }  # fmt: skip
    for name in written - {"landed"}:
        assert _naming_somebody(tables[name]).isEmpty(), name


def _landed(spark: SparkSession, source: Source, folder: Path) -> DataFrame:
    return landed(spark, source, [RawFile(folder / source.files, source.files, None)])


def _without_rows(mapping: SourceMapping) -> set[str]:
    """Jobs of clean tables that the mapping does not feed."""
    return {f"clean_{table.name}" for table in CLEAN_TABLES} - {
        f"clean_{name}" for name in mapping.mapped_tables
    }


def _some_days(rows: DataFrame) -> list[date]:
    """Those on which most landed, the crawl's aside."""
    n = rows.where(F.col("landed_on") != CRAWL).groupBy("landed_on").count()
    return [r[0] for r in n.orderBy(F.desc("count"), "landed_on").limit(5).collect()]


def _naming_somebody(rows: DataFrame) -> DataFrame:
    """Rows that hold a raw id, in whatever column, list or structure."""
    return rows.where(F.to_json(F.struct("*")).contains(WHO))


def _names_nobody(rows: DataFrame, *columns: str) -> bool:
    """Whether what is made of users' ids are hashes, though the mapping writes the ids out."""
    hashes = (F.col(name).rlike("^[0-9a-f]{32}$") for name in columns)
    return rows.where(~reduce(Column.__and__, hashes)).isEmpty()


def _context() -> Context:
    return Context(UserKey(b"a key for the tests alone"), NO_MONEY)
