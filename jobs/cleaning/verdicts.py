"""Cleaning, the part that all tables share: judge every landed row, keep, count or quarantine it.

What a table's rows must look like is declared with it, in `contracts/source_tables/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.days import MAX_DAYS_EARLY
from contracts.source_table import SourceTable
from contracts.table import Table
from contracts.table_settings import attributes_of
from contracts.tables import QUARANTINE, RECONCILIATION
from jobs.cleaning import erased_rows, null_like_ids
from jobs.cleaning.elements import expanded
from jobs.cleaning.lookup_join import with_lookups
from jobs.landing.landing import unfolded
from jobs.mapping.expressions import Expression, evaluated
from jobs.mapping.sources import Source, TableMap
from jobs.mapping.time_expressions import as_meant
from jobs.spark.content_hash import content_hash
from jobs.values.trimming import trimmed_fields
from jobs.values.user_key import UserKey

N_ROWS, UNFOUND = "n_rows", "unfound"


def user_key(text: Column, key: UserKey) -> Column:
    """The keyed hash of a user id: RFC 2104 over Spark's sha2, cheaper than a Python worker."""
    inner, outer = (F.unhex(F.lit(pad)) for pad in key.pads)
    message = F.sha2(F.concat(inner, F.encode(text, "UTF-8")), 256)
    return F.substring(F.sha2(F.concat(outer, F.unhex(message)), 256), 1, 32)


@dataclass(frozen=True)
class Check:
    """A row for which `fails` holds is quarantined as `reason`."""

    reason: str
    fails: Column


@dataclass(frozen=True)
class Rules:
    """How the rows of a clean table are made of a mapping's fields, and judged.

    `derive` computes the table's columns, one step after another, over the fields, which are
    columns named `in_…`. `checks` run over both, in order; the first that fails gives the reason.
    """

    table: SourceTable
    derive: tuple[tuple[str, Column], ...]
    checks: tuple[Check, ...]
    id: str
    """Column by which retries of a row are known."""
    dimension: bool = False
    """A dimension keeps the newest row of an id per day; a fact the first within the look-back."""


def expressions_of(mapping: TableMap) -> list[Expression]:
    """All that the mapping says of the table."""
    expressions = [Expression(name, text, f"in_{name}") for name, text in mapping.fields.items()]
    if mapping.where is not None:
        expressions.append(Expression("where", mapping.where, "_where"))
    expressions += [
        Expression(f"reject[{i}]", rule.when, f"reject_{i}")
        for i, rule in enumerate(mapping.rejects)
    ]
    expressions += [
        Expression(f"{attributes_of(mapping.table)}.{name}", text, f"attribute_{name}")
        for name, text in mapping.attributes.items()
    ]
    return expressions


def _as_meant(expression: Expression, table: SourceTable) -> Expression:
    """A time's expression gives a local time where it reads one."""
    if expression.place not in table.time_fields:
        return expression
    return replace(expression, text=as_meant(expression.text), written=expression.text)


def judged(landed: DataFrame, source: Source, mapping: TableMap, rules: Rules) -> DataFrame:
    """One row per landed row meant for the table, with its columns and a `reason` if it is bad.

    Where the mapping says `each`, one per element of such a row; one if it has none.

    Raises:
        UsageError: an expression of the mapping is not valid Spark SQL over the raw columns.
        ContractError: a lookup was not read.
    """
    return considered(landed, source, mapping, rules).where("meant").drop("meant")


