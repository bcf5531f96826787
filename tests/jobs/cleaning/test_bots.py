"""Who is taken for a bot, and that rows which share nothing share no partition."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.clean_tables import clean_table_named
from contracts.days import DEDUP_DAYS
from jobs.cleaning.fields import NO_MONEY, Context
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import verdicts
from jobs.landing.landing import landed
from jobs.landing.raw_folder import raw_files
from jobs.mapping.sources import read_mapping
from jobs.values.user_key import UserKey

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


def judged(
    spark: SparkSession,
    folder: Path,
    mapping: str,
    table: str,
    days: Sequence[date] = [DAY + timedelta(days=n) for n in range(9)],
) -> DataFrame:
    (folder / "m.toml").write_text(mapping)
    read = read_mapping(folder / "m.toml")
    (source,) = read.sources
    return verdicts(
        landed(spark, source, raw_files(source, folder)),
        read.feeding(table),
        lambda s: rules_of(clean_table_named(table), Context(KEY, NO_MONEY)),
        days,
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


BOT = "user_id: a bot, more than 5 rows in a day"


CLASH = "engagement_id: conflicts with an earlier row of the same id"
Place = tuple[int, int]
"""Days after the first, and line."""


def fates(
    spark: SparkSession, folder: Path, files: dict[int, str], days: Sequence[int]
) -> dict[Place, str]:
    """What becomes of each row that landed on `days`, of files by days after the first."""
    for n, text in files.items():
        (folder / f"{DAY + timedelta(days=n)}.csv").write_text(text)
    wanted = [DAY + timedelta(days=n) for n in days]
    rows = judged(spark, folder, ENGAGEMENTS, "engagements", wanted)
    what = F.coalesce("reason", "verdict").alias("what")
    return {
        ((row.landed_on - DAY).days, row.line): row.what
        for row in rows.select("landed_on", "line", what).collect()
    }


def test_retries_of_another_day_do_not_make_a_bot_and_share_what_became_of_the_first(
    spark: SparkSession, tmp_path: Path
) -> None:
    old = "2025-05-20T10:00:00Z"
    files = {
        # the second user is a bot from the start; the third one's time is two weeks ago
        0: seen(range(4)) + seen(range(20, 26), "bot") + seen(range(40, 44), "late", old),
        1: seen(range(7)) + seen(range(20, 26), "bot") + seen(range(40, 47), "late", old),
        # each log holds all from the beginning, some rows twice, and a few more
        2: seen(range(10)) + seen(range(10)) + seen(range(20, 23), "bot"),
        # who did too much for the first time is a bot; the repeats of others are still duplicates
        3: seen(range(2)) + seen(range(60, 66)),
        # ids of a bot's rows are free for those who are meant by a correction
        4: seen(range(23, 26), "cid") + seen(range(60, 62)),
        # what landed eight days ago is forgotten; what of ten rows that landed a week ago was new
        # then, nobody can say any more
        9: seen(range(44, 47), "late", old) + seen(range(7, 12)),
    }
    verdicts = fates(spark, tmp_path, files, list(files))
    counted = {n: Counter(what for place, what in verdicts.items() if place[0] == n) for n in files}
    assert counted == {
        0: {"clean": 8, BOT: 6},
        1: {"duplicate": 8, "clean": 6, BOT: 6},
        2: {"duplicate": 17, "clean": 3, BOT: 3},
        3: {"duplicate": 2, BOT: 6},
        4: {"clean": 3, BOT: 2},
        9: {"clean": 5, BOT: 3},
    }
    for n in (2, 9):  # cleaned alone, a day comes out as with all others
        assert fates(spark, tmp_path, files, [n]).items() <= verdicts.items()


def naive_verdicts(files: dict[int, str]) -> dict[Place, str]:
    """The same for a limit of 5, as it is defined: row by row, by all that its look-back holds."""
    rows = [
        ((n, line), *text.split(","))
        for n, lines in files.items()
        for line, text in enumerate(lines.splitlines(), 1)
    ]

    def landed_with(row, since: int, until: int, *same: int):
        """Rows that landed so many days before it, and are the same in these cells."""
        first, last = row[0][0] - since, row[0][0] - until
        return [r for r in rows if first <= r[0][0] <= last and all(r[i] == row[i] for i in same)]

    rows = [(place, id, user, at[:10], at) for place, id, user, at in rows]

    def new_ids(row) -> set[str]:
        return {r[1] for r in landed_with(row, 0, 0, 2, 3) if not landed_with(r, 7, 1, 1, 2, 3)}

    def all_ids(row) -> set[str]:
        return {r[1] for r in landed_with(row, 0, 0, 2, 3)}

    def is_bot(row) -> bool:
        first = min(landed_with(row, 7, 0, 1, 2, 3))
        begins_in_sight = DAY + timedelta(days=row[0][0] - 6) <= date.fromisoformat(row[3])
        is_known = begins_in_sight or first[0][0] == row[0][0]
        return len(new_ids(first) if is_known else all_ids(first)) > 5

    verdicts = {}
    for row in rows:
        kept = landed_with(row, 7, 0, 1, 2, 3)
        kept += [r for r in landed_with(row, 0, 0, 1) if not is_bot(r)]
        kept += [r for r in landed_with(row, 7, 1, 1) if len(all_ids(r)) <= 5]
        first = min(kept)
        same = "clean" if first == row else "duplicate" if first[1:] == row[1:] else CLASH
        verdicts[row[0]] = BOT if is_bot(row) else same
    return verdicts


def test_each_row_s_fate_is_what_its_look_back_says(spark: SparkSession, tmp_path: Path) -> None:
    rng = random.Random(5)
    files = {
        n: "".join(
            seen(range(i, i + 1), user, f"{day}T{hour}:00:00Z")
            for user in ("ann", "bob", "cid", "dan")
            for day in rng.sample(["2025-05-24", "2025-05-30", "2025-06-01", "2025-06-02"], 2)
            for i in rng.sample(range(16), rng.choice((2, 4, 8)))
            for hour in rng.choices((10, 11), (30, 1), k=rng.choice((1, 1, 1, 2)))
        )
        for n in (0, 1, 2, 3, 5, 6, 8, 9, 10)
    }
    # ids are a user's own, but for some
    own = {user: str(i) for i, user in enumerate(("ann", "bob", "cid", "dan"))}
    files = {
        n: "".join(
            line.replace(",", own[line.split(",")[1]] + ",", 1) if rng.random() < 0.97 else line
            for line in text.splitlines(keepends=True)
        )
        for n, text in files.items()
    }
    expected = naive_verdicts(files)
    n = Counter(expected.values())
    assert all(n[what] > 10 for what in ("clean", "duplicate", BOT, CLASH)), n
    assert fates(spark, tmp_path, files, list(files)) == expected


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
        lambda s: rules_of(clean_table_named("users"), Context(KEY, NO_MONEY)),
        [DAY],
        0,
    )
    bad = versions.where("reason is not null and reason not like 'superseded%'")
    assert bad.count() == 40
    assert bad.select("_id").distinct().count() == 40
