"""Checks of a release on its branch, before anybody sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import duckdb

from contracts.table import Column, ContractError
from contracts.tables import USER_SCORES
from contracts.tasks import TASKS


@dataclass(frozen=True)
class Audited:
    """One check and what it found."""

    check: str
    found: str
    passed: bool


def audit_scores(
    scores: Sequence[str], features: Sequence[str], as_of: date, learnt: Sequence[str]
) -> tuple[Audited, ...]:
    """Check the files of one day's scores against those of its features.

    Streams over Parquet with DuckDB: every known user once, columns in range, no NaN, tasks that
    were not learnt null and the others not.
    """
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.read_parquet(list(scores)).create_view("scores")
        connection.read_parquet(list(features)).create_view("features")

        def count(sql: str) -> int:
            row = connection.execute(sql).fetchone()
            return 0 if row is None or row[0] is None else int(row[0])

        n_rows = count("SELECT count(*) FROM scores")
        n_users = count("SELECT count(DISTINCT user_key) FROM scores")
        n_known = count("SELECT count(*) FROM features")
        unknown = count("SELECT count(*) FROM scores ANTI JOIN features USING (user_key)")
        other_day = count(f"SELECT count(*) FROM scores WHERE as_of <> DATE '{as_of}'")
        made = [
            Audited("one row per user", f"{n_rows:,} rows, {n_users:,} users", n_rows == n_users),
            Audited(
                "every known user, no other",
                f"{n_known:,} known, {n_users:,} scored, {unknown:,} unknown",
                n_users == n_known and unknown == 0,
            ),
            Audited("one day", f"{other_day:,} rows of another day", other_day == 0),
        ]
        for task in TASKS:
            columns = task.score_columns()
            nulls = count(
                "SELECT sum("
                + " + ".join(f"({c.name} IS NULL)::INT" for c in columns)
                + ") FROM scores"
            )
            if task.name not in learnt:
                made.append(
                    Audited(
                        f"{task.name} is off",
                        f"{nulls:,} of {n_rows * len(columns):,} values null",
                        nulls == n_rows * len(columns),
                    )
                )
                continue
            outside = count(
                "SELECT count(*) FROM scores WHERE "
                + " OR ".join(_outside(c) for c in columns if c.type in _NUMBERS)
            )
            made.append(
                Audited(
                    f"{task.name} is whole and in range",
                    f"{nulls:,} nulls, {outside:,} rows outside",
                    nulls == 0 and outside == 0,
                )
            )
            if task.within in learnt:
                above = count(
                    f"SELECT count(*) FROM scores WHERE score_{task.name} > score_{task.within}"
                )
                made.append(
                    Audited(
                        f"{task.name} is not above {task.within}",
                        f"{above:,} rows above",
                        above == 0,
                    )
                )
    return tuple(made)


_NUMBERS = ("float", "double", "array<float>")


def _outside(column: Column) -> str:
    """SQL: whether a value, or one of an array, is no number or out of range."""
    value = "x" if column.type.startswith("array<") else column.name
    wrong = [f"isnan({value})"]
    if column.minimum is not None:
        wrong.append(f"{value} < {column.minimum}")
    if column.maximum is not None:
        wrong.append(f"{value} > {column.maximum}")
    either = " OR ".join(wrong)
    if value == column.name:
        return either
    return f"len(list_filter({column.name}, lambda x: {either})) > 0"


def raise_if_failed(audited: Sequence[Audited]) -> None:
    """Refuse a release that fails a check.

    Raises:
        ContractError: naming each failed check with its numbers.
    """
    failed = [f"  {a.check}: {a.found}" for a in audited if not a.passed]
    if failed:
        raise ContractError(
            "\n".join(
                [f"{USER_SCORES.name} fails its audit; the release before stays current:", *failed]
            )
        )
