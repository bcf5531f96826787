"""Audits that any released table can be given: its contract, its grain, its days, its users."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import duckdb

from contracts.counts import n_of
from contracts.table import Column, Table
from flows.release.audit import Audited, count, views


def audit_contract(table: Table, files: Sequence[str], day: date) -> tuple[Audited, ...]:
    """Rows conform to the table's contract, each grain has one, and all are of the day."""
    conforming, of_day = audit_rows(table, files, day)
    with views(rows=files) as connection:
        n = count(connection, "SELECT count(*) FROM rows")
        grain = ", ".join(table.grain)
        different = count(connection, f"SELECT count(*) FROM (SELECT DISTINCT {grain} FROM rows)")
    once = Audited(
        table.name,
        f"one row of {table.name} per {grain}",
        f"{n_of(n, 'row')}, {different:,} different",
        n == different,
    )
    return conforming, once, of_day


def audit_rows(table: Table, files: Sequence[str], day: date) -> tuple[Audited, Audited]:
    """Rows conform to the table's contract, whatever others there are, and all are of the day."""
    with views(rows=files) as connection:
        broken = broken_rules(connection, table)
        n = count(connection, "SELECT count(*) FROM rows")
        others = count(
            connection,
            f"SELECT count(*) FROM rows WHERE {table.day} IS DISTINCT FROM DATE '{day}'",
        )
    return (
        Audited(
            table.name,
            f"rows of {table.name} conform to its contract",
            "; ".join(broken) or f"{n_of(n, 'row')}",
            not broken,
        ),
        Audited(
            table.name,
            f"one day of {table.name}",
            f"{n_of(others, 'row')} of another day",
            others == 0,
        ),
    )


def broken_rules(connection: duckdb.DuckDBPyConnection, table: Table) -> list[str]:
    """What the columns of a view `rows` break of the table's contract, and in how many rows."""
    rules = {what: sql for column in table.columns for what, sql in rules_of(column).items()}
    counted = ", ".join(f"count(*) FILTER (WHERE {sql})" for sql in rules.values())
    (counts,) = connection.execute(f"SELECT {counted} FROM rows").fetchall()
    return [f"{what}: {n_of(n, 'row')}" for what, n in zip(rules, counts, strict=True) if n]


def rules_of(column: Column) -> dict[str, str]:
    """What must not hold of any value of a column: in words, and as SQL."""
    rules = {}
    if not column.nullable:
        rules[f"{column.name} is null"] = f"{column.name} IS NULL"
    if column.column_type.is_number and (wrong := outside(column)):
        rules[f"{column.name} is no number or out of range"] = wrong
    if column.values is not None:
        values = ", ".join(f"'{value}'" for value in column.values)
        rules[f"{column.name} is not one of {', '.join(column.values)}"] = (
            f"{column.name} NOT IN ({values})"
        )
    return rules


def outside(column: Column) -> str:
    """SQL: whether a value, or one of an array, is no number or out of range; empty if none is."""
    value = "x" if column.column_type.is_array else column.name
    wrong = [f"isnan({value})"] if column.column_type.is_float else []
    if column.minimum is not None:
        wrong.append(f"{value} < {column.minimum}")
    if column.maximum is not None:
        wrong.append(f"{value} > {column.maximum}")
    either = " OR ".join(wrong)
    if value == column.name or not wrong:
        return either
    return f"len(list_filter({column.name}, lambda x: {either})) > 0"


def audit_users(
    table: Table, files: Sequence[str], features: Sequence[str], day: date, what: str = "there"
) -> tuple[Audited, ...]:
    """One row per user who has features of that day, and of nobody else.

    Args:
        what: What a user with a row is said to be.
    """
    with views(rows=files, features=features) as connection:
        n = count(connection, "SELECT count(*) FROM rows")
        users = count(connection, "SELECT count(DISTINCT user_key) FROM rows")
        known = count(connection, "SELECT count(*) FROM features")
        unknown = count(connection, "SELECT count(*) FROM rows ANTI JOIN features USING (user_key)")
        others = count(connection, f"SELECT count(*) FROM rows WHERE {table.day} <> DATE '{day}'")
    return (
        Audited(table.name, "one row per user", f"{n_of(n, 'row')}, {n_of(users, 'user')}",
                n == users),
        Audited(table.name, "every known user, no other",
                f"{known:,} known, {users:,} {what}, {unknown:,} unknown",
                users == known and unknown == 0),
        Audited(table.name, "one day", f"{n_of(others, 'row')} of another day", others == 0),
    )  # fmt: skip
