"""Expressions that cannot fail: known as such, and computed over cells of every kind."""

from __future__ import annotations

import random

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from jobs.mapping.text_expressions import cannot_fail, texts_of

DIRTY = (
    None, "", " ", "17", "-1", "0", "1e400", "jane.roe@example.com", "2025-01-31", "2025-13-45",
    "99999999999999999999", "{", "a\\", "%", "\x00", "naïve \U0001f600", "true", "maybe",
)  # fmt: skip
_ELEMENT = T.StructType().add("sku", "string").add("n", "integer")
TEXTS = texts_of(
    T.StructType()
    .add("a", "string")
    .add("b", "string")
    .add("who", "string")
    .add("order", "string")
    .add("True", "string")
    .add("line_number", "long")
    .add("each", _ELEMENT)
)


@pytest.mark.parametrize(
    "text",
    [
        "a", "`order`", "'EUR'", "lower(a)", "concat_ws('-', a, 'x', b)", "a || b", "date'2025-01-31'",
        "sha2(concat_ws('|', a, b), 256)", "case when a = 'x' then 'y' else b end", "a is not null",
        "coalesce(nullif(trim(a), ''), b)", "who like '%@example.com'", "a in ('x', 'y')",
        "substring(a, 1, 3)", "(a = 'x' and (b <> 'y')) or not (a is null)", "r'\\d'", "A", "each.sku",
        "case a when 'x' then b end", "a >= '2025'", "a not between 'x' and b and b = 'y'",
        "(a = 'x') = true", "`true` = 'x'", "null", "coalesce(a = 'x', false)", "not a not in (b)",
    ],
)  # fmt: skip
def test_expressions_of_texts_alone_cannot_fail(text: str) -> None:
    assert cannot_fail(text, TEXTS)


@pytest.mark.parametrize(
    "text",
    [
        "cast(a as int)", "a::int", "a + 1", "a = 1", "a / b", "a[0]", "to_date(a)", "a in (1, 2)",
        "coalesce(a, 1)", "coalesce(a, try_cast(b as int))", "coalesce(a, date'2025-01-31')",
        "substring(a, b)", "case when a = 'x' then 1 else 'y' end", "a like b", "regexp_replace(a, b)",
        "sha2(a, b)", "if(a = 'x', b, 1)", "a like 'x\\\\'",
    ],
)  # fmt: skip
def test_others_may(text: str) -> None:
    assert not cannot_fail(text, TEXTS)


@pytest.mark.parametrize(
    "text",
    [
        "a = true", "a <> FALSE", "true = a", "a is true", "a is not false", "a is unknown", "a in (true)",
        "a in ('x', false)", "not a", "a and b", "a = 'x' or b", "case when a then 'x' end",
        "case a when true then 'x' end", "case when a = 'x' then true else b end", "if(a, b, 'x')",
        "(a = 'x') = b", "coalesce(a = 'x', b)", "nullif(a, true)", "a between true and b",
        "a = b = 'x'", "not 'x'", "!a",
    ],
)  # fmt: skip
def test_a_text_beside_a_condition_is_cast_to_one(text: str) -> None:
    assert not cannot_fail(text, TEXTS)


@pytest.mark.parametrize(
    "text",
    [
        "a < date'2025-01-31'", "a = timestamp'2025-01-31'", "a < interval '1' day", "a div b",
        "line_number = a", "coalesce(line_number, a)", "a in (line_number)", "each.n = a",
        "substring(a from b)", "left(a, 99999999999)", "a ilike 'x\\\\'", "a rlike b", "a regexp b",
        "a like any (b)", "elsewhere", "each", "a is distinct from true",
    ],
)  # fmt: skip
def test_words_that_are_no_texts_may_make_it_fail(text: str) -> None:
    assert not cannot_fail(text, TEXTS)


def test_what_cannot_fail_does_not_whatever_the_cells_hold(spark: SparkSession) -> None:
    rng = random.Random(6)

    def text(depth: int) -> str:
        if depth == 0:
            return rng.choice(["a", "'x'", "'17'", "a", "null", "true", "line_number"])
        one, two = text(depth - 1), text(depth - 1)
        return rng.choice(
            [
                f"lower({one})", f"concat({one}, {two})", f"{one} || {two}", f"coalesce({one}, {two})",
                f"nullif({one}, {two})", f"substring({one}, 2, 3)", f"sha2({one}, 256)",
                f"case when {one} = {two} then {two} else {one} end", f"replace({one}, 'x', {two})",
                f"get_json_object({one}, {two})", f"cast({one} as int)", f"{one} + 1", f"({one})",
                f"({one} = {two})", f"({one} in ({two}, 'x'))", f"(not {one})", f"({one} and {two})",
                f"({one} is null or {two})", f"({one} < {two})", f"case {one} when {two} then 'x' end",
                f"({one} between {two} and 'x')", f"({one} not like '%x')", f"{one} = {two} = {one}",
            ]
        )  # fmt: skip

    expressions = [text(rng.randint(1, 3)) for _ in range(1500)]
    safe = sorted({t for t in expressions if cannot_fail(t, TEXTS)})
    assert len(safe) > 200
    rows = spark.createDataFrame([(cell, 1) for cell in DIRTY], "a string, line_number bigint")
    for start in range(0, len(safe), 50):
        rows.select(*map(F.expr, safe[start : start + 50])).collect()
