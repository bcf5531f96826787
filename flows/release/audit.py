"""Checks of a release on its branch, before anybody sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from contracts.counts import n_of
from contracts.errors import ContractError
from contracts.table import Column
from contracts.tables import USER_SCORES
from contracts.tasks import BY_BASE_RATE, BY_MODEL, TASKS
from flows.release.duckdb_views import first_row, select_from
from flows.release.parquet_views import read_files
from flows.storage.duckdb_connections import BESIDE_SPARK, in_memory


@dataclass(frozen=True)
class Audited:
    """One check and what it found."""

    check: str
    found: str
    passed: bool


def audit_scores(
    scores: Sequence[str],
    features: Sequence[str],
    as_of: date,
    learnt: Sequence[str],
    base_rates: Sequence[str] = (),
) -> tuple[Audited, ...]:
    """Check the files of one day's scores against those of its features.

    Streams over Parquet with DuckDB: every known user once, columns in range, no NaN, tasks that
    were not learnt null and the others not, and each marked for what it is: the model's, or for
    tasks of `base_rates` one value for everybody, which ranks nobody.
    """
    with in_memory(BESIDE_SPARK) as connection:
        read_files(connection, scores).create_view("scores")
        read_files(connection, features).create_view("features")

        def count(sql: str) -> int:
            row = connection.execute(sql).fetchone()
            return 0 if row is None or row[0] is None else int(row[0])

        n_rows = count("SELECT count(*) FROM scores")
        n_users = count("SELECT count(DISTINCT user_key) FROM scores")
        n_known = count("SELECT count(*) FROM features")
        unknown = count("SELECT count(*) FROM scores ANTI JOIN features USING (user_key)")
        other_day = count(f"SELECT count(*) FROM scores WHERE as_of <> DATE '{as_of}'")
        made = [
            Audited(
                "one row per user",
                f"{n_of(n_rows, 'row')}, {n_of(n_users, 'user')}",
                n_rows == n_users,
            ),
            Audited(
                "every known user, no other",
                f"{n_known:,} known, {n_users:,} scored, {unknown:,} unknown",
                n_users == n_known and unknown == 0,
            ),
            Audited("one day", f"{n_of(other_day, 'row')} of another day", other_day == 0),
        ]
        for task in TASKS:
            columns = task.score_columns()
            if task.name in base_rates:
                columns = columns[:-1]  # all but the percentile
            nulls = count(
                "SELECT sum("
                + " + ".join(f"({c.name} IS NULL)::INT" for c in columns)
                + ") FROM scores"
            )
            method = (
                BY_MODEL if task.name in learnt
                else BY_BASE_RATE if task.name in base_rates
                else None
            )  # fmt: skip
            as_said = "NULL" if method is None else f"'{method}'"
            otherwise = count(
                f"SELECT count(*) FROM scores WHERE {task.method} IS DISTINCT FROM {as_said}"
            )
            if method is None:
                made.append(
                    Audited(
                        f"{task.name} is off",
                        f"{nulls:,} of {n_rows * len(columns):,} values null, "
                        f"{n_of(otherwise, 'row')} marked otherwise",
                        nulls == n_rows * len(columns) and otherwise == 0,
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
                    f"{n_of(nulls, 'null')}, {n_of(outside, 'row')} outside, "
                    f"{n_of(otherwise, 'row')} marked otherwise",
                    nulls == 0 and outside == 0 and otherwise == 0,
                )
            )
            if method == BY_BASE_RATE:
                told_apart = count(
                    f"SELECT count(*) - 1 FROM (SELECT DISTINCT {columns[0].name}, "
                    f"{task.percentile} FROM scores)"
                )
                ranked = count(f"SELECT count({task.percentile}) FROM scores")
                made.append(
                    Audited(
                        f"{task.name} is the same for everybody",
                        f"{n_of(max(told_apart, 0), 'other value')}, {n_of(ranked, 'row')} ranked",
                        told_apart <= 0 and ranked == 0,
                    )
                )
                continue
            if task.within in learnt:
                above = count(
                    f"SELECT count(*) FROM scores WHERE score_{task.name} > score_{task.within}"
                )
                made.append(
                    Audited(
                        f"{task.name} is not above {task.within}",
                        f"{n_of(above, 'row')} above",
                        above == 0,
                    )
                )
    return tuple(made)


MIN_DRIFT_ROWS = 100
"""Users below which the distribution of scores says nothing."""


def audit_drift(
    scores: Sequence[str],
    before: Sequence[str],
    learnt: Sequence[str],
    max_users_lost: float | None,
    max_score_shift: float | None,
) -> tuple[Audited, ...]:
    """Compare a day's scores with the last release's: how many users, and how scores lie.

    The shift is the population stability index over the deciles of the scores before, as credit
    scoring has it: the sum of (p - q) ln(p / q); 0.1 is little, 0.25 much. None turns a check off.
    """
    made = []
    with in_memory(BESIDE_SPARK) as connection:
        read_files(connection, scores).create_view("scores")
        connection.execute(f"CREATE VIEW earlier AS {select_from(USER_SCORES, before)}")
        n, n_before = (
            int(first_row(connection, f"SELECT count(*) FROM {name}")[0])
            for name in ("scores", "earlier")
        )
        if max_users_lost is not None:
            least = n_before * (1 - max_users_lost)
            made.append(
                Audited(
                    "as many users as before",
                    f"{n_of(n, 'user')}, {n_before:,} before, at least {least:,.0f} expected",
                    n >= least,
                )
            )
        if max_score_shift is None or min(n, n_before) < MIN_DRIFT_ROWS:
            return tuple(made)
        for task in TASKS:
            column = task.score_columns()[0]
            if task.name not in learnt or column.type not in ("float", "double"):
                continue
            shift = _SHIFT.format(column=column.name, method=task.method, by_model=BY_MODEL)
            found = first_row(connection, shift)
            if not found or found[0] is None:
                continue  # no model has scored the task before
            made.append(
                Audited(
                    f"{task.name} is distributed as before",
                    f"stability index {found[0]:.3f}, at most {max_score_shift:g} expected",
                    found[0] <= max_score_shift,
                )
            )
    return tuple(made)


_SHIFT = """
WITH cuts AS (
    SELECT list_distinct(quantile_disc({column}, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]))
        AS c FROM earlier
    WHERE {column} IS NOT NULL AND coalesce({method}, '{by_model}') = '{by_model}'),
shares AS (
    SELECT bin, greatest(sum(now)::DOUBLE / sum(sum(now)) OVER (), 1e-4) AS p,
        greatest(sum(1 - now)::DOUBLE / sum(sum(1 - now)) OVER (), 1e-4) AS q
    FROM (
        SELECT len(list_filter(c, lambda x: x < {column})) AS bin, 1 AS now FROM scores, cuts
        UNION ALL
        SELECT len(list_filter(c, lambda x: x < {column})), 0 FROM earlier, cuts)
    GROUP BY bin)
SELECT sum((p - q) * ln(p / q)) FROM shares, cuts WHERE c IS NOT NULL"""

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
