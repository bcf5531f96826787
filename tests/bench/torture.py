"""`python -m tests.bench.torture [FILES] [SEED]`: damaged CSV and JSON files, read, landed, cleaned.

Of every format FILES are read by the readers alone (default 5,000): each byte must be in a row, or
known to be in none. A twentieth of them goes through Spark: what is read must be clean, duplicate or
quarantined, row by row. Prints a JSON line per format; exit code 1 if anything was lost.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.days import DEDUP_DAYS
from jobs.clean import reconciliation, verdicts
from jobs.clean_fields import Context
from jobs.clean_tables import RULES
from jobs.config import SparkConfig
from jobs.land import landed
from jobs.raw_row import WHOLE_FILE
from jobs.rawfiles import raw_rows
from jobs.session import start_session
from jobs.sources import Money, RawFile, Source, TableMap
from jobs.user_key import UserKey
from tests.jobs.broken_files import broken, torture

REVIEWS = TableMap(
    "reviews",
    {
        "review_id": "id",
        "user_id": "user",
        "item_id": "item",
        "stars": "'5'",
        "text": "text",
        "occurred_at": "at",
    },
)
DAY = date(2025, 6, 2)


def reconciled(spark: SparkSession, format_: str, seed: int, n: int, folder: Path) -> list[str]:
    """Land and clean `n` damaged files, those of one kind of source together; what was lost."""
    files_of: dict[str, tuple[Source, list[RawFile]]] = {}
    rng, expected = random.Random(seed), Counter[str]()
    for i in range(n):
        made = broken(format_, rng)
        of = replace(made.source, tables=(REVIEWS,), landed_on=None, files="{day}")
        path = folder / f"{i}-{made.name}"
        path.write_bytes(made.content)
        rows = [row.line for row in raw_rows(path, of)]
        if WHOLE_FILE not in rows:
            files_of.setdefault(repr(of), (of, []))[1].append(RawFile(path, path.name, DAY))
            expected[path.name] = len(rows)
    context = Context(UserKey(b"a key for the benchmarks alone"), Money("EUR", 2, {}))
    problems = []
    for of, files in files_of.values():
        rows = verdicts(
            landed(spark, of, files),
            [(of, REVIEWS)],
            lambda source: RULES["reviews"](context),
            [DAY],
            DEDUP_DAYS,
        )
        counts = reconciliation(rows, RULES["reviews"](context).table).agg(
            *(
                F.coalesce(F.sum(column), F.lit(0)).alias(column)
                for column in ("n_in", "n_clean", "n_duplicate", "n_quarantined", "n_erased")
            )
        )
        (got,) = counts.collect()
        n_rows = sum(expected[file.name] for file in files)
        if not n_rows == got.n_in == sum(got[1:]):
            problems.append(f"{len(files)} files of {of}: {n_rows} rows, {got.asDict()}")
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
            lost += reconciled(spark, format_, seed + 1, n // 20, folder)
            everything_lost += lost
            result = {
                "files": n,
                "format": format_,
                "seed": seed,
                "refused": refused,
                "rows": n_rows,
                "lost": len(lost),
                "through_spark": n // 20,
                "seconds": round(time.monotonic() - started, 1),
            }
            print(json.dumps(result), flush=True)
        spark.stop()
    print("\n".join(everything_lost[:20]), end="")
    return 1 if everything_lost else 0


if __name__ == "__main__":
    sys.exit(main())
