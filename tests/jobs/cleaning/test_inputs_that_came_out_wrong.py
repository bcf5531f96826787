"""Inputs that came out wrong once, tried as a night reads them: what must come out of each."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyspark.sql import SparkSession

from contracts.errors import ContractError
from contracts.history import TrainingDays
from flows.mapping_check.result import as_json
from flows.mapping_check.trial import tried
from jobs.landing.raw_folder import files_before
from jobs.mapping.sources import read_mapping
from tests.conftest import fault_data

pytestmark = pytest.mark.slow

AS_OF = date(2025, 6, 10)
MISSING = {"user_id: missing"}


def outcome_of(spark: SparkSession, name: str, folder: Path) -> dict[str, Any]:
    """What `nightjar check --rows all --format json` says of a folder's mapping and raw files."""
    faulty = fault_data(name)
    try:
        mapping = read_mapping(faulty / "m.toml")
        files = files_before(mapping, faulty / "raw", AS_OF, [])
        learning = TrainingDays(14, 24, 7, 2)
        return as_json(tried(spark, mapping, files, AS_OF, None, folder, learning))
    except ContractError as error:
        return {"stopped": str(error)}


@pytest.mark.parametrize(
    ("name", "table", "clean", "duplicate", "quarantined", "more"),
    [
        ("01-postgres-short-offset", "orders", 7, 0, 0, {"first": "2025-05-31T22:30:00Z",
                                                         "last": "2025-05-31T22:30:00Z"}),
        ("06-two-stray-quotes-multiline", "orders", 8, 0, 2, {}),
        ("07-field-over-131072", "orders", 3, 0, 0, {}),
        ("11-utf16", "orders", 5, 0, 0, {}),
        ("15-firehose-concatenated", "orders", 600, 0, 0, {}),
        ("19-parquet-float-ids", "orders", 2, 0, 1, {"users": 1, "reasons": MISSING}),
        ("21-parquet-ns-utc", "orders", 1, 0, 0, {"first": "2025-06-01T10:00:00.123456Z"}),
        ("25-ids-unicode-space", "orders", 9, 0, 4, {"users": 3, "reasons": MISSING}),
        ("27-money-rate-too-large", "orders", 2, 0, 0, {}),
        ("28-bots-and-retries", "engagements", 4, 4, 0, {}),
        ("31-text-privacy", "posts", 2, 0, 0, {}),
        ("32-bad-landing-day", "orders", 2, 0, 2, {}),
        ("33-landed-on-far", "orders", 1, 0, 4, {"reasons": {"landed_on: before 1990",
                                                             "landed_on: in the future"}}),
        ("34-snapshot-edges-bots", "follows", 502, 0, 0, {}),
        ("42-mail-in-error-message", "orders", 1, 0, 1, {
            "reasons": {"user_id: cast(user as bigint) cannot be computed"}}),
        ("43-null-strings", "orders", 0, 0, 5, {"reasons": MISSING}),
    ],
)  # fmt: skip
def test_nothing_is_lost_and_what_is_dropped_says_why(
    spark: SparkSession,
    tmp_path: Path,
    name: str,
    table: str,
    clean: int,
    duplicate: int,
    quarantined: int,
    more: dict[str, Any],
) -> None:
    result = outcome_of(spark, name, tmp_path)
    assert "stopped" not in result, result
    counts = result["tables"][table]
    assert counts["in"] == clean + duplicate + quarantined
    assert (counts["clean"], counts["duplicate"], counts["quarantined"]) == (
        clean,
        duplicate,
        quarantined,
    ), counts["reasons"]
    assert {key: set(counts[key]) if key == "reasons" else counts[key] for key in more} == more


@pytest.mark.parametrize(
    ("name", "table", "columns", "kept", "reasons"),
    [
        ("23-parquet-nested-non-json", "users", "country", [("1.50",)], {}),
        # in cents: half a cent of dollars, minus nothing, a hundred coins worth nothing, ...
        ("26-money", "orders", "quantity, amount_minor", [
            (1, 0), (1, 0), (1, 0), (1, 255), (1, 371), (1, 100_000), (3, 2), (1_000_000, 40)
        ], {
            3: "unit_price: finer than a minor unit",
            5: "unit_price: not a number",
            6: "unit_price: not a number",
            8: "unit_price: not a number",
            9: "unit_price: finer than a minor unit",
            13: "quantity: above 1,000,000,000",
            14: "unit_price: missing",
            15: "unit_price: not a number",
        }),
        ("35-signup-sentinels", "users", "signed_up_at", [], {
            2: "signed_up_at: before 1970",
            3: "signed_up_at: before 1970",
            4: "signed_up_at: more than a day after it landed",
            5: "signed_up_at: not a time",
            6: "signed_up_at: not a time",
        }),
    ],
)  # fmt: skip
def test_what_is_kept_has_the_right_values_and_each_other_row_its_reason(
    spark: SparkSession,
    tmp_path: Path,
    name: str,
    table: str,
    columns: str,
    kept: list[tuple[Any, ...]],
    reasons: dict[int, str],
) -> None:
    counts = outcome_of(spark, name, tmp_path)["tables"][table]
    assert counts["in"] == len(kept) + len(reasons)
    assert rows_of(tmp_path / "clean" / table, columns) == kept
    assert dict(rows_of(tmp_path / "clean" / "quarantine", "line, reason")) == reasons


def rows_of(folder: Path, columns: str) -> list[tuple[Any, ...]]:
    """Sorted; none, if there is no file."""
    files = [str(path) for path in folder.glob("*.parquet")]
    if not files:
        return []
    with duckdb.connect() as connection:
        wanted = f"SELECT {columns} FROM read_parquet(?) ORDER BY ALL"
        return connection.execute(wanted, [files]).fetchall()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("17-html-error-page", ("2025-06-02.jsonl", "it looks like an HTML page")),
        ("20-parquet-duplicate-column", ("2025-06-02.parquet", "its schema names user twice")),
        ("30-json-key-renamed", ("2025-06-02.jsonl", "no row has the key country, signed",
                                 'missing_key = "null"')),
    ],
)  # fmt: skip
def test_what_cannot_be_read_stops_and_names_the_file(
    spark: SparkSession, tmp_path: Path, name: str, parts: tuple[str, ...]
) -> None:
    result = outcome_of(spark, name, tmp_path)
    assert all(part in result["stopped"] for part in parts), result
