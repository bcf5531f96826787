"""What `contracts/cleaning.py` declares, in Spark: columns, and the rows that fail."""

from __future__ import annotations

from collections.abc import Iterator

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts import cleaning
from contracts.source_table import SourceTable
from contracts.values import MAX_ATTRIBUTE_LENGTH
from jobs.cleaning.fields import Amount, Context, missing, one_of, text_id, time_checks
from jobs.cleaning.verdicts import Check, Rules
from jobs.values.trimming import trimmed


def rules(table: SourceTable, given: Context) -> Rules:
    """The rules of a clean table's rows, for the rows of one source."""
    declared = table.cleaning
    return Rules(
        table,
        derive=tuple(step for rule in declared.columns for step in _columns(rule, given)),
        checks=tuple(check for rule in declared.checks for check in _checks(rule, table, given)),
        id=declared.id,
        dimension=declared.is_dimension,
    )


def _columns(rule: cleaning.ColumnRule, given: Context) -> Iterator[tuple[str, Column]]:
    """The columns that a rule makes, those before the table's own that it needs among them."""
    match rule:
        case cleaning.KeyedId(column, kind, field):
            yield column, given.id_of(kind, field or column)
        case cleaning.KeyedUser(column, field):
            yield column, given.key_of(field)
        case cleaning.Text(column):
            yield column, text_id(column)
        case cleaning.Words(column):
            yield from given.words(column)
        case cleaning.WholeNumber(column):
            yield column, given.whole(column)
        case cleaning.Stars(column):
            yield column, given.stars(column)
        case cleaning.TrueOrFalse(column):
            yield column, given.truth(column)
        case cleaning.Time(field):
            yield rule.name, given.instant(field)
        case cleaning.Attributes(column):
            yield column, attributes()
        case cleaning.Amount():
            yield from _amount(rule, given).derive
        case cleaning.Sql(column, sql):
            yield column, F.expr(sql)


def _checks(rule: cleaning.Check, table: SourceTable, given: Context) -> Iterator[Check]:
    match rule:
        case cleaning.Required(field, where):
            absent = missing(field)
            yield absent if where is None else Check(absent.reason, F.expr(where) & absent.fails)
        case cleaning.OneOf(field):
            yield one_of(field, table)
        case cleaning.Fails(reason, sql):
            yield Check(reason, F.expr(sql))
        case cleaning.WholeNumber():
            yield from _whole_number_checks(rule)
        case cleaning.Stars(column):
            yield missing(column)
            yield from _stars_checks(column, given)
        case cleaning.TrueOrFalse(column, optional):
            if not optional:
                yield missing(column)
            yield Check(
                f"{column}: not true or false", text_id(column).isNotNull() & F.col(column).isNull()
            )
        case cleaning.Time(field, _, optional, from_ever):
            yield from time_checks(field, optional, rule.name, from_ever)
        case cleaning.Attributes(column):
            yield Check(
                f"{column}: a value of more than {MAX_ATTRIBUTE_LENGTH} characters",
                F.exists(
                    column, lambda text: F.length(text) - F.locate("=", text) > MAX_ATTRIBUTE_LENGTH
                ),
            )
        case cleaning.Amount():
            yield from _amount(rule, given).checks


def _amount(rule: cleaning.Amount, given: Context) -> Amount:
    """The amount, or the price of one unit where that is what the source says."""
    where = None if rule.where is None else F.expr(rule.where)
    if rule.unit_price is None or given.line_totals:
        return Amount(rule.field, given, where=where, column=rule.column)
    return Amount(rule.unit_price, given, times=rule.units, where=where, column=rule.column)


def _whole_number_checks(rule: cleaning.WholeNumber) -> Iterator[Check]:
    name, number = rule.column, F.col(rule.column)
    if not rule.optional:
        yield missing(name)
    yield Check(f"{name}: not a whole number", text_id(name).isNotNull() & number.isNull())
    below = "not above 0" if rule.minimum == 1 else f"below {rule.minimum}"
    yield Check(f"{name}: {below}", number < rule.minimum)
    yield Check(f"{name}: above {rule.maximum:,}", number > rule.maximum)


def attributes() -> Column:
    """What a table names besides its fields as sorted texts `name=value`; null if none has a
    value."""
    values = F.transform(
        "in_attributes", lambda a: F.struct(a["name"], trimmed(a["value"]).alias("value"))
    )
    given = F.filter(values, lambda a: a["value"].isNotNull())
    texts = F.transform(given, lambda a: F.concat(a["name"], F.lit("="), a["value"]))
    return F.nullif(F.array_sort(texts), F.array().cast("array<string>"))


def _stars_checks(column: str, given: Context) -> Iterator[Check]:
    stars = F.col(column)
    if given.stars_scale is None:
        yield Check(f"{column}: not a whole number", stars.isNull())
        yield Check(f"{column}: not 1 to 5", ~stars.between(1, 5))
    else:
        low, high = given.stars_scale
        yield Check(f"{column}: not a number", given.number(column).isNull())
        yield Check(f"{column}: not {low} to {high}", stars.isNull())
