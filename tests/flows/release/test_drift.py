"""How far the distribution of a column has moved since the release before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.table import Column, Table
from contracts.tables import USER_FEATURES
from flows.release.drift import drift

TABLE = Table(
    name="made",
    doc="A column of numbers.",
    grain=("user_key",),
    day="as_of",
    columns=(
        Column("user_key", "string", "Who."),
        Column("as_of", "date", "The day."),
        Column("amount", "double", "A number.", nullable=True),
    ),
)


def written(path: Path, values: Sequence[float | None]) -> list[str]:
    rows = [{"user_key": f"u{n}", "amount": x} for n, x in enumerate(values)]
    schema = pa.schema([("user_key", pa.string()), ("amount", pa.float64())])
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return [str(path)]


def test_users_without_a_value_are_a_bin_of_their_own(tmp_path: Path) -> None:
    before = written(tmp_path / "a.parquet", [float(n % 2) for n in range(100)])
    half = written(tmp_path / "b.parquet", [float(n % 2) if n < 50 else None for n in range(100)])
    (same,) = drift(TABLE, before, before)
    assert (same.index, same.cuts) == (0.0, (0.0, 1.0))
    assert same.before == pytest.approx((0.0, 0.5, 0.5, 0.0))  # none null, 0, 1, above
    (change,) = drift(TABLE, before, half)
    assert change.now == pytest.approx((0.5, 0.25, 0.25, 0.0))
    assert change.index > 4


def test_a_column_that_was_declared_since_is_not_compared(tmp_path: Path) -> None:
    before = written(tmp_path / "a.parquet", [float(n % 2) for n in range(100)])
    newer = replace(TABLE, columns=(*TABLE.columns, Column("balance", "double", "Another.")))
    rows = pq.read_table(before[0])
    now = tmp_path / "b.parquet"
    pq.write_table(rows.append_column("balance", pa.array([1.0] * len(rows))), now)
    assert [d.column for d in drift(newer, before, [str(now)])] == ["amount"]
    assert [d.column for d in drift(newer, [str(now)], [str(now)])] == ["amount", "balance"]


def test_a_number_that_all_users_of_a_category_share_is_not_compared(tmp_path: Path) -> None:
    name = "last_category_reviews_90d"
    assert name in USER_FEATURES.names
    table = replace(TABLE, columns=(*TABLE.columns, Column(name, "bigint", "Of the category.")))
    rows = pq.read_table(written(tmp_path / "a.parquet", [float(n % 2) for n in range(100)])[0])
    paths = []
    for i in (0, 1):  # each of four categories has got a review more
        paths.append(str(tmp_path / f"{i}.parquet"))
        of_category = pa.array([10 * (n % 4) + i for n in range(100)])
        pq.write_table(rows.append_column(name, of_category), paths[i])
    assert [d.column for d in drift(table, paths[:1], paths[1:])] == ["amount"]
