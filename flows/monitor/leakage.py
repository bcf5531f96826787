"""Leakage canaries: users and rows that no feature of the past can tell apart, if none leaks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
from pyspark.sql import DataFrame, SparkSession
from sqlalchemy import Engine

from contracts.clean_tables import CLEAN_TABLES
from contracts.counts import n_of
from contracts.errors import ContractError, UsageError
from contracts.features import FEATURES
from contracts.kinds import Binary
from contracts.specs import ScoreDay, ScoreDaysSpec
from contracts.tables import NO_MODEL, USER_FEATURES
from contracts.tasks import TASKS
from flows.engine.model_process import run_models
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.lifecycle.progress import Say
from flows.release.duckdb_views import first_row
from flows.release.model_registry import Registry
from flows.release.parquet_views import read_files
from flows.release.releases import Releases
from flows.storage.duckdb_connections import in_memory
from jobs.features.without_tiles import altered_after, features_from_clean, with_canaries
from jobs.spark.files import read_table, write_days

SHARE, SEED, SIGMAS = 0.5, 20, 4.0
"""Users who get twins; and how far from 0.5 an AUC may lie by chance, in standard errors."""


@dataclass(frozen=True)
class Canaries:
    """What was planted, and what found it."""

    cut: date
    n_pairs: int
    features: Mapping[str, int]
    """Users by feature that told twins apart."""
    altered: Mapping[str, int]
    """Users by feature that changed with rows after the cut."""
    tasks: Mapping[str, tuple[float, float]]
    """AUC with which a task's score tells twins apart, and how far from 0.5 chance allows."""

    @property
    def problems(self) -> list[str]:
        lines = [
            f"  {name}: tells {n_of(n, 'pair')} of twins apart" for name, n in self.features.items()
        ]
        lines += [f"  {name}: changes for {n_of(n, 'user')} with rows after the cut"
                 for name, n in self.altered.items()]  # fmt: skip
        lines += [
            f"  {name}: the score tells twins apart with AUC {auc:.3f}, chance allows "
            f"{0.5 - allowed:.3f} to {0.5 + allowed:.3f}"
            for name, (auc, allowed) in self.tasks.items()
            if abs(auc - 0.5) > allowed
        ]
        return lines

    def check(self) -> None:
        """Refuse features that know the future.

        Raises:
            ContractError: naming each.
        """
        if self.problems:
            raise ContractError(
                "\n".join([f"the future leaks into features as of {self.cut}:", *self.problems])
            )


def canary(run: Run, cut: date, say: Say) -> Canaries:
    """Plant canaries in the clean rows of the home, and find features that depend on them.

    Twins share their past and differ only in what comes after `cut`; beside them all rows after
    `cut` are altered. Features as of `cut` are computed of both worlds, and twins are scored with
    the model of the current release.

    Raises:
        UsageError: nothing landed before `cut`, or after it.
    """
    spark = run.spark.session
    clean = {
        table.name: read_table(spark, table, [f.path for f in run.lake.files(table)])
        for table in CLEAN_TABLES
    }
    planted = with_canaries(clean, cut, SHARE, SEED)
    worlds = {"planted": planted, "altered": altered_after(planted, cut, SEED)}
    files = {}
    for name, world in worlds.items():
        say(f"canary: features of the {name} world as of {cut}")
        folder = run.scratch_files(f"canary_{name}")
        files[name] = _features(spark, world, cut, folder)
    n_pairs, seen, moved = compare_twins(files["planted"], files["altered"], cut)
    with in_memory() as connection:
        tasks = _scored(run.context, run.engine, connection, files["planted"], cut, say)
    return Canaries(cut, n_pairs, seen, moved, tasks)


