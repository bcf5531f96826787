"""Tiles: what each user did and got on each UTC day, by the day on which it landed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from contracts.clean_tables import CLEAN_TABLES, clean_table_named
from contracts.content_tables import CONTENT_SCORES
from contracts.measures import ITEM_MEASURES, MEASURES, N_EVENTS
from contracts.source_table import KNOWN_DAYS, ItemMean, Measure, SourceTable
from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.source_tables.posts import POSTS
from contracts.table import Table
from contracts.tile_tables import ITEM_DAYS, LATE_DATA, TILES, USER_DAYS, USER_ITEM_DAYS
from jobs.features.content_scores import beside_scores
from jobs.features.events import Facts, done


def tiles_of(
    table: SourceTable,
    rows: DataFrame,
    before: DataFrame | None = None,
    posts: DataFrame | None = None,
    scores: DataFrame | None = None,
) -> DataFrame:
    """One row per user, UTC day on which something in the table happened, and day on which it
    landed.

    A row that lands late makes a tile of its own, so no earlier tile is ever rebuilt. Of tables
    with an `item_mean`, `before` has the rows and those of the `KNOWN_DAYS` before; of tables with
    `received` measures, `posts` has the posts of as long; of tables with a `scored_text`, `scores`
    has what heads of content say of it, if any do.
    """
    contract, measures = TILES[table.name], (N_EVENTS, *table.measures)
    mine = done(rows)
    if table.item_mean is not None and before is not None:
        mine = _beside_items(mine, before, table.item_mean)
    if table.scored_text is not None:
        mine = beside_scores(mine, table.scored_text, scores)
    tiles = _counted(mine, measures)
    if table.received and posts is not None:
        got = _counted(received(rows, posts), table.received)
        tiles = _added((tiles, got), contract, (*measures, *table.received))
    return tiles.select(*contract.names)


def tiles_of_all(facts: Facts) -> list[DataFrame]:
    """The tiles of every table; `facts` have all that a tile may know."""
    return [
        tiles_of(
            clean_table_named(name),
            facts[name],
            facts[name],
            facts[POSTS.name],
            facts.get(CONTENT_SCORES.name),
        )
        for name in TILES
    ]


def united(tiles: Iterable[DataFrame]) -> DataFrame:
    """Tiles of several tables with the columns of `USER_DAYS`: as many rows per user, day and
    landing day as tables have one, which is the same to a sum."""
    return reduce(DataFrame.unionByName, (_with_all(rows, USER_DAYS) for rows in tiles))


def user_days(tiles: Iterable[DataFrame]) -> DataFrame:
    """One row per user, UTC day on which something happened, and day on which it landed: tiles of
    several tables in one."""
    return _added(tiles, USER_DAYS, MEASURES)


def _beside_items(rows: DataFrame, before: DataFrame, mean: ItemMean) -> DataFrame:
    """Adds `item_mean_milli`: of the item's rows that landed on the `KNOWN_DAYS` before each."""
    days = before.groupBy("item_id", "landed_on").agg(
        F.count("*").alias("n"), F.sum(mean.column).alias("total")
    )
    of_item = Window.partitionBy("item_id").orderBy(F.unix_date("landed_on"))
    earlier = of_item.rangeBetween(-KNOWN_DAYS, -1)

    def known(name: str, usual: int) -> Column:
        return F.coalesce(F.sum(name).over(earlier), F.lit(0)) + usual

    means = days.select(
        "item_id",
        "landed_on",
        known("n", mean.weight).alias("n"),
        known("total", mean.usual * mean.weight).alias("total"),
    ).select("item_id", "landed_on", F.expr("1000 * total div n").alias("item_mean_milli"))
    return rows.join(means, ["item_id", "landed_on"])


def _counted(rows: DataFrame, measures: Iterable[Measure]) -> DataFrame:
    return rows.groupBy("user_key", F.to_date("occurred_at").alias("day"), "landed_on").agg(
        *(F.expr(measure.sql).cast("bigint").alias(measure.name) for measure in measures)
    )


def _added(tiles: Iterable[DataFrame], table: Table, measures: Iterable[Measure]) -> DataFrame:
    return (
        reduce(DataFrame.unionByName, (_with_all(rows, table) for rows in tiles))
        .groupBy(*table.grain)
        .agg(*((F.sum if m.combine == "sum" else F.max)(m.name).alias(m.name) for m in measures))
        .select(*table.names)
    )


