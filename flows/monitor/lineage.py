"""Where a row comes from: from a user's scores back to files and lines, and forth again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from pyspark.sql import functions as F

from contracts.clean_tables import CLEAN_TABLES
from contracts.days import ONE_DAY
from contracts.errors import ContractError, UsageError
from contracts.measures import WINDOWS
from contracts.source_table import USER_KEY
from contracts.source_tables.follows import FOLLOWS
from contracts.source_tables.reviews import REVIEWS
from contracts.specs import ExplainSpec, ScoreDay, ScoreDaysSpec
from contracts.table import Table
from contracts.tables import (
    ITEM_FEATURES,
    LANDED,
    NO_MODEL,
    USER_FEATURES,
    USER_SCORES,
    table_named,
)
from contracts.tasks import BY_BASE_RATE, BY_MODEL, TASKS
from contracts.tile_tables import TILES, USER_DAYS, USER_ITEM_DAYS
from flows.engine.model_process import run_models
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.engine.spark_stages import inputs_of
from flows.lake.lake import Lake
from flows.lifecycle.errors import sentence
from flows.lifecycle.progress import Say
from flows.release.duckdb_views import first_row
from flows.release.model_registry import Registry
from flows.release.parquet_views import read_files
from flows.release.releases import Release, Releases
from flows.settings import NightjarSettings
from flows.state.receipts import Receipts
from flows.storage.duckdb_connections import in_memory
from flows.storage.parquet_files import read_rows
from jobs.mapping.sources import SourceMapping
from jobs.spark.files import read_table, write_days
from jobs.stages import job_named

OF_EVERYBODY = frozenset({ITEM_FEATURES.name, REVIEWS.name})
"""Inputs of a user's features of which others' rows say something as well: of items, and of the
words that reviews have."""
SCORE_TOLERANCE = 1e-5
"""Sums of floats differ with the rows beside them in a batch; features must be equal."""


@dataclass
class Origin:
    """Everything that a user's row of a day was made of."""

    user_key: str
    as_of: date
    scores: Mapping[str, Any]
    release: Release
    model: Mapping[str, Any]
    features: Mapping[str, Any]
    computed: Mapping[str, Any]
    """Of the feature row: run, commit, engine, and when."""
    tiles: Sequence[Mapping[str, Any]]
    rows: Sequence[tuple[str, int, date, date]]
    """Clean rows of the user: table, how many, first and last landing day."""
    files: Sequence[tuple[str, str, int]]
    """Raw files of those landing days: source, file, lines."""
    reasons: Mapping[str, Any] = field(default_factory=dict)
    """Per task, the features that moved the score most (`models/evaluation/explanations.py`)."""
    mismatches: list[str] = field(default_factory=list)
    """What came out differently when it was recomputed; nothing if all of it matched."""


def explain(run: Run, who: str, day: date, say: Say) -> Origin:
    """The origin of a user's scores as of a day, with features and scores recomputed.

    `who` is a `user_key`, or a raw user id, which is hashed.

    Raises:
        ContractError: there is no release.
        UsageError: it has no such user or day.
    """
    release = Releases(run.engine).current()
    if release is None:
        raise ContractError("nothing has been released yet: run `nightjar run`")
    lake = run.lake
    scores = _row(lake, USER_SCORES, day, who, release)
    if scores is None:
        hashed = run.context.key.of(who)
        scores, who = _row(lake, USER_SCORES, day, hashed, release), hashed
    if scores is None:
        raise UsageError(
            f"release {release.release_id} has no scores of that user as of {day}; "
            'nightjar sql "SELECT DISTINCT as_of FROM user_scores" lists its days'
        )
    rows = _clean_rows(lake, who, day)
    origin = Origin(
        who,
        day,
        scores,
        release,
        _model(run.settings, run.receipts, str(scores["model_id"])),
        _row(lake, USER_FEATURES, day, who, release) or {},
        _computed(run.receipts, day),
        _tiles(lake, who, day),
        rows,
        _files(lake, run.mapping, rows),
    )
    origin.mismatches += _mismatches(run, origin, say)
    return origin