def compare_twins(
    planted: Sequence[str], altered: Sequence[str], cut: date
) -> tuple[int, dict[str, int], dict[str, int]]:
    """Pairs of twins, features that tell them apart, and features that differ between worlds.

    Raises:
        UsageError: nobody, or no twin, is known before `cut`.
    """
    if not planted or not altered:
        raise UsageError(f"--as-of {cut}: nobody is known before it")
    with in_memory() as connection:
        read_files(connection, planted).create_view("planted")
        read_files(connection, altered).create_view("altered")
        pairs = (
            "planted a JOIN planted b ON a.user_key[-2:] = '-0' AND b.user_key[-2:] = '-1' "
            "AND a.user_key[:-3] = b.user_key[:-3]"
        )
        n_pairs = int(first_row(connection, f"SELECT count(*) FROM {pairs}")[0])
        if not n_pairs:
            raise UsageError(f"--as-of {cut}: no user with a past is known before it")
        seen = _differing(connection, pairs)
        moved = _differing(connection, "planted a JOIN altered b USING (user_key)")
        for one, other in (("planted", "altered"), ("altered", "planted")):
            (only,) = first_row(
                connection, f"SELECT count(*) FROM {one} ANTI JOIN {other} USING (user_key)"
            )
            if only:
                moved["user_key"] = moved.get("user_key", 0) + int(only)
    return n_pairs, seen, moved


def _features(
    spark: SparkSession, world: Mapping[str, DataFrame], cut: date, folder: str
) -> list[str]:
    """Files of the features of a world, written into `folder`."""
    rows = features_from_clean(world, [cut])
    return list(write_days(spark, rows, USER_FEATURES, [cut], folder)[cut].files)


def _differing(connection: duckdb.DuckDBPyConnection, joined: str) -> dict[str, int]:
    """Features that differ between the rows `a` and `b` of a join, and for how many."""
    counts = (
        connection.execute(
            "SELECT "
            + ", ".join(f"count_if(a.{f.name} IS DISTINCT FROM b.{f.name})" for f in FEATURES)
            + f" FROM {joined}"
        ).fetchone()
        or ()
    )
    return {f.name: int(n) for f, n in zip(FEATURES, counts, strict=True) if n}


def _scored(
    context: RunContext,
    engine: Engine,
    connection: duckdb.DuckDBPyConnection,
    files: Sequence[str],
    cut: date,
    say: Say,
) -> dict[str, tuple[float, float]]:
    """How well scores tell twins with a future from those without; nothing without a model."""
    current = Releases(engine).current()
    if current is None or current.model_id == NO_MODEL:
        return {}
    folder, key = context.process_folder, context.settings.key_of_weights()
    spec = ScoreDay(
        files=tuple(files),
        as_of=cut,
        model=str(Registry(context.settings).fetch(current.model_id)),
        release_id="canary",
        path=f"{folder}/canary/{cut}.parquet",
        scratch=str(folder / "canary"),
    )
    report = run_models(ScoreDaysSpec((spec,)), folder, say, key)["days"][0]
    read_files(connection, [report["path"]]).create_view("scores")
    aucs = {}
    for task in TASKS:
        if task.name not in report["tasks"] or not isinstance(task.kind, Binary):
            continue
        row = first_row(
            connection,
            f"""
            WITH twins AS (
                SELECT score_{task.name} AS s, user_key[-1:] = '1' AS live FROM scores
                WHERE user_key[-2:] IN ('-0', '-1')),
            ranked AS (
                SELECT live, rank() OVER (ORDER BY s) + (count(*) OVER (PARTITION BY s) - 1) / 2
                    AS r FROM twins)
            SELECT count_if(live), count_if(NOT live), sum(CASE WHEN live THEN r END) FROM ranked
            """,
        )
        if row[0] and row[1]:
            n, m = int(row[0]), int(row[1])
            auc = (float(row[2]) - n * (n + 1) / 2) / (n * m)
            aucs[task.name] = (auc, SIGMAS * math.sqrt((n + m + 1) / (12 * n * m)))
    return aucs


def default_cut(newest: date) -> date:
    """A month before the newest released day, so that there is a future to leak."""
    return newest - timedelta(days=30)