def considered(landed: DataFrame, source: Source, mapping: TableMap, rules: Rules) -> DataFrame:
    """The same of every landed row, with whether it is `meant` for the table."""
    problem = F.col("_landed.problem")
    where = f"sources.{source.name}.tables.{mapping.table}"
    expressions = expressions_of(mapping)
    texts = source.texts_of(mapping)
    rows = unfolded(landed, source)
    rows = expanded(rows, mapping.each, texts, source.null_values, where, mapping.table)
    rows = with_lookups(rows, source, mapping)
    rows = evaluated(rows, [_as_meant(e, rules.table) for e in expressions], where)
    nothing = F.lit(None).cast("string")
    # one projection in which later columns see earlier ones: each of its own would be analysed
    # over all before it, which is most of a small day's time
    rows = rows.select(
        "*",
        *(
            nothing.alias(f"in_{field.name}")
            for field in rules.table.fields
            if field.name not in mapping.fields
        ),
        _attributes(mapping).alias("in_attributes"),
        *trimmed_fields(field.name for field in rules.table.fields),
        *(column.alias(name) for name, column in rules.derive),
    )
    reason = F.coalesce(
        problem,
        "_landed.no_element",
        *(("_landed.no_key",) if source.lookups_of(mapping) else ()),
        "_failed",
        *(F.when(check.fails, F.lit(check.reason)) for check in rules.checks),
        *(
            F.when(F.col(f"reject_{i}"), F.lit(rule.reason))
            for i, rule in enumerate(mapping.rejects)
        ),
    )
    columns = [c.name for c in rules.table.columns if c.name != "landed_on"]
    places = ("landed_on", "source", "file", "line", "element", "row_hash")
    return rows.select(
        *columns,
        *(F.col(f"_landed.{name}") for name in places),
        reason.alias("reason"),
        _is_meant(mapping).alias("meant"),
        *null_like_ids.null_like_fields(mapping.table, problem),
        (F.col("_landed.unfound") if source.lookups_of(mapping) else F.lit(None))
        .cast("array<string>")
        .alias("unfound"),
    )


def _is_meant(mapping: TableMap) -> Column:
    """Whether a row is meant for the table: of an erased one, whether it was."""
    problem = F.col("_landed.problem")
    meant = F.lit(True)
    if mapping.where is not None:
        meant = problem.isNotNull() | F.coalesce("_where", F.lit(True))
    was_meant = erased_rows.said_of(problem, mapping.table).isNotNull()
    return F.when(erased_rows.is_row(problem), was_meant).otherwise(meant)


def _attributes(mapping: TableMap) -> Column:
    """Name and value of each further attribute, as a list."""
    pairs = (
        F.struct(
            F.lit(name).alias("name"), F.col(f"attribute_{name}").cast("string").alias("value")
        )
        for name in mapping.attributes
    )
    return F.array(*pairs).cast("array<struct<name: string, value: string>>")


def with_verdict(
    rows: DataFrame, rules: Rules, dedup_days: int, max_rows: int | None = None
) -> DataFrame:
    """Adds `verdict`: clean, duplicate, quarantined or erased; conflicts get their reason.

    A fact is compared with the first valid row of its id that landed in the `dedup_days` before it
    or on the same day: the same content is a duplicate, other content a conflict. A dimension is
    compared with the newest row of its id on the same day. A user who did more than `max_rows`
    things on a day is a bot, and none of those that landed together are kept, nor their repeats.
    """
    rows = rows.select(
        "*",
        F.struct("landed_on", "source", "file", "line", "element").alias("_place"),
        content_hash(_content(rules)).alias("_content"),
        F.datediff("landed_on", F.lit("1970-01-01")).cast("bigint").alias("_day"),
        F.col("reason").isNull().alias("_valid"),
    )
    here = F.struct("_place", "_content")
    if max_rows is not None:
        rows = _without_bots(rows, rules, dedup_days, max_rows)
    else:
        rows = rows.withColumns({"_first": here, "_is_busy": F.lit(False)})
    rows = rows.withColumn("_id", _or_alone(F.col("_valid"), F.col(rules.id)))
    valid = F.col("reason").isNull()
    if rules.dimension:
        rows = _with_newest(rows, valid)
        clash = "superseded on the same day"
    else:
        rows = _with_first(rows, valid, here, dedup_days)
        clash = f"{rules.id}: conflicts with an earlier row of the same id"
    same = F.col("_content") == F.col("_kept._content")
    rows = rows.withColumn("reason", F.when(valid & ~same, F.lit(clash)).otherwise(F.col("reason")))
    return rows.withColumn(
        "verdict",
        F.when(erased_rows.is_row(F.col("reason")), "erased")
        .when(F.col("reason").isNotNull(), "quarantined")
        .when(F.col("_place") == F.col("_first"), "clean")
        .otherwise("duplicate"),
    )


