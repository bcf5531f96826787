"""Ids that look as if there were none, such as `NULL` and `unknown`, but are taken for ids."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts.clean_tables import clean_table_named
from contracts.sources import NULL_LIKE

MAX_TEXTS = 5
"""Spellings that are kept of a field."""


def _column(field: str) -> str:
    return f"null_like_{field}"


def null_like_fields(table: str, problem: Column) -> list[Column]:
    """For each field that names something its text if it looks like none, else null; over columns
    named `text_…`."""
    words = sorted(NULL_LIKE)
    return [
        F.when(
            problem.isNull() & F.lower(f"text_{field}").isin(words), F.col(f"text_{field}")
        ).alias(_column(field))
        for field in clean_table_named(table).id_fields
    ]


def counted(table: str) -> Column:
    """An aggregate: for each field with such texts the field, how many rows and which texts."""
    entries = F.array(*(_entry(field) for field in clean_table_named(table).id_fields))
    return F.nullif(
        F.filter(entries, lambda entry: entry.isNotNull()), F.array().cast("array<string>")
    )


def _entry(field: str) -> Column:
    rows = F.count(_column(field))
    texts = F.slice(F.sort_array(F.collect_set(_column(field))), 1, MAX_TEXTS)
    said = F.concat_ws(" ", F.lit(field), rows.cast("string"), F.array_join(texts, " "))
    return F.when(rows > 0, said)
