"""Audits of scores: every known user once, values in range, and their distribution stable."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import duckdb

from contracts.counts import n_of
from contracts.stability import stability_index
from contracts.tables import USER_SCORES
from contracts.tasks import BY_BASE_RATE, BY_MODEL, TASKS, Task
from flows.release.audit import Audited, count, views
from flows.release.duckdb_views import select_from
from flows.release.table_audits import audit_users, outside

MIN_DRIFT_ROWS = 100
"""Users below which the distribution of scores says nothing."""


def audit_scores(
    scores: Sequence[str],
    features: Sequence[str],
    as_of: date,
    trained: Sequence[str],
    base_rates: Sequence[str] = (),
) -> tuple[Audited, ...]:
    """Check the files of one day's scores against those of its features.

    Streams over Parquet with DuckDB: every known user once, columns in range, no NaN, tasks that
    were not trained null and the others not, and each marked for what it is: the model's, or for
    tasks of `base_rates` one value for everybody, which ranks nobody.
    """
    users = audit_users(USER_SCORES, scores, features, as_of, "scored")
    with views(scores=scores) as connection:
        tasks = [
            audited
            for task in TASKS
            for audited in _audit_task(connection, task, trained, base_rates)
        ]
    return (*users, *tasks)


def _audit_task(
    connection: duckdb.DuckDBPyConnection,
    task: Task,
    trained: Sequence[str],
    base_rates: Sequence[str],
) -> list[Audited]:
    """What must hold of a task's columns: of a model's, of a base rate, or of none."""
    if task.name in trained:
        audited = [_whole(connection, task, BY_MODEL)]
        if task.within is not None and task.within in trained:
            audited.append(_not_above(connection, task, task.within))
        return audited
    if task.name in base_rates:
        return [_whole(connection, task, BY_BASE_RATE), _one_value(connection, task)]
    return [_off(connection, task)]


def _off(connection: duckdb.DuckDBPyConnection, task: Task) -> Audited:
    """Nobody has a value, and no row is marked as if it had one."""
    columns = [column.name for column in task.score_columns()]
    nulls, n = _nulls(connection, columns), count(connection, "SELECT count(*) FROM scores")
    otherwise = _marked_otherwise(connection, task, None)
    return Audited(
        USER_SCORES.name,
        f"{task.name} is off",
        f"{nulls:,} of {n * len(columns):,} values null, {n_of(otherwise, 'row')} marked otherwise",
        nulls == n * len(columns) and otherwise == 0,
    )


def _whole(connection: duckdb.DuckDBPyConnection, task: Task, method: str) -> Audited:
    """Everybody has a value, in range and marked with its method. A base rate ranks nobody."""
    columns = task.score_columns()
    if method == BY_BASE_RATE:
        columns = columns[:-1]  # all but the percentile
    nulls = _nulls(connection, [column.name for column in columns])
    wrong = " OR ".join(outside(column) for column in columns if column.column_type.is_float)
    n_outside = count(connection, f"SELECT count(*) FROM scores WHERE {wrong}")
    otherwise = _marked_otherwise(connection, task, method)
    return Audited(
        USER_SCORES.name,
        f"{task.name} is whole and in range",
        f"{n_of(nulls, 'null')}, {n_of(n_outside, 'row')} outside, "
        f"{n_of(otherwise, 'row')} marked otherwise",
        nulls == 0 and n_outside == 0 and otherwise == 0,
    )


def _one_value(connection: duckdb.DuckDBPyConnection, task: Task) -> Audited:
    """A base rate is the same for everybody, and ranks nobody."""
    first = task.score_columns()[0].name
    others = count(
        connection,
        f"SELECT count(*) - 1 FROM (SELECT DISTINCT {first}, {task.percentile} FROM scores)",
    )
    ranked = count(connection, f"SELECT count({task.percentile}) FROM scores")
    return Audited(
        USER_SCORES.name,
        f"{task.name} is the same for everybody",
        f"{n_of(max(others, 0), 'other value')}, {n_of(ranked, 'row')} ranked",
        others <= 0 and ranked == 0,
    )


def _not_above(connection: duckdb.DuckDBPyConnection, task: Task, within: str) -> Audited:
    """What happens in a week happens in the month that it is part of."""
    above = count(
        connection, f"SELECT count(*) FROM scores WHERE score_{task.name} > score_{within}"
    )
    return Audited(
        USER_SCORES.name,
        f"{task.name} is not above {within}",
        f"{n_of(above, 'row')} above",
        above == 0,
    )


def _nulls(connection: duckdb.DuckDBPyConnection, columns: Sequence[str]) -> int:
    nulls = " + ".join(f"({name} IS NULL)::INT" for name in columns)
    return count(connection, f"SELECT sum({nulls}) FROM scores")


def _marked_otherwise(connection: duckdb.DuckDBPyConnection, task: Task, method: str | None) -> int:
    expected = "NULL" if method is None else f"'{method}'"
    return count(
        connection,
        f"SELECT count(*) FROM scores WHERE {task.method} IS DISTINCT FROM {expected}",
    )


def audit_drift(
    scores: Sequence[str],
    before: Sequence[str],
    trained: Sequence[str],
    max_users_lost: float | None,
    max_score_shift: float | None,
) -> tuple[Audited, ...]:
    """Compare a day's scores with the last release's: how many users, and how scores are
    distributed, by the population stability index over the deciles of the scores before. None
    turns a check off.
    """
    audited = []
    with views(scores=scores) as connection:
        connection.execute(f"CREATE VIEW earlier AS {select_from(USER_SCORES, before)}")
        n, n_before = (
            count(connection, f"SELECT count(*) FROM {name}") for name in ("scores", "earlier")
        )
        if max_users_lost is not None:
            audited.append(_as_many_users(n, n_before, max_users_lost))
        if max_score_shift is None or min(n, n_before) < MIN_DRIFT_ROWS:
            return tuple(audited)
        for task in TASKS:
            if task.name in trained and task.score_columns()[0].is_float:
                audited += _shift(connection, task, max_score_shift)
    return tuple(audited)


def _as_many_users(n: int, n_before: int, max_users_lost: float) -> Audited:
    least = n_before * (1 - max_users_lost)
    return Audited(
        USER_SCORES.name,
        "as many users as before",
        f"{n_of(n, 'user')}, {n_before:,} before, at least {least:,.0f} expected",
        n >= least,
    )


def _shift(
    connection: duckdb.DuckDBPyConnection, task: Task, max_score_shift: float
) -> list[Audited]:
    """Nothing where no model has scored the task before."""
    column = task.score_columns()[0].name
    shares = connection.execute(
        _SHARES.format(column=column, method=task.method, by_model=BY_MODEL)
    ).fetchall()
    if not shares:
        return []
    index = stability_index([p for p, _ in shares], [q for _, q in shares])
    return [
        Audited(
            USER_SCORES.name,
            f"{task.name} is distributed as before",
            f"stability index {index:.3f}, at most {max_score_shift:g} expected",
            index <= max_score_shift,
        )
    ]


_SHARES = """
WITH cuts AS (
    SELECT list_distinct(quantile_disc({column}, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]))
        AS c FROM earlier
    WHERE {column} IS NOT NULL AND coalesce({method}, '{by_model}') = '{by_model}')
SELECT sum(now)::DOUBLE / sum(sum(now)) OVER () AS p,
    sum(1 - now)::DOUBLE / sum(sum(1 - now)) OVER () AS q
FROM (
    SELECT len(list_filter(c, lambda x: x < {column})) AS bin, 1 AS now FROM scores, cuts
    WHERE c IS NOT NULL
    UNION ALL
    SELECT len(list_filter(c, lambda x: x < {column})), 0 FROM earlier, cuts WHERE c IS NOT NULL)
GROUP BY bin ORDER BY bin"""
