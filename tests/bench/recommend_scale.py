"""`make bench-recommend-scale`: what recommendations of more and more users cost, as JSON lines.

`python -m tests.bench.recommend_scale HOME --users 2000 20000`: what is known as of HOME's newest
night is written again and again under other user keys, each copy a network of its own among the
same goods, and every stage from the catalogue to the lists is run on it in a process of its own. A
line says its CPU-seconds, also per user, and the most memory that it and its children held; the
last lines say by which power of the users each stage's CPU-seconds grow from the fewest to the most.
HOME is a simulated market's, after a night; its mapping is the market's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.clean_tables import CLEAN_TABLES
from contracts.days import ONE_DAY
from contracts.ranking_config import RankingConfig
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.spec_json import encode
from contracts.specs import JobSpec, RankDay, RankInputs, RankSpec, RetrieveDay, RetrieveSpec
from contracts.surfaces import SURFACES, ranker_days
from contracts.tables import USER_FEATURES
from flows.cli.main import DEMO_KEY
from flows.lake.lake import Lake
from flows.release.releases import Releases
from flows.state.schema import open_database
from jobs.stages import job_named
from tests.conftest import REPOSITORY

MAPPING = REPOSITORY / "infra/sources/market.toml"
SPARK_STAGES = ("rec_items", "rec_histories", "rec_popular", "rec_candidates")
_OF_USERS = ("user_key", "followed_key")
_SHOWN = 2_000
"""Characters of what a stage that failed wrote."""
_ABOUT = ("items", "users", "follows", "blocks", "posts")
"""Clean tables that the stages read besides interactions."""

Files = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Night:
    """What a home knows as of its newest night, and as of the days that its rankers learn from."""

    as_of: date
    days: tuple[date, ...]
    files: Files
    n_users: int


def night_of(home: Path) -> Night:
    """The newest released night of a home.

    Raises:
        SystemExit: it has none with recommendations.
    """
    release = Releases(open_database(f"sqlite:///{home / 'nightjar.db'}")).current()
    lake = Lake(home / "lake")
    known = {file.path for file in lake.files(REC_ITEMS)}
    if release is None or not known:
        raise SystemExit(f"{home}: no night with recommendations has been released")
    night = release.as_of
    past = ranker_days(SURFACES, RankingConfig().learn_days, night, date.min)
    days = tuple(day for day in (*past, night) if lake.files(REC_ITEMS, day, day + ONE_DAY))
    files = {
        table.name: tuple(f.path for f in lake.files(table, None, night))
        for table in (*(t for t in CLEAN_TABLES if t.name in _ABOUT), INTERACTIONS)
    }
    features = [f for day in days for f in lake.files(USER_FEATURES, day, day + ONE_DAY)]
    files[USER_FEATURES.name] = tuple(dict.fromkeys(f.path for f in features))
    of_night = lake.files(USER_FEATURES, night, night + ONE_DAY)
    return Night(night, days, files, sum(f.rows for f in of_night))


def multiplied(night: Night, n_users: int, folder: Path) -> Files:
    """The files' rows, as often as makes about `n_users` users, each time of other users."""
    copies = max(round(n_users / night.n_users), 1)
    return {
        name: tuple(
            _written(pq.ParquetFile(path), copies, folder / f"{name}-{i:04d}.parquet")
            for i, path in enumerate(paths)
        )
        if name not in ("items", "posts")
        else paths
        for name, paths in night.files.items()
    }


def _written(file: pq.ParquetFile, copies: int, path: Path) -> str:
    """A file with the rows of another, once for each copy; the first keeps its keys. A day of
    features is sorted by user, as ranking reads it."""
    if path.name.startswith(USER_FEATURES.name):
        rows = file.read()
        tables = [_renamed(rows, k) for k in range(copies)]
        pq.write_table(pa.concat_tables(tables).sort_by("user_key"), path, compression="zstd")
        return str(path)
    with pq.ParquetWriter(path, file.schema_arrow, compression="zstd") as writer:
        for k in range(copies):
            for batch in file.iter_batches(1 << 16):
                writer.write_table(_renamed(pa.Table.from_batches([batch]), k))
    return str(path)


def _renamed(rows: pa.Table, k: int) -> pa.Table:
    """The rows of the k-th copy of their users."""
    if k == 0:
        return rows
    for name in (*_OF_USERS, "target_id"):
        if name in rows.column_names:
            other = pc.binary_replace_slice(rows[name], 0, 6, f"{k:06x}")
            if name == "target_id":
                other = pc.if_else(pc.equal(rows["target_kind"], "user"), other, rows[name])
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, rows.schema.field(place), other.cast(rows[name].type))
    return rows


@dataclass(frozen=True)
class Measured:
    """What a stage came to."""

    seconds: float
    cpu_seconds: float
    peak_mebibytes: int
    report: Mapping[str, Any]


