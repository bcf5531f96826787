"""`python -m tests.bench.torture [FILES] [SEED]`: damaged CSV and JSON files, read, landed, cleaned.

Of every format FILES are read by the readers alone (default 5,000): each byte must be in a row, or
known to be in none. A twentieth of them goes through Spark: the rows that land must be what stands in
the bytes of the files, and each of them clean, duplicate, quarantined, or erased where it is about a
person who was. Prints a JSON line per format; exit code 1 if anything was lost.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from datetime import date
from functools import reduce
from pathlib import Path

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from contracts.clean_tables import clean_table_named
from contracts.days import DEDUP_DAYS
from jobs.cleaning.fields import Context
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import reconciliation, verdicts
from jobs.erasure import blanked
from jobs.landing.landing import landed
from jobs.landing.read import raw_rows
from jobs.mapping.raw_row import WHOLE_FILE
from jobs.mapping.sources import Money, RawFile, Source, SourceMapping, TableMap
from jobs.source_table_stages import rules_for
from jobs.spark.config import SparkConfig
from jobs.spark.session import start_session
from jobs.stage import Settings
from jobs.values.user_key import UserKey, canonical_id
from tests.jobs.landing.broken_files import COLUMNS, broken, torture
from tests.jobs.landing.coverage_of_bytes import decoded, uncovered

REVIEWS = TableMap(
    "reviews",
    {
        "review_id": "concat_ws('-', file_name, id)",
        "user_id": "user",
        "item_id": "item",
        "stars": "'5'",
        "text": "text",
        "occurred_at": "at",
    },
)
DAY = date(2025, 6, 2)
KEY = UserKey(b"a key for the benchmarks alone")
EUROS = Money("EUR", 2, {})
_USER = COLUMNS.index("user")


GONE = "u1"
"""A user who has been erased: a third of all rows."""
VERDICTS = ("clean", "duplicate", "quarantined", "erased")


def reconciled(
    spark: SparkSession, format_: str, seed: int, n: int, folder: Path
) -> tuple[dict[str, int], list[str]]:
    """Land and clean `n` damaged files: what became of their rows, and what was lost."""
    files = _files(format_, seed, n, folder)
    rows = reduce(DataFrame.unionByName, (landed(spark, of, some) for of, some in files.values()))
    rows = rows.localCheckpoint()
    said: dict[str, list[Row]] = defaultdict(list)
    for row in rows.orderBy("file", "line").collect():
        said[row.file].append(row)
    problems = _uncovered(files, said)
    n_gone = sum(
        row.fields is not None and canonical_id(row.fields[_USER] or "") == GONE
        for some in said.values()
        for row in some
    )
    # how files are read matters no more: they are cleaned as those of one source
    of = Source("log", "{day}", "csv", COLUMNS, (REVIEWS,))
    settings = Settings(SourceMapping("torture", (of,), EUROS), KEY)
    judged = verdicts(
        blanked(rows, of, settings, {KEY.of(GONE)}).localCheckpoint(),
        [(of, REVIEWS)],
        rules_for("reviews", settings),
        [DAY],
        DEDUP_DAYS,
    ).localCheckpoint()
    places = {(row.file, row.line) for some in said.values() for row in some}
    judged_places = [(row.file, row.line) for row in judged.select("file", "line").collect()]
    if len(judged_places) != len(places) or set(judged_places) != places:
        problems.append(f"{format_}: {len(places)} rows landed, {len(judged_places)} judged")
    counts = reconciliation(
        judged, rules_of(clean_table_named("reviews"), Context(KEY, EUROS)).table
    ).agg(*(F.sum(f"n_{name}").alias(name) for name in ("in", *VERDICTS)))
    (row,) = counts.collect()
    got = {name: row[name] or 0 for name in ("in", *VERDICTS)}
    if not len(places) == got["in"] == sum(got[name] for name in VERDICTS):
        problems.append(f"{format_}: {len(places)} rows, {got}")
    if got["erased"] != n_gone:
        problems.append(f"{format_}: {n_gone} rows of {GONE}, {got['erased']} erased")
    return got, problems


def _files(
    format_: str, seed: int, n: int, folder: Path
) -> dict[str, tuple[Source, list[RawFile]]]:
    """Damaged files by how they are read, but those that are refused."""
    files: dict[str, tuple[Source, list[RawFile]]] = {}
    rng = random.Random(seed)
    for i in range(n):
        file = broken(format_, rng)
        of = replace(file.source, tables=(REVIEWS,), landed_on=None, files="{day}")
        path = folder / f"{i}-{file.name}"
        path.write_bytes(file.content)
        if all(row.line != WHOLE_FILE for row in raw_rows(path, of)):
            files.setdefault(repr(of), (of, []))[1].append(RawFile(path, path.name, DAY))
    return files


def _uncovered(
    files: dict[str, tuple[Source, list[RawFile]]], said: dict[str, list[Row]]
) -> list[str]:
    """What of the files' bytes is in none of the rows that landed."""
    problems = []
    for of, some in files.values():
        for file in some:
            content = decoded(file.path.read_bytes(), of.encoding)
            rows = [(row.line, row.row_hash) for row in said[file.name]]
            problem = uncovered(content, of, rows)
            if problem is not None:
                problems.append(f"{file.name} landed: {problem}: {of}")
    return problems


def main() -> int:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    everything_lost = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        spark = start_session(SparkConfig(master="local[2]", memory="1500m"), folder / "spark")
        for format_ in ("csv", "jsonl", "json"):
            started = time.monotonic()
            refused, n_rows, lost = torture(format_, seed, n, folder / "f")
            became, lost_on_the_way = reconciled(spark, format_, seed + 1, n // 20, folder)
            lost += lost_on_the_way
            everything_lost += lost
            result = {
                "files": n,
                "format": format_,
                "seed": seed,
                "refused": refused,
                "rows": n_rows,
                "lost": len(lost),
                "through_spark": n // 20,
                "became": became,
                "seconds": round(time.monotonic() - started, 1),
            }
            print(json.dumps(result), flush=True)
        spark.stop()
    print("\n".join(everything_lost[:20]), end="")
    return 1 if everything_lost else 0


if __name__ == "__main__":
    sys.exit(main())
