"""How lists did is read from a release's file of views, and shown on a page."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.recommendation_tables import REC_LISTS, REC_OUTCOMES
from contracts.table import Table
from contracts.tables import RELEASED_TABLES
from flows.release.duckdb_views import build_database
from flows.release.list_outcomes import newest_outcomes
from flows.server.pages.app import make_app
from flows.settings import NightjarSettings, read_settings
from jobs.spark.schema import arrow_schema

DAY, BEFORE = date(2025, 3, 1), date(2025, 2, 1)


def row(surface: str, method: str, ndcg10: float, **more: Any) -> dict[str, Any]:
    given = {
        "as_of": DAY, "surface": surface, "segment": "all", "method": method, "ranker_id": "r",
        "release_id": "r1", "n_users": 1234, "ndcg10": ndcg10, "low": ndcg10 - 0.01,
        "high": ndcg10 + 0.01, "recall20": 0.3, "hit10": 0.4, "coverage10": 0.5, "gini10": 0.6,
        "novelty10": 7.25, "share_new10": 0.125,
    }  # fmt: skip
    return given | more


ROWS = [
    row("ads", "published", 0.5),
    row("products", "popular", 0.1, gain=0.1, gain_low=0.05, gain_high=0.15),
    row("products", "published", 0.2),
    row("products", "published", 0.9, as_of=BEFORE),
    row("products", "published", 0.8, segment="country=DE"),
]


def empty_list() -> dict[str, Any]:
    """A row of `rec_lists` without an item."""
    values: dict[str, Any] = {
        column.name: [] if column.column_type.is_array else None if column.nullable else 0
        for column in REC_LISTS.columns
    }
    texts = dict.fromkeys(("user_key", "ranker_id", "policy_id", "release_id"), "x")
    return values | texts | {"as_of": DAY, "surface": "products"}


@pytest.fixture
def settings(tmp_path: Path) -> NightjarSettings:
    """A home whose release has outcomes, and a list."""
    settings = read_settings(home=tmp_path / "home")
    home = settings.home_folder
    home.storage.make_folder(home.root)
    files: dict[Table, list[str]] = {table: [] for table in RELEASED_TABLES}
    for table, rows in ((REC_OUTCOMES, ROWS), (REC_LISTS, [empty_list()])):
        path = tmp_path / f"{table.name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, arrow_schema(table)), path)
        files[table] = [str(path)]
    build_database(home.analysts_file, "r1", DAY, files)
    return settings


def test_the_newest_known_day_of_each_surface_is_given_beside_what_others_would_have_shown(
    settings: NightjarSettings,
) -> None:
    outcomes = newest_outcomes(settings.home_folder.analysts_file)
    assert [(of.surface, of.method, of.ndcg10, of.gain) for of in outcomes] == [
        ("products", "published", 0.2, None),
        ("products", "popular", 0.1, 0.1),
        ("ads", "published", 0.5, None),
    ]


def test_the_page_shows_them_with_intervals(settings: NightjarSettings) -> None:
    async def page() -> str:
        transport = httpx.ASGITransport(make_app(settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/recommendations")).text

    text = asyncio.run(page())
    assert '<td class="n">0.100 (0.090 to 0.110)</td>' in text
    assert '<td class="n">+0.100 (+0.050 to +0.150)</td>' in text
    assert '<td class="n">7.25</td>' in text
