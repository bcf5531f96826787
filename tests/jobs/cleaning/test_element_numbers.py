"""Numbers within elements of an array arrive digit by digit."""

from __future__ import annotations

import random
from pathlib import Path

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from jobs.cleaning.element_numbers import bare, marked
from jobs.cleaning.elements import expanded
from tests.jobs.cleaning.test_elements import line, order, tried
from tests.jobs.landing.reading import read, source
from tests.jobs.values.odd_numbers import NOT_WHOLE, WHOLE, odd_number


def in_elements(spark: SparkSession, cells: list[str], texts: list[str]) -> list[list[Row]]:
    """What expressions see of each cell's elements."""
    landed_row = T.StructType([T.StructField("problem", T.StringType())])
    shape = T.StructType(
        [T.StructField("n", T.IntegerType()), T.StructField("cell", T.StringType())]
    ).add("_landed", landed_row)
    rows = spark.createDataFrame([(i, cell, (None,)) for i, cell in enumerate(cells)], shape)
    elements = expanded(rows.repartition(1), "cell", texts, ["NULL"], "x", "orders")
    seen: list[list[Row]] = [[] for _ in cells]
    for row in (
        elements.select("n", "element_number", *map(F.expr, texts))
        .orderBy("n", "element_number")
        .collect()
    ):
        seen[row[0]].append(row[2:])
    return seen


def test_numbers_of_elements_arrive_as_those_of_rows_digit_by_digit(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Of an array in a cell of CSV as of one in JSON lines, at any depth, and in texts of objects."""
    draws = random.Random(9)
    numbers = [*WHOLE, *NOT_WHOLE, "1e-4000", "12345678901234567.25", "1.0e+00000000000001"]
    numbers += [odd_number(draws) for _ in range(200)]
    cells = [
        '[{"a": %s, "b": {"c": {"d":%s}}, "e": [%s,{"f": "x %s"}], "g": "%s", "h": ' % ((n,) * 5)
        + '{"\\u00e9 \\"%s": "[%s, %s"}}]' % ((n,) * 3)
        for n in numbers
    ]
    texts = ["each.a", "each.b.c.d", "each.e", "each.g", "each.h"]
    path = tmp_path / "log.jsonl"
    lines = (f'{{"id": {n}, "text": {cell}}}' for n, cell in zip(numbers, cells, strict=True))
    path.write_text("\n".join(lines))
    rows = [fields for _, fields, _ in read(path, source("jsonl")) if fields]
    assert len(rows) == len(numbers)
    expected = [
        [(row[0], row[0], f'[{row[0]},{{"f":"x {n}"}}]', n, f'{{"é \\"{n}":"[{n}, {n}"}}')]
        for row, n in zip(rows, numbers, strict=True)
    ]
    assert in_elements(spark, cells, texts) == expected
    assert in_elements(spark, [row[1] or "" for row in rows], texts) == expected


def test_what_has_no_number_with_a_fraction_is_read_as_spark_reads_it(spark: SparkSession) -> None:
    cells = [
        "[{'a': 'it is 1.5, \"2.5\"', 'b': [{'c': None}]}]", "[{'a': 'x'}]",
        '[{"a": 1, "a": 2}, {"b": NaN, "a": -Infinity}, null, true, [1], "1.5"]',
        ' [ {"a" : "tab\\t\\u00e9\\ud83d\\ude00 \\\\" , "b" : { } } ] ', '[{"a": "\\"}, {1.5"}]',
        "[{1.5: 2}]", "[{1.0: 2}]", "[007.0]", "[1.]", "[.5]", "[+1.5]", "[1.5.2]", "[1.5", "[1.5x]",
        "[- 1.5]", '["1.5]', "['1.5]", "[1e5e5]", "[]", "[{}]", "[1.5] x", "", '["a" "b", 1.5]',
    ]  # fmt: skip
    rows = spark.createDataFrame([(cell,) for cell in cells], "cell string")
    plain, through_marks = (
        F.from_json(F.when(F.ltrim("cell").startswith("["), text), "array<string>")
        for text in (F.col("cell"), marked(F.col("cell")))
    )
    for row in rows.select("cell", plain, F.transform(through_marks, bare)).collect():
        assert row[1] == row[2], row[0]


def test_an_id_of_an_element_is_one_however_its_number_is_written(
    spark: SparkSession, tmp_path: Path
) -> None:
    """In JSON lines; 2.50 stays 2.50, and rounds no earlier than an amount does."""
    rows = [
        order("o1", [line(1.0, qty=2.0, amount=2.50), line(2, amount=0.1)]),
        order("o1", [line(1, qty=2, amount=2.5), line(2.0, amount=0.1)]),
        order("o2", [line(12345678901234567890, amount=7.0)]).replace("567890,", "567890.0,"),
        order("o2", [line(12345678901234567891, amount=7)]),
    ]
    rows = [
        row.replace('"ann"', str(n)) for row, n in zip(rows, ("7.0", "7", "7e0", "7"), strict=True)
    ]
    result = tried(spark, tmp_path, rows)
    orders, users = result.tables
    assert (orders.rows_in, orders.clean, orders.duplicate, orders.users) == (6, 4, 2, 1)
    assert users.users == 1
