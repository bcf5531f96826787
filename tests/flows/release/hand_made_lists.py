"""Lists by hand, as files, for audits to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.surfaces import SURFACES
from contracts.table import Table
from flows.release.audit import Audited
from jobs.spark.schema import arrow_schema

DAY = date(2025, 1, 3)
PRODUCTS = replace(SURFACES[0], n_items=2)
USUAL: Mapping[str, Any] = {"string": "", "boolean": True, "date": DAY}
Row = dict[str, Any]


def write(path: Path, table: Table, rows: list[Row]) -> list[str]:
    """Rows as a file; of what they do not say, nothing: zeros, empty texts and arrays."""
    usual = {
        c.name: None if c.nullable else [] if c.column_type.is_array else USUAL.get(c.type, 0)
        for c in table.columns
    }
    rows = [{**usual, "surface": "products", **row} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(table)), path)
    return [str(path)]


def shown(user: str, *items: str, **fields: Any) -> Row:
    """A list of these items, with a value of each."""
    n = len(items)
    arrays = {"item_ids": items, "values": [1.0] * n, "propensities": [1.0] * n}
    texts = dict.fromkeys(("sources", "because"), [""] * n)
    shortfall = None if n == PRODUCTS.n_items else "too few candidates"
    usual = {"user_key": user, "shortfall": shortfall, "n_candidates": n, "ranker_id": "r"}
    return {**usual, **arrays, **texts, **fields}


GOOD = (shown("ann", "cup", "pen"), shown("bob", "cup", "wine"), shown("cat", "hat"))


def failures(audited: tuple[Audited, ...]) -> list[tuple[str, str]]:
    return [(a.check, a.found) for a in audited if not a.passed]
