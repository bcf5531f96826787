"""The stages that every source table has: its rows are cleaned, and its tiles counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from pyspark.sql import DataFrame

from contracts.clean_tables import clean_table_named
from contracts.content import LEARN_EVERY_DAYS
from contracts.content_tables import CONTENT_SCORES
from contracts.days import DEDUP_DAYS, MAX_DAYS_EARLY
from contracts.mapping import SOURCE_SETTINGS
from contracts.source_table import KNOWN_DAYS, SourceTable, content
from contracts.source_tables.posts import POSTS
from contracts.tables import LANDED, QUARANTINE, RECONCILIATION
from contracts.tile_tables import TILES
from jobs.cleaning import verdicts as cleaning
from jobs.cleaning.fields import NO_MONEY, Context
from jobs.cleaning.rules import rules
from jobs.cleaning.verdicts import Rules
from jobs.features.user_days import tiles_of
from jobs.mapping.sources import Source
from jobs.stage import Inputs, Job, Output, Read, Settings


def rules_for(table: str, settings: Settings) -> Callable[[Source], Rules]:
    """The rules of a clean table for the rows of a source."""
    declared = clean_table_named(table)
    return lambda source: rules(declared, Context.of(settings.key, settings.mapping, source, table))


def clean_job(table: SourceTable) -> Job:
    """The job that judges every landed row which is meant for the table."""

    def compute(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
        feeds = settings.mapping.feeding(table.name)
        rows = cleaning.verdicts(
            inputs[LANDED.name],
            feeds,
            rules_for(table.name, settings),
            days,
            DEDUP_DAYS,
            settings.mapping.bots.get(table.name),
        )
        names_of_lookups = [lookup.name for lookup in settings.mapping.lookups]
        return _cleaned(table, rows, names_of_lookups)

    def depends(settings: Settings, day: date) -> Any:
        feeds = settings.mapping.feeding(table.name)
        judging = [setting.name for setting in SOURCE_SETTINGS if setting.cleaning]
        return [
            settings.key.id,
            repr(settings.mapping.money or NO_MONEY),
            repr((settings.mapping.text, settings.mapping.bots.get(table.name))),
            *(repr((s.name, t, *(getattr(s, name) for name in judging))) for s, t in feeds),
            *(
                repr((s.name, use.lookup.name, use.key, use.on))
                for s, t in feeds
                for use in s.lookups_of(t)
            ),
        ]

    def lookups(settings: Settings, day: date) -> dict[str, str]:
        feeds = settings.mapping.feeding(table.name)
        uses = (use for source, feed in feeds for use in source.lookups_of(feed))
        latest = day + timedelta(days=MAX_DAYS_EARLY)
        return {use.lookup.name: use.lookup.content(latest) for use in uses}

    back = 0 if "landed_on" in table.grain else DEDUP_DAYS
    return Job(
        f"clean_{table.name}",
        f"Keep, count or quarantine every row meant for {table.name}.",
        reads=(Read(LANDED, -back, 1),),
        writes=(table, QUARANTINE, RECONCILIATION),
        compute=compute,
        declared=content((table.fields, table.cleaning)),
        settings=depends,
        lookups=lookups,
    )


def _cleaned(table: SourceTable, rows: DataFrame, lookups: Sequence[str]) -> Output:
    """What became of judged rows; they are computed once for all of it."""
    return Output(
        shared=rows,
        tables={
            table.name: cleaning.clean(rows, table),
            QUARANTINE.name: cleaning.quarantine(rows, table),
            RECONCILIATION.name: cleaning.reconciliation(rows, table, lookups),
        },
    )


def tiles_job(table: SourceTable) -> Job:
    """The job that counts what users did and got per day, as far as the table says."""
    tiles = TILES[table.name]

    def compute(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
        rows = inputs[table.name].where(cleaning.in_days("landed_on", days))
        return Output(
            {
                tiles.name: tiles_of(
                    table,
                    rows,
                    inputs[table.name],
                    inputs.get(POSTS.name),
                    inputs.get(CONTENT_SCORES.name),
                )
            }
        )

    engaged_with = (Read(POSTS, -KNOWN_DAYS, 1),) if table.received else ()
    scored = () if table.scored_text is None else (Read(CONTENT_SCORES, -LEARN_EVERY_DAYS, 1),)
    since = 0 if table.item_mean is None else -KNOWN_DAYS
    return Job(
        tiles.name,
        f"Tiles of {table.name}: counts and sums per user and day.",
        reads=(Read(table, since, 1), *engaged_with, *scored),
        writes=(tiles,),
        compute=compute,
        declared=content((table.measures, table.received, table.item_mean, table.scored_text)),
    )
