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
from jobs.expressions import (
    Expression,
    examined,
    read_back,
    tokens,
    tried,
)

Keys = dict[str, "Keys"]
ELEMENT = "each"
"""The column that expressions know an element by."""


def expanded(rows: DataFrame, each: str | None, texts: Iterable[str], where: str) -> DataFrame:
    """One row per element, with the column `each` and its place in `_landed.element`, from 1.

    A row without elements comes out once, as element 0, with the reason in `_landed.no_element`; so
    do all rows of a table that has no `each`, without a reason. `texts` are the table's
    expressions: of elements in JSON they say which keys are to be found, all of them as texts.

    Raises:
        CallError: `each` is not valid over the raw columns, or gives no array.
    """
    if each is None:
        return _placed(rows, F.lit(0), F.lit(None).cast("string"))
    expression = Expression(ELEMENT, each)
    (type_,) = examined(rows, [expression])
    if isinstance(type_, str):
        raise CallError(f"{where}.{type_}")
    if not isinstance(type_, T.ArrayType | T.StringType | T.NullType):
        raise CallError(
            f"{where}.each: {each}: expected an array, or a text that is one in JSON, found one "
            f"that gives {type_.simpleString()}"
        )
    names = [name for name in rows.columns if name != "_landed"]
    attempt = tried(each, F.to_json) if isinstance(type_, T.ArrayType) else tried(each)
    text = read_back(F.col("_attempt"), T.StringType())
    in_brackets = F.when(F.ltrim(text).startswith("["), text)
    listed = F.from_json(in_brackets, T.ArrayType(type_of_elements(texts)))
    rows = rows.select(*_quoted(names), "_landed", attempt.alias("_attempt")).select(
        *_quoted(names),
        "_landed",
        F.col("_attempt").isNull().alias("_failed"),
        text.isNull().alias("_missing"),
        listed.alias("_listed"),
    )
    reason = (
        F.when(F.col("_landed.problem").isNotNull(), F.lit(None))
        .when(F.col("_failed"), F.lit(expression.failed))
        .when(F.col("_missing"), F.lit("each: missing"))
        .when(F.col("_listed").isNull(), F.lit("each: not a JSON array of what is expected"))
        .when(F.size("_listed") == 0, F.lit("each: empty"))
    )
    rows = rows.withColumn("_reason", reason).select(
        *_quoted(names), "_landed", "_reason", F.posexplode_outer("_listed").alias("_at", ELEMENT)
    )
    return _placed(rows, F.coalesce(F.col("_at") + 1, F.lit(0)), F.col("_reason")).drop(
        "_at", "_reason"
    )


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