def _computed(receipts: Receipts, day: date) -> dict[str, Any]:
    """When and how the features of a day were computed; nothing if no receipt says so."""
    receipt = receipts.get("user_features", day)
    if receipt is None:
        return {}
    return {
        "run": receipt.run_id,
        "git commit": receipt.git_commit,
        "computed at": receipt.finished_at,
        "engine": receipt.outputs[USER_FEATURES.name].get("engine", "per-day"),
        "inputs": receipt.fingerprint.inputs,
    }


def _row(lake: Lake, table: Table, day: date, who: str, release: Release) -> dict[str, Any] | None:
    for file in lake.files(table, day, day + ONE_DAY, snapshot=release.snapshots[table.name]):
        rows = read_rows(file.path, filters=[("user_key", "=", who), ("as_of", "=", day)])
        if rows.num_rows:
            row: dict[str, Any] = rows.to_pylist()[0]
            return row
    return None


def _model(settings: NightjarSettings, receipts: Receipts, model_id: str) -> dict[str, Any]:
    """What is known of how a model was trained; of none, that it is none."""
    if model_id == NO_MODEL:
        return {"model": f"{NO_MODEL}: nobody is scored in this release"}
    for day in receipts.days("train"):
        receipt = receipts.get("train", day)
        if receipt is not None and receipt.outputs["model_id"] == model_id:
            return {
                "model": model_id,
                "trained for": day,
                **mlflow_of(Registry(settings), model_id, receipt.outputs["run_id"]),
                "rows": receipt.rows_in,
                "training snapshot": receipt.outputs.get("examples_snapshot"),
                "examples": receipt.fingerprint.inputs,
                "git commit": receipt.git_commit,
            }
    return {"model": model_id, **mlflow_of(Registry(settings), model_id)}


def mlflow_of(registry: Registry, model_id: str, run_id: str | None = None) -> dict[str, Any]:
    """What MLflow knows of a model; of what it does not, the rest is shown all the same."""
    try:
        tags, version = registry.tags(run_id), registry.version(model_id)
    except Exception as error:
        return {"MLflow run": f"{run_id or 'none'}: MLflow cannot be asked: {sentence(error)}"}
    run = f"{run_id or 'none'}: MLflow does not know the run" if tags is None else run_id
    return {"MLflow run": run, "registered version": version or "none", **(tags or {})}


def _tiles(lake: Lake, who: str, day: date) -> list[dict[str, Any]]:
    """The user's tiles in the widest window, as known at `day`."""
    first = day - timedelta(days=max(WINDOWS) + 1)
    nothing = dict.fromkeys((n for n in USER_DAYS.names if n not in USER_DAYS.grain), 0)
    tiles: dict[tuple[date, date], dict[str, Any]] = {}
    for table in TILES.values():
        paths = [f.path for f in lake.files(table, first, day)]
        if not paths:
            continue
        for row in read_rows(*paths, filters=[("user_key", "=", who)]).to_pylist():
            of = {name: row[name] for name in table.grain}
            tile = tiles.setdefault((row["day"], row["landed_on"]), of | nothing)
            tile |= {name: tile[name] + row[name] for name in row.keys() - of.keys()}
    return [tiles[days] for days in sorted(tiles)]


def _clean_rows(lake: Lake, who: str, day: date) -> list[tuple[str, int, date, date]]:
    """Clean tables with rows of a user as of a day: how many, first and last landing day."""
    counts = []
    with in_memory() as connection:
        for table in CLEAN_TABLES:
            paths = [f.path for f in lake.files(table, end=day)]
            if not paths or USER_KEY.name not in table.names:
                continue
            read_files(connection, paths).create_view(table.name)
            row = first_row(
                connection,
                f"SELECT count(*), min(landed_on), max(landed_on) FROM {table.name} "
                "WHERE user_key = ? AND landed_on < ?",
                [who, day],
            )
            if row[0]:
                counts.append((table.name, int(row[0]), row[1], row[2]))
    return counts


