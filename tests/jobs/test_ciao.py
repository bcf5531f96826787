"""Real reviews and a real graph without times: what reconciles, and what must not be seen early."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, date, datetime
from functools import reduce
from pathlib import Path

import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.days import DEDUP_DAYS
from jobs.clean import clean, verdicts
from jobs.clean_fields import NO_MONEY, Context
from jobs.clean_tables import RULES
from jobs.graph import edges
from jobs.land import landed
from jobs.sources import RawFile, SourceMapping, read_mapping
from jobs.user_key import UserKey
from tests.conftest import REPOSITORY, real_data

CRAWL = date(2011, 4, 12)


@pytest.fixture(scope="module")
def mapping() -> SourceMapping:
    return read_mapping(REPOSITORY / "infra/sources/ciao.toml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every tenth user's ratings, and the first edges of trust: the whole takes a minute."""
    real, made = real_data("ciao"), tmp_path_factory.mktemp("ciao")
    for name, column in (("ratings", 0), ("trust", None)):
        with (
            gzip.open(real / f"{name}.csv.gz", "rt") as source,
            gzip.open(made / f"{name}.csv.gz", "wt") as target,
        ):
            for i, line in enumerate(source):
                kept = i < 4000 if column is None else line.split(",")[column].endswith("7")
                if i == 0 or kept:
                    target.write(line)
    return made


def judged(spark: SparkSession, mapping: SourceMapping, folder: Path, source_name: str, table: str):
    source = next(s for s in mapping.sources if s.name == source_name)
    rows = landed(spark, source, [RawFile(folder / source.files, source.files, None)])
    days = [r[0] for r in rows.select("landed_on").distinct().collect()]
    feed = next(t for t in source.tables if t.table == table)
    context = Context(UserKey(b"a key for the tests alone"), NO_MONEY)
    return verdicts(rows, [(source, feed)], lambda s: RULES[table](context), days, DEDUP_DAYS)


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
        judged(spark, mapping, folder, "trust", "follows"), RULES["follows"](_context()).table
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


def _names_nobody(rows: DataFrame, *columns: str) -> bool:
    """Whether what is made of users' ids are hashes, though the mapping writes the ids out."""
    hashes = (F.col(name).rlike("^[0-9a-f]{32}$") for name in columns)
    return rows.where(~reduce(Column.__and__, hashes)).isEmpty()


def _context() -> Context:
    return Context(UserKey(b"a key for the tests alone"), NO_MONEY)