def measured(words: Sequence[str], spec: Any, folder: Path) -> Measured:
    """Run a stage in a process of its own and watch it."""
    spec_path, report = folder / "spec.json", folder / "report.json"
    spec_path.write_text(encode(spec))
    report.unlink(missing_ok=True)
    environment = {**os.environ, "NIGHTJAR_KEY": DEMO_KEY, "OMP_NUM_THREADS": "1"}
    parent = ["--parent", str(os.getpid())] if words[0] == "models" else []
    started, peak, used = time.monotonic(), 0, dict[int, float]()
    log = folder / "log"
    with log.open("w") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, str(spec_path), str(report), *parent],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=lines,
        )
    while process.poll() is None:
        tree = list(_tree(process.pid))
        peak = max(peak, sum(_resident(of) for of in tree))
        used |= {of: max(used.get(of, 0.0), _cpu_seconds(of)) for of in tree}
        time.sleep(0.1)
    found = json.loads(report.read_text()) if report.exists() else {}
    if "error" in found:
        raise SystemExit(f"{' '.join(words)}: {found['error']}")
    if process.returncode or not found:
        raise SystemExit(f"{' '.join(words)} failed:\n{log.read_text()[-_SHOWN:]}")
    return Measured(time.monotonic() - started, sum(used.values()), peak >> 20, found)


def _tree(pid: int) -> Iterator[int]:
    """A process and all that descend from it, from whichever of its threads."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue
        for child in found:
            yield from _tree(int(child))


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _cpu_seconds(pid: int) -> float:
    """What a process has used by itself: nobody adds up what Java's has, which ends with ours."""
    try:
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def stages(night: Night, files: Files, folder: Path) -> Iterator[tuple[str, Measured]]:
    """Every stage in its order, each on what those before have written."""
    files = dict(files)
    by_day: dict[str, dict[date, tuple[str, ...]]] = {}
    for name in SPARK_STAGES:
        reads = {read.table.name for read in job_named(name).reads}
        inputs = {table: files.get(table, ()) for table in reads}
        spec = JobSpec(
            inputs, night.days, str(folder / name), str(MAPPING), night.as_of, settle_days=2
        )
        done = measured(("jobs", name), spec, folder)
        by_day[name] = {
            date.fromisoformat(day): tuple(written["files"])
            for day, written in done.report["written"][name].items()
        }
        files[name] = tuple(path for paths in by_day[name].values() for path in paths)
        yield name, done
    retrieved = {day: str(folder / f"retrieved-{day}.parquet") for day in night.days}
    retrieve = RetrieveSpec(
        tuple(surface.for_candidates for surface in SURFACES),
        tuple(
            RetrieveDay(
                day,
                by_day[REC_ITEMS.name][day],
                by_day[REC_HISTORIES.name][day],
                path,
                str(folder / "parts"),
            )
            for day, path in retrieved.items()
        ),
        RankingConfig(),
    )
    yield REC_RETRIEVED.name, measured(("models", "retrieve"), retrieve, folder)

    def inputs_of(day: date) -> RankInputs:
        tables = (REC_ITEMS, REC_HISTORIES, REC_POPULAR, REC_CANDIDATES)
        known = (by_day[table.name][day] for table in tables)
        return RankInputs(day, *known, (retrieved[day],), files[USER_FEATURES.name])

    rank = RankDay(
        inputs_of(night.as_of),
        tuple(inputs_of(day) for day in night.days[:-1]),
        files[INTERACTIONS.name],
        champion=None,
        folder=str(folder / "ranker"),
        release_id="scale",
        path=str(folder / "lists.parquet"),
        scratch=str(folder / "shards"),
    )
    yield "rank", measured(("models", "rank"), RankSpec(SURFACES, (rank,), RankingConfig()), folder)


def exponent(few: tuple[int, float], many: tuple[int, float]) -> float:
    """By which power of the users a figure grows: 1 where its share of each user stays the same."""
    return math.log(many[1] / few[1]) / math.log(many[0] / few[0])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--users", type=int, nargs="+", default=[2_000, 20_000])
    o = parser.parse_args(arguments)
    night = night_of(o.home.absolute())
    cpu: dict[str, list[tuple[int, float]]] = {}
    for n in sorted(o.users):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            files = multiplied(night, n, folder)
            n_users = night.n_users * max(round(n / night.n_users), 1)
            n_tiles = sum(pq.read_metadata(path).num_rows for path in files[INTERACTIONS.name])
            for stage, done in stages(night, files, folder):
                cpu.setdefault(stage, []).append((n_users, done.cpu_seconds))
                line = {
                    "users": n_users, "interactions": n_tiles, "days": len(night.days),
                    "stage": stage, "seconds": round(done.seconds, 1),
                    "cpu_seconds": round(done.cpu_seconds, 1),
                    "cpu_ms_per_user": round(1000 * done.cpu_seconds / n_users, 3),
                    "peak_mebibytes": done.peak_mebibytes,
                }  # fmt: skip
                print(json.dumps(line), flush=True)
    for stage, figures in cpu.items():
        if len(figures) > 1:
            power = exponent(figures[0], figures[-1])
            print(json.dumps({"stage": stage, "cpu_grows_with_users_to_the": round(power, 2)}))


if __name__ == "__main__":
    main()
