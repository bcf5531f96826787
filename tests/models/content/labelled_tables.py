"""Clean tables with labelled texts, as a process of content finds them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.source_table import SourceTable
from contracts.source_tables.posts import POSTS
from models.data.arrow_schema import arrow_schema

CUT = date(2025, 7, 3)
"""A day on which a model is due."""
WORDS = {
    "negative": "awful broken sad",
    "neutral": "plain usual so",
    "positive": "lovely fine glad",
}


def row(table: SourceTable, landed_on: date, **values: Any) -> dict[str, Any]:
    """A row that has what is said, and something wherever it must have a value."""
    something: dict[str, Any] = {
        "string": "x", "bigint": 1, "int": 1, "boolean": True,
        "timestamp": datetime(2025, 1, 1, tzinfo=UTC), "date": landed_on,
    }  # fmt: skip
    row = {
        c.name: None if c.nullable else (c.values or (something[c.type],))[0] for c in table.columns
    }
    return row | values | {"landed_on": landed_on}


def write(folder: Path, table: SourceTable, rows: list[dict[str, Any]], name: str = "0") -> str:
    """A Parquet file of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{table.name}-{name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(table)), path)
    return str(path)


def moods(first: date, n_days: int, wrong: int = 0) -> list[dict[str, Any]]:
    """Three posts a day, one of each mood, with its label; every `wrong`-th label is of another
    mood."""
    rows = []
    for n in range(n_days):
        day = first + timedelta(days=n)
        for k, (mood, words) in enumerate(WORDS.items()):
            word = words.split()[n % 3]
            said = list(WORDS)[(k + 1) % 3] if wrong and (n + k) % wrong == 0 else mood
            text = f"{word} day number{day.toordinal()}"
            rows.append(row(POSTS, day, text=text, labels=[f"sentiment={said}", "other=1"]))
    return rows
