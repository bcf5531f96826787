"""What a home holds, as hashes: to compare one home with another, to the bit."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.table import Table
from contracts.tables import RECONCILIATION, TABLES, USER_SCORES
from flows.lake.lake import Lake
from flows.release.releases import Releases
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from jobs.spark.content_hash import row_hashes
from jobs.spark.parquet_writer import digest_text, fold
from jobs.stages import SPARK_JOBS


def digests(table: Table, paths: list[str]) -> dict[date, str]:
    """The digest of each day's rows."""
    folded: dict[date, tuple[int, int, int]] = {}
    for path in paths:
        for batch in pq.ParquetFile(path).iter_batches():
            rows = batch.select(table.names)
            for day in pc.unique(rows.column(table.day)).to_pylist():
                mine = rows.filter(pc.equal(rows.column(table.day), pa.scalar(day)))
                total, parity = fold(row_hashes(mine))
                n, t, p = folded.get(day, (0, 0, 0))
                folded[day] = (n + mine.num_rows, (t + total) % 2**64, p ^ parity)
    return {day: digest_text(*of) for day, of in sorted(folded.items())}


def contents(home: Path, database: str | None = None) -> dict[str, Any]:
    """Every table's days, and the current release: what two homes must agree on."""
    lake = Lake(home / "lake")
    engine = open_database(database or f"sqlite:///{home}/nightjar.db")
    current = Releases(engine).current()
    engine.dispose()
    of_home: dict[str, Any] = {
        table.name: {
            str(day): of for day, of in digests(table, [f.path for f in lake.files(table)]).items()
        }
        for table in TABLES
    }
    of_home["release"] = (
        (current.release_id, current.model_id, str(current.as_of)) if current else None
    )
    return of_home


def untrue_receipts(home: Path) -> list[str]:
    """Receipts whose table does not hold, for their day, the rows that they tell of."""
    lake = Lake(home / "lake")
    receipts = Receipts(open_database(f"sqlite:///{home}/nightjar.db"))
    problems = []
    for job in SPARK_JOBS:
        for table in job.writes:
            if table in (RECONCILIATION, USER_SCORES) or table is not job.writes[0]:
                continue
            held = digests(table, [f.path for f in lake.files(table)])
            claimed = {
                day: output
                for day in receipts.days(job.name)
                if (receipt := receipts.get(job.name, day))
                and (output := receipt.outputs.get(table.name))
            }
            for day, output in claimed.items():
                if output["rows"] and held.get(day) != output["digest"]:
                    problems.append(f"{table.name} {day}: {held.get(day)}, told {output['digest']}")
            problems += [f"{table.name} {day}: no receipt" for day in held.keys() - claimed.keys()]
    return problems