def _files(
    lake: Lake, mapping: SourceMapping, rows: Sequence[tuple[str, int, date, date]]
) -> list[tuple[str, str, int]]:
    """Raw files that landed between a user's first and last row of a table, newest first."""
    raw_files: set[tuple[str, str, int]] = set()
    with in_memory() as connection:
        for table, _, first, last in rows:
            sources = [source.name for source, _ in mapping.feeding(table)]
            landed = lake.files(LANDED, first, last + ONE_DAY, {"source": sources})
            paths = [file.path for file in landed]
            if paths:
                read_files(connection, paths).create_view("landed", replace=True)
                raw_files.update(
                    connection.execute(
                        "SELECT source, file, count(*) FROM landed "
                        "WHERE landed_on BETWEEN ? AND ? GROUP BY ALL",
                        [first, last],
                    ).fetchall()
                )
    return sorted(raw_files, key=lambda f: (f[1], f[0]), reverse=True)


def _mismatches(run: Run, origin: Origin, say: Say) -> list[str]:
    """Recompute the user's features from tiles, and the scores with the artifact: what differs."""
    path = _recomputed_features(run, origin, say)
    recomputed = read_rows(path).to_pylist()[0]
    problems = [
        f"feature {name}: {origin.features.get(name)!r} in the lake, {value!r} recomputed"
        for name, value in recomputed.items()
        if origin.features.get(name) != value
    ]
    if origin.scores["model_id"] == NO_MODEL:
        return problems
    recomputed = _recomputed_scores(run.context, run.lake, origin, path, say)
    for name, value in recomputed.items():
        if name.startswith("percentile_") or name not in origin.scores:
            continue  # a rank among all users; a column that the row was published before
        if not _alike(origin.scores[name], value):
            problems.append(f"{name}: {origin.scores[name]!r} published, {value!r} recomputed")
    return problems


def _recomputed_features(run: Run, origin: Origin, say: Say) -> str:
    """The file of the user's row of features, from tiles."""
    job, day, who = job_named("user_features"), origin.as_of, origin.user_key
    say(f"explain: the features of {who[:8]} as of {day} again, from tiles")
    inputs, _ = inputs_of(run.state, run.mapping, job, [day])
    spark = run.spark.session
    frames = {name: read_table(spark, table_named(name), files) for name, files in inputs.items()}
    is_of_user = F.col("user_key") == who
    followed = [
        row[0]
        for row in frames[FOLLOWS.name]
        .where(is_of_user)
        .select("followed_key")
        .distinct()
        .collect()
    ]
    for name, rows in frames.items():
        if name == FOLLOWS.name:
            frames[name] = rows.where(is_of_user | (F.col("followed_key") == who))
        elif name in (*(tiles.name for tiles in TILES.values()), USER_ITEM_DAYS.name):
            frames[name] = rows.where(F.col("user_key").isin([who, *followed]))
        elif USER_KEY.name in rows.columns and name not in OF_EVERYBODY:
            frames[name] = rows.where(is_of_user)
    features = job.compute(frames, [day], run.context.job_settings).tables[USER_FEATURES.name]
    folder = run.scratch_files("explain")
    written = write_days(spark, features.where(is_of_user), USER_FEATURES, [day], folder)
    (path,) = written[day].files
    return path


def _recomputed_scores(
    context: RunContext, lake: Lake, origin: Origin, path: str, say: Say
) -> dict[str, Any]:
    """The row of scores of the features in `path`; what moved them is noted in `origin`."""
    day, runs, key = origin.as_of, context.process_folder, context.settings.key_of_weights()
    model = str(Registry(context.settings).fetch(str(origin.scores["model_id"])))
    base_rates = any(origin.scores.get(task.method) == BY_BASE_RATE for task in TASKS)
    withheld = {  # by the model itself, or as a later night found
        task.name: "it was not published"
        for task in TASKS
        if origin.scores.get(task.method, BY_MODEL) != BY_MODEL
    }
    background = tuple(f.path for f in lake.files(USER_FEATURES, day, day + ONE_DAY))
    origin.reasons = run_models(ExplainSpec(path, background, model, withheld), runs, say, key)
    spec = ScoreDay(
        files=(path,),
        as_of=day,
        model=model,
        release_id=str(origin.scores["release_id"]),
        path=f"{runs}/explain/{day}.parquet",
        scratch=str(runs / "explain"),
        failed_tasks="base_rate" if base_rates else "null",
        withheld=withheld,
    )
    run_models(ScoreDaysSpec((spec,)), runs, say, key)
    row: dict[str, Any] = read_rows(spec.path).to_pylist()[0]
    return row


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= SCORE_TOLERANCE * max(1.0, abs(a))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
