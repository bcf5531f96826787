"""Two releases side by side: whose scores moved, and how far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from contracts.counts import n_of
from contracts.errors import UsageError
from contracts.tables import USER_SCORES
from contracts.tasks import TASKS
from flows.lake.home_binding import open_home, open_lake
from flows.lake.lake import Lake
from flows.release.duckdb_views import first_row
from flows.release.parquet_views import read_files
from flows.release.releases import Release, Releases
from flows.settings import NightjarSettings
from flows.storage.duckdb_connections import in_memory


@dataclass(frozen=True)
class Comparison:
    """Per task: users in both, share whose decile moved, overlap of the top decile, shifts."""

    title: str
    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def compare(settings: NightjarSettings, before: str, after: str, as_of: date | None) -> Comparison:
    """Scores of two releases: of `as_of`, else of the newest day of each.

    Raises:
        UsageError: there is no such release, or one of them has no scores of the day.
    """
    engine = open_home(settings)
    releases, lake = Releases(engine), open_lake(settings, engine)
    chosen = releases.named(before), releases.named(after)
    days = tuple(as_of or release.as_of for release in chosen)
    names = (
        "task", "users", "decile moved", "moved 2 or more", "top decile kept", "mean before",
        "mean after", "mean |shift|",
    )  # fmt: skip
    rows = []
    with in_memory() as connection:
        for name, release, day in zip(("a", "b"), chosen, days, strict=True):
            read_files(connection, _files(lake, release, day)).create_view(name)
        only = [first_row(connection, f"SELECT count(*) FROM {x} ANTI JOIN {y} USING (user_key)")[0]
                for x, y in (("a", "b"), ("b", "a"))]  # fmt: skip
        for task in TASKS:
            column, rank = task.score_columns()[0].name, task.percentile
            if task.score_columns()[0].type not in ("float", "double"):
                continue
            found = first_row(connection, _COMPARED.format(score=column, rank=rank))
            if found[0]:
                # Where many share one score, the top decile may be empty.
                shares = ("none" if found[i] is None else f"{found[i]:.1%}" for i in (1, 2, 3))
                rows.append((task.name, found[0], *shares, *(f"{x:.4g}" for x in found[4:])))
    title = (
        f"{chosen[0].release_id} ({days[0]}, model {chosen[0].model_id}) against "
        f"{chosen[1].release_id} ({days[1]}, model {chosen[1].model_id}); "
        f"{n_of(only[0], 'user')} only before, {only[1]:,} only after"
    )
    return Comparison(title, names, tuple(rows))


def _files(lake: Lake, release: Release, day: date) -> list[str]:
    files = lake.files(
        USER_SCORES,
        day,
        day + timedelta(days=1),
        snapshot=release.snapshots[USER_SCORES.name],
    )
    if not files:
        raise UsageError(f"release {release.release_id} has no scores as of {day}")
    return [file.path for file in files]


_COMPARED = """
SELECT count(*), avg((da <> db)::INT), avg((abs(da - db) >= 2)::INT),
       sum((da = 9 AND db = 9)::INT) / nullif(sum((da = 9)::INT), 0),
       avg(sa), avg(sb), avg(abs(sa - sb))
FROM (
    SELECT least(floor(a.{rank} * 10), 9) AS da, least(floor(b.{rank} * 10), 9) AS db,
           a.{score}::DOUBLE AS sa, b.{score}::DOUBLE AS sb
    FROM a JOIN b USING (user_key)
    WHERE a.{score} IS NOT NULL AND b.{score} IS NOT NULL)"""
