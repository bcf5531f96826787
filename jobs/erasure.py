"""Rows about people who are to be erased: found by key, blanked where they land.

Where a raw column is an array in JSON and only elements of it name the person, only these are
blanked; the row is where the person is named outside of them, or an expression makes the array.
A row that `where` keeps from a table is one about the person all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from contracts.tables import LANDED
from jobs.cleaning import erased_rows
from jobs.cleaning.verdicts import Rules, considered, user_key, verdicts
from jobs.mapping.element_keys import column_of
from jobs.mapping.sources import Source, TableMap
from jobs.source_table_stages import rules_for
from jobs.stage import Settings
from jobs.values.trimming import trimmed

PLACE = ("landed_on", "source", "file", "line")
_WHOLE = -1
"""For the place of an array among the raw columns, where none of them is one."""


def names(rows: DataFrame, rules: Rules, keys: Collection[str]) -> Column:
    """Whether a judged row says one of the keys: as who did it, or to whom it was done."""
    listed = [name for name in rules.table.names if is_of_person(name) and name in rows.columns]
    said = (F.coalesce(F.col(name).isin(sorted(keys)), F.lit(False)) for name in listed)
    return reduce(Column.__or__, said, F.lit(False))


def is_of_person(column: str) -> bool:
    """Whether a column of a clean table may hold users' keys.

    Not whatever is a text: Spark would compute what people wrote for the sake of a comparison, and
    copies of how, by the million, where it pushes the comparison down.
    """
    return column.endswith("_key") or column == "target_id"


def about(
    landed: DataFrame, source: Source, settings: Settings, keys: Collection[str]
) -> DataFrame:
    """One row per landed row that names one of `keys` for some table: its place.

    What is kept of a row is judged as if nothing were wrong with it: who is named beside elements
    that were erased is named still, and so is who is named in a row that says an impossible day.
    """
    problem = F.when(F.col("fields").isNull(), F.col("problem"))
    rows = _considered(landed.withColumn("problem", problem), source, settings, keys)
    return rows.where("names").select(*PLACE).distinct()


def blanks(
    landed: DataFrame, source: Source, settings: Settings, keys: Collection[str]
) -> DataFrame:
    """One row per row of `landed`, all of which name one of `keys`: its place, and what is to be
    left of it.

    `problem` says so, `fields` has it. `cuts`: the elements that go, by column. `tables`: those
    that had a row that names one of the keys. `is_quarantined`: whether all of these are in
    quarantine whatever they say. `n_others`: rows of clean tables about others that go with it,
    where the row is blanked whole.
    """
    problem = F.col("problem")
    is_quarantined = (
        F.col("fields").isNotNull() & problem.isNotNull() & ~erased_rows.is_elements(problem)
    )
    judged = _judged(landed.where(~is_quarantined), source, settings, keys)
    return judged.unionByName(_quarantined(landed.where(is_quarantined), source))


def _quarantined(landed: DataFrame, source: Source) -> DataFrame:
    """The same of rows that have a problem: each is one in quarantine of every table."""
    tables = sorted({mapping.table for mapping in source.tables})
    return landed.select(
        *PLACE,
        "row_hash",
        F.lit(erased_rows.ROW + ", ".join(tables)).alias("problem"),
        F.lit(None).cast("array<string>").alias("fields"),
        F.lit(None).cast(_CUTS).alias("cuts"),
        F.array(*map(F.lit, tables)).alias("tables"),
        F.lit(True).alias("is_quarantined"),
        F.lit(0).cast("bigint").alias("n_others"),
    )


_CUTS = "array<struct<at: int, elements: array<int>>>"


def _judged(
    landed: DataFrame, source: Source, settings: Settings, keys: Collection[str]
) -> DataFrame:
    """The same of rows that are judged by what they say."""
    columns = sorted({at for mapping in source.tables if (at := _column(source, mapping)) >= 0})
    places = _by_table(_considered(landed, source, settings, keys))
    places = places.withColumns({f"_cut_{at}": _gone_at(at) for at in columns})
    cut = landed.select(*PLACE, "row_hash", "fields", "problem").join(places, list(PLACE))
    cut = cut.withColumn("fields", _cut(columns, len(source.columns)))
    cut = _with_whole(cut, columns, source, settings, keys)
    whole = F.col("_whole")
    cuts = F.array(
        *(F.struct(F.lit(at).alias("at"), F.col(f"_cut_{at}").alias("elements")) for at in columns)
    ).cast(_CUTS)
    naming = F.transform(F.filter("_t", lambda t: t["names"]), lambda t: t["table_name"])
    others = F.aggregate("_t", F.lit(0).cast("bigint"), lambda n, t: n + t["n_others"])
    return cut.select(
        *PLACE,
        "row_hash",
        F.when(whole, _row_said()).otherwise(_elements_said(columns)).alias("problem"),
        F.when(~whole, F.col("fields")).alias("fields"),
        F.when(~whole, F.filter(cuts, lambda c: F.size(c["elements"]) > 0)).alias("cuts"),
        naming.alias("tables"),
        F.lit(False).alias("is_quarantined"),
        F.when(whole, others).otherwise(0).alias("n_others"),
    )


def _by_table(considered: DataFrame) -> DataFrame:
    """One row per place, with a struct for each table in `_t`: what it has there, and what goes."""
    gone = F.when(F.col("names") | F.col("is_erased"), F.col("element"))
    of_table = considered.groupBy(*PLACE, "table_name", "at").agg(
        F.count_if("meant").cast("int").alias("n"),
        F.max(F.col("names") & F.col("meant")).alias("names"),
        F.collect_set(F.when(F.col("meant"), F.col("element"))).alias("elements"),
        F.collect_set(gone).alias("gone"),
        F.count_if("is_of_other").alias("n_others"),
    )
    listed = ("table_name", "at", "n", "names", "elements", "gone", "n_others")
    return of_table.groupBy(*PLACE).agg(F.sort_array(F.collect_list(F.struct(*listed))).alias("_t"))


def _with_whole(
    cut: DataFrame,
    columns: Sequence[int],
    source: Source,
    settings: Settings,
    keys: Collection[str],
) -> DataFrame:
    """Adds `_whole`: rows that name one of the keys still, without the elements that do."""
    if not columns:
        return cut.withColumn("_whole", F.lit(True))
    outside = [F.get("fields", F.lit(i)) for i in range(len(source.columns)) if i not in columns]
    says = F.exists(
        F.array(*outside).cast("array<string>"),
        lambda cell: user_key(trimmed(cell), settings.key).isin(sorted(keys)),
    )
    still = about(cut.select(*LANDED.names), source, settings, keys).withColumn("_still", F.lit(1))
    rows = cut.join(still, list(PLACE), "left")
    named = F.col("_still").isNotNull() | F.coalesce(says, F.lit(False))
    return rows.withColumn("_whole", named)


def _considered(
    landed: DataFrame, source: Source, settings: Settings, keys: Collection[str]
) -> DataFrame:
    """One row per element of a landed row and table that its source feeds: whether it is meant for
    the table, names one of the keys, is erased already, or is a row about somebody else; and the
    raw column of the array."""
    return reduce(
        DataFrame.unionByName,
        (_of_table(landed, source, mapping, settings, keys) for mapping in source.tables),
    )


def _of_table(
    landed: DataFrame,
    source: Source,
    mapping: TableMap,
    settings: Settings,
    keys: Collection[str],
) -> DataFrame:
    rules = rules_for(mapping.table, settings)(source)
    rows = considered(landed, source, mapping, rules)
    whose = F.col("user_key").isNotNull() if "user_key" in rows.columns else F.lit(False)
    is_of_other = F.col("meant") & whose & ~F.col("names") & ~F.col("is_erased")
    return rows.withColumns(
        {
            "table_name": F.lit(mapping.table),
            "at": F.lit(_column(source, mapping)),
            "names": names(rows, rules, keys),
            "is_erased": erased_rows.is_row(F.col("reason")),
        }
    ).select(
        *PLACE,
        "element",
        "table_name",
        "at",
        "meant",
        "names",
        "is_erased",
        is_of_other.alias("is_of_other"),
    )


def _column(source: Source, mapping: TableMap) -> int:
    """Where the column that is the table's array stands among the source's."""
    wanted = (column_of(mapping.each or "") or "").lower()
    lowered = [name.lower() for name in source.columns]
    return lowered.index(wanted) if wanted in lowered else _WHOLE


def _gone_at(at: int) -> Column:
    """The elements of an array that name one of the keys for some table, or were erased before."""
    of_column = F.filter("_t", lambda t: t["at"] == at)
    gone = F.flatten(F.transform(of_column, lambda t: t["gone"]))
    return F.array_sort(F.array_distinct(F.filter(gone, lambda element: element > 0)))


def _cut(columns: Sequence[int], width: int) -> Column:
    """The fields without these elements; an array that cannot be cut stays as it is."""
    without = F.udf(erased_rows.without_elements, "string", useArrow=False)
    cells = [F.get("fields", F.lit(i)) for i in range(width)]
    for at in columns:
        cells[at] = F.coalesce(without(cells[at], F.col(f"_cut_{at}")), cells[at])
    return F.when(F.col("fields").isNotNull(), F.array(*cells))


def _row_said() -> Column:
    entries = F.transform(
        F.filter("_t", lambda t: t["n"] > 0),
        lambda t: F.when(t["n"] == 1, t["table_name"]).otherwise(
            F.concat_ws(" ", t["table_name"], t["n"].cast("string"))
        ),
    )
    return F.concat(F.lit(erased_rows.ROW), F.array_join(entries, ", "))


def _elements_said(columns: Sequence[int]) -> Column:
    entries = F.flatten(F.array(*map(_entries, columns))) if columns else F.array(F.lit(""))
    return F.concat(F.lit(erased_rows.ELEMENTS), F.array_join(F.array_sort(entries), ", "))


def _entries(at: int) -> Column:
    """For each table of an array its elements that go, and in brackets those not meant for it."""
    gone = F.col(f"_cut_{at}")

    def words(table: Column) -> Column:
        return F.transform(
            gone,
            lambda element: F.when(
                F.array_contains(table["elements"], element), element.cast("string")
            ).otherwise(F.concat(F.lit("("), element.cast("string"), F.lit(")"))),
        )

    return F.transform(
        F.filter("_t", lambda t: (t["at"] == at) & (F.size(gone) > 0)),
        lambda t: F.concat_ws(" ", t["table_name"], F.array_join(words(t), " ")),
    )


def blanked(
    landed: DataFrame, source: Source, settings: Settings, keys: Collection[str]
) -> DataFrame:
    """The landed rows, without what they say where they are about `keys`."""
    if not keys or not source.tables:
        return landed
    named = landed.join(about(landed, source, settings, keys), list(PLACE), "left_semi")
    left = blanks(named, source, settings, keys).select(
        *PLACE, F.col("problem").alias("_problem"), F.col("fields").alias("_fields")
    )
    gone = F.col("_problem").isNotNull()
    return (
        landed.join(left, list(PLACE), "left")
        .withColumns(
            {
                "fields": F.when(gone, F.col("_fields")).otherwise(F.col("fields")),
                "row_hash": F.when(gone, F.lit("")).otherwise(F.col("row_hash")),
                "problem": F.coalesce("_problem", "problem"),
            }
        )
        .select(*LANDED.names)
    )


def judgements(
    landed: DataFrame,
    table: str,
    feeds: Sequence[tuple[Source, TableMap]],
    settings: Settings,
    days: Sequence[date],
    dedup_days: int,
    keys: Collection[str],
) -> DataFrame:
    """What cleaning made of the rows of a table that name one of the keys: place, `element` and
    `verdict`."""
    make = rules_for(table, settings)
    rows = verdicts(landed, feeds, make, days, dedup_days, settings.mapping.bots.get(table))
    named = rows.where(names(rows, make(feeds[0][0]), keys))
    return named.select(*PLACE, "element", "verdict")