def _with_newest(rows: DataFrame, valid: Column) -> DataFrame:
    """Adds `_kept`, what the newest row of the id says on that day, and `_first`, where it does."""
    same_day = Window.partitionBy("_id", "landed_on")
    newest = F.struct("occurred_at", "_content")
    rows = rows.withColumn("_kept", F.max(F.when(valid, newest)).over(same_day))
    first = F.min(F.when(newest == F.col("_kept"), F.col("_place"))).over(same_day)
    return rows.withColumn("_first", first)


def _with_first(rows: DataFrame, valid: Column, here: Column, dedup_days: int) -> DataFrame:
    """Adds `_kept`, what the first row of the id in the look-back says, and `_first`, where."""
    of_id = Window.partitionBy("_id").orderBy("_day")
    # those of a busy day that were kept are known by their repeats, in `_first`
    before = F.min(F.when(F.col("_valid") & ~F.col("_is_busy"), here))
    kept = F.least(
        before.over(of_id.rangeBetween(-dedup_days, -1)),
        F.min(F.when(valid, here)).over(of_id.rangeBetween(0, 0)),
        "_first",
    )
    return rows.withColumn("_kept", kept).withColumn("_first", F.col("_kept._place"))


def _or_alone(wanted: Column, value: Column) -> Column:
    """The value that rows share, or for unwanted rows one of their own.

    Rows that share a null share a window's partition as well: a day on which a million rows are
    quarantined would be sorted by one task.
    """
    numbers = (F.col(f"_place.{name}").cast("string") for name in ("line", "element"))
    own = F.concat_ws("\x1f", "_place.source", "_place.file", *numbers)
    return F.when(wanted, value).otherwise(own)


def _without_bots(rows: DataFrame, rules: Rules, dedup_days: int, max_rows: int) -> DataFrame:
    """The rows, those of bots with that as their reason; `_first`, the first row in the look-back
    that a row repeats, and `_is_busy`, whether so much landed with it that it may be a bot's.

    Counted is what a user is said to have done on one day, as far as it landed together and for the
    first time in the look-back; repeats share the fate of the first. Years of history that land at
    once are no busy day, and what has no time is of none.

    A row's fate must follow from its own look-back alone: a run of many days sees more before it
    than a run of one. Where the day may have begun to land before that, all that landed with the
    first row counts, for nobody can say which of it was repeated.
    """
    counted = F.col("_valid") & F.col("user_key").isNotNull() & F.col("occurred_at").isNotNull()
    rows = rows.select(
        "*",
        counted.alias("_counted"),
        _or_alone(counted, F.col("user_key")).alias("_whose"),
        F.to_date("occurred_at").alias("_of"),
    )
    # one exchange for all windows: who repeats a row says the same user and time
    rows = rows.repartition("_whose", "_of")
    of_id = Window.partitionBy("_whose", "_of", rules.id).orderBy("_day")
    of_id = of_id.rangeBetween(-dedup_days, 0)
    of_day = Window.partitionBy("_whose", "_of", "_day")
    first = F.min(F.when(F.col("_valid"), F.struct("_place", "_content"))).over(of_id)
    rows = rows.withColumn("_first", first)
    rows = rows.withColumn("_again", F.col("_first._place.landed_on") < F.col("landed_on"))
    # distinct ids by their rank, those that are there for the first time before the others
    rows = rows.withColumn("_rank", F.dense_rank().over(of_day.orderBy("_again", rules.id)))
    n_new = F.max(F.when(~F.col("_again"), F.col("_rank"))).over(of_day)
    n_all = F.max("_rank").over(of_day)
    rows = rows.select("*", F.struct("_day", n_new.alias("new"), n_all.alias("all")).alias("_n"))
    rows = rows.withColumn("_n_first", F.min("_n").over(of_id))
    begins_in_sight = F.datediff("landed_on", "_of") <= dedup_days - MAX_DAYS_EARLY
    n_counted = F.when(F.col("_again") & ~begins_in_sight, F.col("_n_first.all"))
    n_counted = n_counted.otherwise(F.coalesce("_n_first.new", F.lit(0)))
    bot = F.col("_counted") & (n_counted > max_rows)
    reason = F.when(bot, bot_reason(max_rows)).otherwise(F.col("reason"))
    rows = rows.withColumn("reason", reason).withColumn("_is_busy", F.col("_n.all") > max_rows)
    return rows.drop("_counted", "_whose", "_of", "_again", "_rank", "_n", "_n_first")


