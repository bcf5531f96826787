"""Drift: how far the distributions of features and scores have moved since the release before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.features import CATEGORY_PREFIX
from contracts.stability import stability_index
from contracts.table import Table
from contracts.tables import USER_FEATURES, USER_SCORES
from flows.release.duckdb_views import first_row, select_from
from flows.storage.duckdb_connections import BESIDE_SPARK, in_memory

DRIFTING = (USER_FEATURES, USER_SCORES)
"""Tables whose columns are compared."""
MAX_ROWS = 100_000
"""Users that are compared, chosen by a hash of their key: more make no other picture."""
MIN_ROWS = 50
WORST = 12


@dataclass(frozen=True)
class Drifted:
    """A column's population stability index, and the shares of users in bins cut at the deciles of
    the release before."""

    table: str
    column: str
    index: float
    cuts: tuple[float, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]


def drift(table: Table, before: Sequence[str], now: Sequence[str]) -> list[Drifted]:
    """Every column of numbers of a table, the least stable first.

    A value that many share has a bin of its own, and so have users without one. A column that the
    release before lacks, for it was declared since, is left out, and so is a number of a category:
    with one order more all of its users have another value, and each night would look like another
    market.
    """
    if not before or not now:
        return []
    columns = [
        column.name
        for column in table.columns
        if column.column_type.is_number and not column.column_type.is_array
        if not column.name.startswith(CATEGORY_PREFIX)
    ]
    drifted = []
    with in_memory(threads=BESIDE_SPARK) as connection:
        for name, paths in (("earlier", before), ("later", now)):
            connection.execute(f"CREATE VIEW _all AS {select_from(table, paths)}")
            n = int(first_row(connection, "SELECT count(*) FROM _all")[0])
            if n < MIN_ROWS:
                return []
            step = -(-n // MAX_ROWS)
            listed = ", ".join(columns)
            connection.execute(
                f"CREATE TABLE {name} AS SELECT {listed} FROM _all "
                f"WHERE hash(user_key) % {step} = 0"
            )
            connection.execute("DROP VIEW _all")
        for column in columns:
            bins = connection.execute(_BINS.format(column=column)).fetchall()
            if bins:
                shares_before, shares_now = (tuple(row[i] for row in bins) for i in (1, 2))
                index = stability_index(shares_before, shares_now)
                drifted.append(
                    Drifted(table.name, column, index, tuple(bins[0][0]), shares_before, shares_now)
                )
    return sorted(drifted, key=lambda d: (-d.index, d.column))


_BINS = """
WITH cuts AS (
    SELECT list_sort(list_distinct(quantile_disc({column}::DOUBLE,
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]))) AS c
    FROM earlier WHERE {column} IS NOT NULL),
bins AS (SELECT unnest(range(-1, len(c) + 1)) AS bin FROM cuts WHERE c IS NOT NULL),
counted AS (
    SELECT bin, sum(now) AS n_now, sum(1 - now) AS n_before FROM (
        SELECT if({column} IS NULL, -1, len(list_filter(c, lambda x: x < {column}))) AS bin,
            1 AS now
        FROM later, cuts
        UNION ALL
        SELECT if({column} IS NULL, -1, len(list_filter(c, lambda x: x < {column}))), 0
        FROM earlier, cuts)
    GROUP BY bin)
SELECT c, coalesce(n_before, 0)::DOUBLE / sum(n_before) OVER (),
    coalesce(n_now, 0)::DOUBLE / sum(n_now) OVER ()
FROM bins LEFT JOIN counted USING (bin), cuts
ORDER BY bin"""
