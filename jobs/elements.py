"""Elements: raw rows that each hold several facts, such as an order with an array of lines.

A table's `each` gives an array. Each of its elements is judged like a row; a row without one is
judged once, so that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.table import CallError
from jobs import erased
from jobs.expressions import Expression, examined, read_back, tried
from jobs.tokens import tokens

Keys = dict[str, "Keys"]
ELEMENT = "each"
"""The column that expressions know an element by."""
NUMBER = "element_number"
"""The column with its place in the array, from 1, unless a raw column has this name."""


def column_of(each: str) -> str | None:
    """The raw column that an `each` is; None if an expression makes the array."""
    listed = tokens(each)
    is_column = len(listed) == 1 and listed[0].kind in ("word", "name")
    return listed[0].text.strip("`") if is_column else None


def expanded(
    rows: DataFrame, each: str | None, texts: Iterable[str], where: str, table: str
) -> DataFrame:
    """One row per element, with the columns `each` and `element_number`, its place in the array
    from 1, which is `_landed.element` too.

    A row without elements comes out once, as element 0, with the reason in `_landed.no_element`; so
    do all rows of a table that has no `each`, without a reason. A row or an element that was erased
    comes out as it did before, with that as `_landed.problem`. `texts` are the table's
    expressions: of elements in JSON they say which keys are to be found, all of them as texts.

    Raises:
        CallError: `each` is not valid over the raw columns, or gives no array.
    """
    problem = F.col("_landed.problem")
    of_elements = erased.is_elements(problem)
    landed = F.col("_landed").withField("problem", F.when(~of_elements, problem))
    landed = landed.withField("erased", F.when(of_elements, problem))
    rows = rows.withColumn("_landed", landed)
    if each is None:
        return _placed(rows, F.lit(0), F.lit(None).cast("string"))
    names = [name for name in rows.columns if name != "_landed"]
    rows = _listed(rows, Expression(ELEMENT, each), T.ArrayType(type_of_elements(texts)), where)
    n_gone = F.when(erased.is_row(problem), erased.n_rows(problem, table))
    gone = F.when(n_gone.isNotNull(), F.array_repeat(F.lit(None), n_gone))
    rows = rows.select(
        *_quoted(names),
        "_landed",
        "_reason",
        F.posexplode_outer(F.coalesce("_listed", gone)).alias("_at", ELEMENT),
    )
    place = F.coalesce(F.col("_at") + 1, F.lit(0))
    if NUMBER not in {name.lower() for name in names}:
        rows = rows.withColumn(NUMBER, place)
    rows = _placed(rows, place, F.col("_reason"))
    return _with_erased(rows, table).drop("_at", "_reason")


def _listed(rows: DataFrame, expression: Expression, type_: T.ArrayType, where: str) -> DataFrame:
    """Adds `_listed`, the array that an expression gives, and `_reason`, why a row has none."""
    (given,) = examined(rows, [expression])
    if isinstance(given, str):
        raise CallError(f"{where}.{given}")
    if not isinstance(given, T.ArrayType | T.StringType | T.NullType):
        raise CallError(
            f"{where}.each: {expression.text}: expected an array, or a text that is one in JSON, "
            f"found one that gives {given.simpleString()}"
        )
    is_array = isinstance(given, T.ArrayType)
    attempt = tried(expression.text, F.to_json) if is_array else tried(expression.text)
    text = read_back(F.col("_attempt"), T.StringType())
    in_brackets = F.when(F.ltrim(text).startswith("["), text)
    rows = rows.select("*", attempt.alias("_attempt")).select(
        "*", text.isNull().alias("_missing"), F.from_json(in_brackets, type_).alias("_listed")
    )
    reason = (
        F.when(F.col("_landed.problem").isNotNull(), F.lit(None))
        .when(F.col("_attempt").isNull(), F.lit(expression.failed))
        .when(F.col("_missing"), F.lit("each: missing"))
        .when(F.col("_listed").isNull(), F.lit("each: not a JSON array of what is expected"))
        .when(F.size("_listed") == 0, F.lit("each: empty"))
    )
    return rows.withColumn("_reason", reason)


def _with_erased(rows: DataFrame, table: str) -> DataFrame:
    """The rows, those of elements that were erased with that as their problem."""
    words = F.coalesce(erased.said_of(F.col("_landed.erased"), table), F.array())
    number = F.col("_landed.element").cast("string")
    problem = (
        F.when(F.array_contains(words, number), F.lit(erased.ROW + table))
        .when(F.array_contains(words, F.concat(F.lit("("), number, F.lit(")"))), F.lit(erased.ROW))
        .otherwise(F.col("_landed.problem"))
    )
    return rows.withColumn("_landed", F.col("_landed").withField("problem", problem))


def _placed(rows: DataFrame, element: Column, reason: Column) -> DataFrame:
    landed = F.col("_landed").withField("element", element).withField("no_element", reason)
    return rows.withColumn("_landed", landed)


def _quoted(names: Iterable[str]) -> list[Column]:
    return [F.col(f"`{name}`") for name in names]


def type_of_elements(texts: Iterable[str]) -> T.DataType:
    """What expressions look for in an element: objects with the keys that follow `each.`, as deep
    as they go, all of them texts in the end; texts where no key is named."""
    keys: Keys = {}
    for text in texts:
        listed = tokens(text)
        for i, token in enumerate(listed):
            is_column = token.text.strip("`").lower() == ELEMENT and token.kind in ("word", "name")
            if not is_column or (i > 0 and listed[i - 1].text == "."):
                continue
            below = keys
            for dot, name in zip(listed[i + 1 :: 2], listed[i + 2 :: 2], strict=False):
                if dot.text != "." or name.kind not in ("word", "name"):
                    break
                below = below.setdefault(name.text.strip("`"), {})
    return _type_of(keys)


def _type_of(keys: Keys) -> T.DataType:
    if not keys:
        return T.StringType()
    return T.StructType([T.StructField(name, _type_of(below)) for name, below in keys.items()])