def bot_reason(max_rows: int) -> str:
    return f"user_id: a bot, more than {max_rows} rows in a day"


def _content(rules: Rules) -> list[str]:
    """Columns that make two rows of the same id the same; a dimension's time is not one."""
    apart = {"landed_on", "occurred_at"} if rules.dimension else {"landed_on"}
    return [name for name in rules.table.names if name not in apart]


def verdicts(
    landed: DataFrame,
    feeds: Sequence[tuple[Source, TableMap]],
    make: Callable[[Source], Rules],
    days: Sequence[date],
    dedup_days: int,
    max_rows: int | None = None,
) -> DataFrame:
    """One row per row that landed on `days` and was meant for the table, with its verdict.

    `landed` must also hold the `dedup_days` before each of `days`.
    """
    rules_of_feeds = [make(source) for source, _ in feeds]
    rules = rules_of_feeds[0]
    back = 0 if rules.dimension else dedup_days
    wanted = {d - timedelta(days=n) for d in days for n in range(back + 1)}
    rows = reduce(
        DataFrame.unionByName,
        (
            judged(
                landed.where((F.col("source") == source.name) & in_days("landed_on", wanted)),
                source,
                mapping,
                of_source,
            )
            for (source, mapping), of_source in zip(feeds, rules_of_feeds, strict=True)
        ),
    )
    return with_verdict(rows, rules, dedup_days, max_rows).where(in_days("landed_on", days))


def in_days(column: str, days: Iterable[date]) -> Column:
    """Whether a date column is one of `days`; as text, for thousands of literals take seconds."""
    listed = ", ".join(f"date'{day}'" for day in sorted(set(days)))
    return F.expr(f"{column} in ({listed})") if listed else F.lit(False)


def clean(rows: DataFrame, table: Table) -> DataFrame:
    """The rows that are kept."""
    return rows.where(F.col("verdict") == "clean").select(*table.names)


def quarantine(rows: DataFrame, table: Table) -> DataFrame:
    """One row per row that was dropped for a reason."""
    return (
        rows.where(F.col("verdict") == "quarantined")
        .select(
            "landed_on",
            F.lit(table.name).alias("table_name"),
            "source",
            "reason",
            "file",
            "line",
            "element",
            "row_hash",
        )
        .select(*QUARANTINE.names)
    )


def reconciliation(rows: DataFrame, table: Table, lookups: Iterable[str] = ()) -> DataFrame:
    """One row per source and day: rows in, and what became of them.

    Beside the table's columns `N_ROWS`, the landed rows that they are, or are elements of; and
    `UNFOUND`, for each of `lookups` that lacks keys, how many rows have such a key.
    """

    def n(verdict: str) -> Column:
        return F.count_if(F.col("verdict") == verdict).alias(f"n_{verdict}")

    return (
        rows.groupBy("landed_on", "source")
        .agg(
            F.count("*").alias("n_in"),
            n("clean"),
            n("duplicate"),
            n("quarantined"),
            n("erased"),
            null_like_ids.counted(table.name).alias("null_like_ids"),
            F.count_if(F.col("element") <= 1).alias(N_ROWS),
            _unfound(lookups).alias(UNFOUND),
        )
        .withColumn("table_name", F.lit(table.name))
        .select(*RECONCILIATION.names, N_ROWS, UNFOUND)
    )


def _unfound(lookups: Iterable[str]) -> Column:
    """An aggregate: rows by the name of a lookup that has no row for their key."""
    counts = (
        F.struct(
            F.lit(name).alias("lookup"),
            F.count_if(F.array_contains("unfound", name)).alias("rows"),
        )
        for name in lookups
    )
    listed = F.array(*counts).cast("array<struct<lookup: string, rows: bigint>>")
    return F.map_from_entries(F.filter(listed, lambda one: one["rows"] > 0))