def _with_all(tiles: DataFrame, table: Table) -> DataFrame:
    """Tiles with all columns of a table; what they do not count is 0."""
    return tiles.select(
        *(
            F.col(name) if name in tiles.columns else F.lit(0).cast("bigint").alias(name)
            for name in table.names
        )
    )


def authored(engagements: DataFrame, posts: DataFrame) -> DataFrame:
    """One row per engagement with a post whose author is known: adds `author_key`.

    Only posts that had landed count, so a tile never changes. An id used again after months means
    the first post.
    """
    written = posts.select(
        F.col("post_id").alias("target_id"),
        F.col("user_key").alias("author_key"),
        F.col("landed_on").alias("_written"),
    )
    kept = ("engagement_id", "user_key", "verb", "occurred_at", "landed_on")
    return (
        engagements.where("target_kind = 'post'")
        .join(written, "target_id")
        .where(F.col("_written").between(F.date_sub("landed_on", KNOWN_DAYS), F.col("landed_on")))
        .groupBy(*kept)
        .agg(F.min(F.struct("_written", "author_key")).alias("_first"))
        .select(*kept, F.col("_first.author_key"))
    )


def received(engagements: DataFrame, posts: DataFrame) -> DataFrame:
    """One row per engagement that somebody else had with a user or a user's post."""
    direct = engagements.where("target_kind = 'user'").withColumn("author_key", F.col("target_id"))
    columns = ("author_key", "user_key", "verb", "occurred_at", "landed_on")
    return (
        direct.select(*columns)
        .unionByName(authored(engagements, posts).select(*columns))
        .where("user_key is null or user_key <> author_key")
        .drop("user_key")
        .withColumnRenamed("author_key", "user_key")
    )


def user_item_days(facts: Facts, posts: DataFrame) -> DataFrame:
    """One row per user, thing, UTC day on which they met, and day on which it landed.

    A thing is an order placed, an item, another user (followed, paid, engaged with in person or
    through a post), or a device.
    """
    met = [
        (_rows_with(thing.where, done(facts[table.name])), thing.kind, thing.column)
        for table in CLEAN_TABLES
        for thing in table.things
    ]
    met.append((authored(done(facts[ENGAGEMENTS.name]), posts), "counterpart", "author_key"))
    return (
        reduce(
            DataFrame.unionByName,
            (
                rows.where(f"{thing} is not null and {thing} <> user_key").select(
                    "user_key",
                    F.lit(kind).alias("kind"),
                    F.col(thing).alias("thing_id"),
                    F.to_date("occurred_at").alias("day"),
                    "landed_on",
                )
                for rows, kind, thing in met
            ),
        )
        .distinct()
        .select(*USER_ITEM_DAYS.names)
    )


def _rows_with(where: str | None, rows: DataFrame) -> DataFrame:
    return rows if where is None else rows.where(where)


def late_data(tiles: DataFrame) -> DataFrame:
    """One row per user, day and later day on which rows of it landed: what came late."""
    return (
        tiles.where("landed_on > day")
        .withColumn("days_late", F.datediff("landed_on", "day"))
        .select(*LATE_DATA.names)
    )


def item_days(facts: Facts) -> DataFrame:
    """One row per item, UTC day on which something happened to it, and day on which it landed."""
    rows = reduce(
        DataFrame.unionByName,
        (
            _of_items(table, done(facts[table.name]))
            for table in CLEAN_TABLES
            if table.item_measures
        ),
    )
    return (
        rows.groupBy("item_id", "day", "landed_on")
        .agg(*(F.sum(m.name).alias(m.name) for m in ITEM_MEASURES))
        .select(*ITEM_DAYS.names)
    )


def _of_items(table: SourceTable, rows: DataFrame) -> DataFrame:
    """What each row of a table adds to the measures of the item that it says."""
    item = next(thing for thing in table.things if thing.kind == "item")
    added = {measure.name: measure.sql for measure in table.item_measures}
    return _rows_with(item.where, rows).select(
        F.col(item.column).alias("item_id"),
        F.to_date("occurred_at").alias("day"),
        "landed_on",
        *(F.expr(added.get(m.name, "0")).cast("bigint").alias(m.name) for m in ITEM_MEASURES),
    )
