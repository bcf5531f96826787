"""Tables from a few lines of text, and surfaces to try them on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from pyspark.sql import DataFrame, Row

from contracts.recommendation_tables import INTERACTIONS
from contracts.surfaces import SURFACES, Surface
from contracts.tables import USER_FEATURES
from tests.conftest import MakeTable

AS_OF = date(2025, 2, 1)
SURFACE: Mapping[str, Surface] = {surface.name: surface for surface in SURFACES}


def tiles(table: MakeTable, text: str) -> DataFrame:
    """Tiles that land on the day on which they happen, unless they say otherwise."""
    head, *lines = (line for line in text.strip().splitlines() if line.strip())
    names = [cell.strip() for cell in head.split("|")]
    if "landed_on" not in names:
        at = names.index("day")
        lines = [f"{line} | {line.split('|')[at].strip()}" for line in lines]
        head += " | landed_on"
    return table("\n".join([head, *lines]), INTERACTIONS, n=1)


def known_users(table: MakeTable, users: Mapping[str, int], *as_ofs: date) -> DataFrame:
    """Users with features, and how many days before a midnight each was first seen."""
    lines = [
        f"{user} | {as_of} | {days}" for as_of in as_ofs or (AS_OF,) for user, days in users.items()
    ]
    text = "\n".join(["user_key | as_of | days_since_first_seen", *lines])
    return table(text, USER_FEATURES)


def entries_of(row: Row) -> dict[str, dict[str, Any]]:
    """A row of `rec_histories` by item."""
    arrays = [n for n in row.asDict() if isinstance(row[n], list) and n != "item_ids"]
    return {item: {name: row[name][i] for name in arrays} for i, item in enumerate(row["item_ids"])}


def weight(days: int, half_life: int) -> int:
    """What one of so many days before counts, in `FIXED_POINT`ths."""
    return round(2**20 * 2 ** (-days / half_life))


def days_since_1970(day: date) -> int:
    return (day - date(1970, 1, 1)) // timedelta(days=1)
