"""Leakage canaries of recommendations: items that only exist later, which no list may hold, and
later rows, which may change none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import duckdb
from pyspark.sql import DataFrame

from contracts.clean_tables import CLEAN_TABLES
from contracts.counts import n_of
from contracts.errors import ContractError, UsageError
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_LISTS,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.specs import RankDay, RankInputs, RankSpec, RetrieveDay, RetrieveSpec
from contracts.table import Table
from contracts.tables import USER_FEATURES
from flows.engine.model_process import run_models
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.lifecycle.progress import Say
from flows.release.parquet_views import read_files
from flows.storage.duckdb_connections import in_memory
from jobs.candidates.canaries import CANARY, known_before, with_later_targets
from jobs.recommendations_from_clean import recommendations_from_clean
from jobs.spark.files import read_table

SHARE, SEED = 0.3, 20
"""Of all rows that are said again of an item, ad, post or user that only exists later."""
COMPARED = (REC_ITEMS, REC_HISTORIES, REC_POPULAR, REC_CANDIDATES, REC_RETRIEVED, REC_LISTS)

FilesByTable = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class ListCanaries:
    """What was planted into recommendations, and where it was found."""

    cut: date
    n_rows: int
    """Rows that were compared."""
    n_listed: Mapping[str, int]
    """Surface to the items of all its lists together."""
    shown: Mapping[str, int]
    """Table and surface to the rows with an item that only exists after the cut."""
    moved: Mapping[str, int]
    """Table and surface to the rows that one of the worlds has alone."""

    @property
    def problems(self) -> list[str]:
        return [
            *(f"  {name}: {n_of(n, 'row')} with what only exists later"
              for name, n in self.shown.items()),
            *(f"  {name}: {n_of(n, 'row')} that {'is' if n == 1 else 'are'} there only without "
              "later rows, or only with them" for name, n in self.moved.items()),
        ]  # fmt: skip

    def check(self) -> None:
        """Refuse lists that know the future.

        Raises:
            ContractError: naming each table and surface.
        """
        if self.problems:
            raise ContractError(
                "\n".join(
                    [f"the future leaks into recommendations as of {self.cut}:", *self.problems]
                )
            )


def list_canary(run: Run, cut: date, say: Say) -> ListCanaries | None:
    """Make every table of recommendations as of `cut` twice, of what was known then, and of all
    that is known now with targets besides that only exist later; None where no surface is on.

    Raises:
        UsageError: nobody is known before `cut`.
    """
    context = run.context
    if not context.surfaces:
        return None
    spark = run.spark.session
    clean = {
        table.name: read_table(spark, table, [f.path for f in run.lake.files(table)])
        for table in CLEAN_TABLES
    }
    past = run.days.ranker_days(cut)
    folder = run.scratch_files("list_canary")
    files = {}
    for name, world in (
        ("known", known_before(clean, cut)),
        ("planted", with_later_targets(clean, cut, SHARE, SEED)),
    ):
        say(f"canary: recommendations of the {name} world as of {cut}")
        files[name] = lists_from_clean(context, world, cut, past, f"{folder}/{name}", say)
    if not files["known"][REC_LISTS.name]:
        raise UsageError(f"--as-of {cut}: nobody is known before it")
    return compare_worlds(files["known"], files["planted"], cut)


def lists_from_clean(
    context: RunContext,
    clean: Mapping[str, DataFrame],
    cut: date,
    past: Sequence[date],
    folder: str,
    say: Say,
) -> FilesByTable:
    """Files as of `cut` of each table of recommendations, lists as well.

    Args:
        context: what the run knows.
        clean: every clean table, all rows.
        cut: as of which.
        past: days that rankers learn from.
        folder: for all files.
        say: takes lines.
    """
    days = (*past, cut)
    written = recommendations_from_clean(clean, days, context.job_settings, folder)

    def of_day(table: Table, day: date) -> tuple[str, ...]:
        return written[table.name][day].files

    config = context.settings.ranking
    retrieved = {day: f"{folder}/{REC_RETRIEVED.name}/{day}.parquet" for day in days}
    retrieve = RetrieveSpec(
        tuple(surface.for_candidates for surface in context.surfaces),
        tuple(
            RetrieveDay(
                day,
                of_day(REC_ITEMS, day),
                of_day(REC_HISTORIES, day),
                retrieved[day],
                scratch=f"{folder}/parts",
            )
            for day in days
        ),
        config,
    )
    key = context.settings.key_of_weights()
    run_models(retrieve, context.process_folder, say, key)

    def inputs(day: date) -> RankInputs:
        return RankInputs(
            day,
            items=of_day(REC_ITEMS, day),
            histories=of_day(REC_HISTORIES, day),
            popular=of_day(REC_POPULAR, day),
            candidates=of_day(REC_CANDIDATES, day),
            retrieved=(retrieved[day],),
            user_features=of_day(USER_FEATURES, day),
        )

    landed = written[INTERACTIONS.name]
    rank = RankDay(
        inputs(cut),
        tuple(inputs(day) for day in past),
        tuple(dict.fromkeys(p for day in landed if day < cut for p in landed[day].files)),
        champion=None,
        folder=f"{folder}/ranker",
        release_id="canary",
        path=f"{folder}/lists.parquet",
        scratch=f"{folder}/shards",
    )
    spec = RankSpec(context.surfaces, (rank,), config)
    report = run_models(spec, context.process_folder, say, key)["days"][0]
    return {
        **{table.name: of_day(table, cut) for table in COMPARED if table.name in written},
        REC_RETRIEVED.name: (retrieved[cut],),
        REC_LISTS.name: tuple(report["paths"]) if report["rows"] else (),
    }


def compare_worlds(known: FilesByTable, planted: FilesByTable, cut: date) -> ListCanaries:
    """Rows as of `cut` that name what only exists later, and those that differ."""
    n_rows, shown, moved = 0, dict[str, int](), dict[str, int]()
    n_listed: dict[str, int] = {}
    with in_memory() as connection:
        for table in COMPARED:
            for world, files in (("known", known), ("planted", planted)):
                _create_view(connection, table, world, files[table.name], cut)
            n_rows += sum(_by_surface(connection, "SELECT surface FROM planted").values())
            canaries = f"SELECT surface FROM planted WHERE {_NAMES_CANARY}"
            others = (
                "SELECT surface FROM (FROM planted EXCEPT ALL FROM known) UNION ALL "
                "SELECT surface FROM (FROM known EXCEPT ALL FROM planted)"
            )
            for found, query in ((shown, canaries), (moved, others)):
                counts = _by_surface(connection, query)
                found |= {f"{table.name} of {name}": n for name, n in counts.items()}
        listed = "SELECT surface FROM (SELECT surface, unnest(item_ids) FROM planted)"
        n_listed = _by_surface(connection, listed)  # of the last of the tables, the lists
    return ListCanaries(cut, n_rows, n_listed, shown, moved)


_NAMES_CANARY = f"contains(CAST(planted AS text), '{CANARY}')"
"""Of a row as one text."""


def _create_view(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    name: str,
    files: Sequence[str],
    cut: date,
) -> None:
    if files:
        read_files(connection, files).create_view(f"{name}_files", replace=True)
        columns = ", ".join(f'"{column}"' for column in table.names)
        connection.execute(
            f"CREATE OR REPLACE VIEW {name} AS SELECT {columns} FROM {name}_files "
            f"WHERE as_of = DATE '{cut}'"
        )
    else:
        columns = ", ".join(f'NULL AS "{column}"' for column in table.names)
        connection.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {columns} WHERE false")


def _by_surface(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, int]:
    rows = connection.execute(
        f"SELECT surface, count(*) FROM ({query}) GROUP BY surface ORDER BY surface"
    ).fetchall()
    return {name: int(n) for name, n in rows}
