"""Elements: raw rows that each hold several facts, such as an order with an array of lines.

A table's `each` gives an array. Each of its elements is judged like a row; a row without one is
judged once, so that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.errors import UsageError
from jobs.cleaning import erased_rows
from jobs.cleaning.element_numbers import bare, marked
from jobs.mapping.element_keys import ELEMENT, NUMBER, Keys, keys_of
from jobs.mapping.expressions import Expression, examined, read_back, tried
from jobs.values.trimming import trimmed

NO_OBJECT = "each: no object, as expressions expect"
"""Reason of an element that has none of the keys that they name, for it has none at all."""


def expanded(
    rows: DataFrame,
    each: str | None,
    texts: Iterable[str],
    nulls: Collection[str],
    where: str,
    table: str,
) -> DataFrame:
    """One row per element, with the columns `each` and `element_number`, its place in the array
    from 1, which is `_landed.element` too.

    An element that is no object, where expressions name keys, has that as `_landed.no_element`. A
    row without elements comes out once, as element 0, with the reason in `_landed.no_element`; so
    do all rows of a table that has no `each`, without a reason. A row or an element that was erased
    comes out as it did before, with that as `_landed.problem`. `texts` are the table's
    expressions: of elements in JSON they say which keys are to be found, all of them as texts;
    those among `nulls` mean that there is no value, as they do in cells.

    Raises:
        UsageError: `each` is not valid over the raw columns, or gives no array.
    """
    problem = F.col("_landed.problem")
    of_elements = erased_rows.is_elements(problem)
    landed = F.col("_landed").withField("problem", F.when(~of_elements, problem))
    landed = landed.withField("erased", F.when(of_elements, problem))
    rows = rows.withColumn("_landed", landed)
    if each is None:
        return _placed(rows, F.lit(0), F.lit(None).cast("string"))
    names = [name for name in rows.columns if name != "_landed"]
    expression = Expression(ELEMENT, each)
    given = _type_of_array(rows, expression, where)
    known = given.elementType if isinstance(given, T.ArrayType) else None
    rows = _listed(rows, expression, given, type_of_elements(texts, known), nulls)
    n_gone = F.when(erased_rows.is_row(problem), erased_rows.n_rows(problem, table))
    gone = F.when(n_gone.isNotNull(), F.array_repeat(F.lit(None), n_gone))
    rows = rows.select(
        *_quoted(names),
        "_landed",
        "_reason",
        F.posexplode_outer(F.coalesce("_listed", gone)).alias("_at", "_element"),
    )
    rows = rows.withColumns(
        {ELEMENT: F.col("_element.value"), "_reason": F.coalesce("_reason", "_element.problem")}
    )
    place = F.coalesce(F.col("_at") + 1, F.lit(0))
    if NUMBER not in {name.lower() for name in names}:
        rows = rows.withColumn(NUMBER, place)
    rows = _placed(rows, place, F.col("_reason"))
    return _with_erased(rows, table).drop("_at", "_reason", "_element")


def _type_of_array(rows: DataFrame, expression: Expression, where: str) -> T.DataType:
    """What an expression that gives an array gives: an array, or a text."""
    (given,) = examined(rows, [expression])
    if isinstance(given, str):
        raise UsageError(f"{where}.{given}")
    if not isinstance(given, T.ArrayType | T.StringType | T.NullType):
        raise UsageError(
            f"{where}.each: {expression.text}: expected an array, or a text that is one in JSON, "
            f"found one that gives {given.simpleString()}"
        )
    return given


def _listed(
    rows: DataFrame,
    expression: Expression,
    given: T.DataType,
    type_: T.DataType,
    nulls: Collection[str],
) -> DataFrame:
    """Adds `_listed`, the array that an expression gives, and `_reason`, why a row has none. Of
    each element `_listed` has the `value`, or the `problem`, why it is not what is expected.
    """
    is_array = isinstance(given, T.ArrayType)
    attempt = tried(expression.text, F.to_json) if is_array else tried(expression.text)
    text = read_back(F.col("_attempt"), T.StringType())
    in_brackets = F.when(F.ltrim("_text").startswith("["), marked(F.col("_text")))
    read = F.transform(F.from_json(in_brackets, "array<string>"), _read_as(type_))
    rows = rows.select("*", attempt.alias("_attempt")).withColumn("_text", text)
    rows = rows.select(
        "*",
        F.col("_text").isNull().alias("_missing"),
        F.transform(read, _without_nulls(type_, nulls)).alias("_listed"),
    )
    reason = (
        F.when(F.col("_landed.problem").isNotNull(), F.lit(None))
        .when(F.col("_attempt").isNull(), F.lit(expression.failed))
        .when(F.col("_missing"), F.lit("each: missing"))
        .when(F.col("_listed").isNull(), F.lit("each: not a JSON array"))
        .when(F.size("_listed") == 0, F.lit("each: empty"))
    )
    return rows.withColumn("_reason", reason)


def _read_as(type_: T.DataType) -> Callable[[Column], Column]:
    """Reads an element's text by itself: read in one go, a text among objects would leave none.

    Inside of the array, for a parser outside would be copied into each expression that names it.
    """

    def read(text: Column) -> Column:
        if not isinstance(type_, T.StructType):
            return F.struct(text.alias("value"), F.lit(None).cast("string").alias("problem"))
        is_object = F.coalesce(F.ltrim(text).startswith("{"), F.lit(False))
        return F.struct(
            F.from_json(F.when(is_object, text), type_).alias("value"),
            F.when(~is_object, F.lit(NO_OBJECT)).alias("problem"),
        )

    return read


def _without_nulls(type_: T.DataType, nulls: Collection[str]) -> Callable[[Column], Column]:
    """Takes marks of numbers, and texts that mean nothing, out of an element's value, as deep as
    it goes."""

    def without(value: Column, type_: T.DataType) -> Column:
        if isinstance(type_, T.StructType):
            inner = (
                without(value.getField(field.name), field.dataType).alias(field.name)
                for field in type_
            )
            return F.when(value.isNotNull(), F.struct(*inner))
        text = bare(value)
        return F.when(~F.coalesce(trimmed(text), F.lit("")).isin(*nulls), text)

    return lambda element: F.struct(
        without(element["value"], type_).alias("value"), element["problem"].alias("problem")
    )


def _with_erased(rows: DataFrame, table: str) -> DataFrame:
    """The rows, those of elements that were erased with that as their problem."""
    words = F.coalesce(erased_rows.said_of(F.col("_landed.erased"), table), F.array())
    number = F.col("_landed.element").cast("string")
    problem = (
        F.when(F.array_contains(words, number), F.lit(erased_rows.ROW + table))
        .when(
            F.array_contains(words, F.concat(F.lit("("), number, F.lit(")"))),
            F.lit(erased_rows.ROW),
        )
        .otherwise(F.col("_landed.problem"))
    )
    return rows.withColumn("_landed", F.col("_landed").withField("problem", problem))


def _placed(rows: DataFrame, element: Column, reason: Column) -> DataFrame:
    landed = F.col("_landed").withField("element", element).withField("no_element", reason)
    return rows.withColumn("_landed", landed)


def _quoted(names: Iterable[str]) -> list[Column]:
    return [F.col(f"`{name}`") for name in names]


def type_of_elements(texts: Iterable[str], given: T.DataType | None = None) -> T.DataType:
    """What expressions look for in an element: objects with the keys that follow `each.`, as deep
    as they go, all of them texts in the end; texts where no key is named.

    Where the type of the elements is known, objects have the keys that are there.
    """
    keys = keys_of(texts)
    return _type_of(keys, given) if keys else T.StringType()


def _type_of(keys: Keys, given: T.DataType | None = None) -> T.DataType:
    if isinstance(given, T.StructType):
        return T.StructType(
            [
                T.StructField(name, _type_of(keys.get(name, {}), type_))
                for name, type_ in ((field.name, field.dataType) for field in given)
            ]
        )
    if not keys:
        return T.StringType()
    return T.StructType([T.StructField(name, _type_of(below)) for name, below in keys.items()])
