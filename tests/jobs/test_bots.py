"""Who is taken for a bot, and that rows which share nothing share no partition."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.days import DEDUP_DAYS
from jobs.clean import verdicts
from jobs.clean_fields import NO_MONEY, Context
from jobs.clean_tables import RULES
from jobs.land import landed
from jobs.raw_folder import raw_files
from jobs.sources import read_mapping
from jobs.user_key import UserKey

KEY = UserKey(b"a key for the tests alone")
DAY = date(2025, 6, 2)

ENGAGEMENTS = """
[bots]
engagements = 5
[sources.log]
files = "{day}.csv"
format = "csv"
header = false
missing = "empty"
columns = ["id", "user", "at"]
[sources.log.tables.engagements]
engagement_id = "id"
user_id = "user"
verb = "'view'"
target_kind = "'item'"
target_id = "'x'"
occurred_at = "at"
"""

EDGES = """
[bots]
follows = 5
[sources.trust]
files = "trust.csv"
format = "csv"
header = false
columns = ["a", "b", "at"]
landed_on = "date'2025-06-02'"
[sources.trust.tables.follows]
follow_id = "concat(a, ' ', b)"
user_id = "a"
followed_id = "b"
occurred_at = "at"
valid_from = "'2025-06-02'"
"""


def judged(spark: SparkSession, folder: Path, mapping: str, table: str) -> DataFrame:
    (folder / "m.toml").write_text(mapping)
    read = read_mapping(folder / "m.toml")
    (source,) = read.sources
    return verdicts(
        landed(spark, source, raw_files(source, folder)),
        read.feeding(table),
        lambda s: RULES[table](Context(KEY, NO_MONEY)),
        [DAY + timedelta(days=n) for n in range(9)],
        DEDUP_DAYS,
        read.bots[table],
    )


def counts(rows: DataFrame) -> dict[str, int]:
    counted = rows.groupBy(F.coalesce("reason", "verdict").alias("what")).count().collect()
    return {row.what: row["count"] for row in counted}


def seen(ids: range, user: str = "ann", at: str = "2025-06-01T10:00:00Z") -> str:
    return "".join(f"e{i},{user},{at}\n" for i in ids)


def test_retries_do_not_make_a_bot(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "2025-06-02.csv").write_text(seen(range(4)) * 2)
    assert counts(judged(spark, tmp_path, ENGAGEMENTS, "engagements")) == {
        "clean": 4,
        "duplicate": 4,
    }


def test_more_than_the_limit_on_a_day_is_a_bot_whoever_else_is_there(
    spark: SparkSession, tmp_path: Path
) -> None:
    of_bot = seen(range(6), "bot") + seen(range(1), "bot")  # the retry goes with the others
    nobody = "".join(f"n{i},,2025-06-01T10:00:00Z\n" for i in range(9))
    (tmp_path / "2025-06-02.csv").write_text(of_bot + seen(range(10, 15)) + nobody)
    # a day is what happened on it and landed together: neither makes a bot alone
    (tmp_path / "2025-06-03.csv").write_text(seen(range(20, 25)))
    assert counts(judged(spark, tmp_path, ENGAGEMENTS, "engagements")) == {
        "user_id: a bot, more than 5 rows in a day": 7,
        "user_id: missing": 9,
        "clean": 10,
    }


def test_years_that_land_at_once_are_no_busy_day(spark: SparkSession, tmp_path: Path) -> None:
    days = [date(2023, 1, 1) + timedelta(days=40 * n) for n in range(20)]
    lines = [seen(range(i, i + 1), at=f"{day}T10:00:00Z") for i, day in enumerate(days)]
    (tmp_path / "2025-06-02.csv").write_text("".join(lines))
    assert counts(judged(spark, tmp_path, ENGAGEMENTS, "engagements")) == {"clean": 20}


def test_a_hub_in_a_snapshot_of_edges_is_no_bot(spark: SparkSession, tmp_path: Path) -> None:
    hub = "".join(f"hub,u{i},\n" for i in range(30))
    busy = "".join(f"busy,u{i},2025-06-01T10:00:00Z\n" for i in range(6))
    (tmp_path / "trust.csv").write_text(hub + busy)
    assert counts(judged(spark, tmp_path, EDGES, "follows")) == {
        "clean": 30,
        "user_id: a bot, more than 5 rows in a day": 6,
    }


def test_quarantined_rows_share_no_partition_of_a_window(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Neither as rows of no id and of no user, nor as rows of a user who is a bot."""
    (tmp_path / "2025-06-02.csv").write_text(
        seen(range(20), "") + seen(range(30, 50), at="never") + seen(range(60, 80), "bot")
    )
    rows = judged(spark, tmp_path, ENGAGEMENTS, "engagements")
    assert rows.where("reason is null").count() == 0
    largest = rows.groupBy("_id", "_day").count().agg(F.max("count"), F.sum("count")).collect()[0]
    assert tuple(largest) == (1, 60)
    users = ENGAGEMENTS.replace("[bots]\nengagements = 5\n", "").replace(
        "[sources.log.tables.engagements]", "[sources.log.tables.users]"
    )
    users = "\n".join(
        line for line in users.splitlines() if line.split(" ")[0] not in
        ("engagement_id", "verb", "target_kind", "target_id")
    )  # fmt: skip
    (tmp_path / "m.toml").write_text(users)
    read = read_mapping(tmp_path / "m.toml")
    (source,) = read.sources
    versions = verdicts(
        landed(spark, source, raw_files(source, tmp_path)),
        read.feeding("users"),
        lambda s: RULES["users"](Context(KEY, NO_MONEY)),
        [DAY],
        0,
    )
    bad = versions.where("reason is not null and reason not like 'superseded%'")
    assert bad.count() == 40
    assert bad.select("_id").distinct().count() == 40
