"""`python -m tests.bench.list_oracle RAW`: the newest lists of a home beside what could be known.

RAW is the folder of a simulated market's raw logs with its `truth/`; the home and the key come from
the settings (`make night` and then `make oracle` for the demo's). The oracle ranks by the goals that
each user is to reach with each item, in closed form; what users then chose is simulated too. Neither
what a user has or blocked counts, unless the surface shows it again.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from contracts.days import ONE_DAY
from contracts.recommendation_tables import REC_HISTORIES, REC_LISTS
from contracts.surfaces import Surface
from flows.lake.lake import Lake
from flows.release.parquet_views import read_files
from flows.release.releases import Releases
from flows.settings import read_settings
from flows.state.schema import open_database
from flows.storage.duckdb_connections import in_memory
from jobs.values.user_key import UserKey
from tests.bench.recommend_oracle import ids_of

K = 10
Lists = Mapping[str, Sequence[str]]
"""User to items, best first."""


@dataclass(frozen=True)
class Truth:
    """What each user would choose of a surface, and what the user then chose."""

    expected: Mapping[str, Mapping[str, float]]
    """User to the goals to expect of each item, the most first."""
    chosen: Mapping[str, Collection[str]]

    def without(self, hidden: Mapping[str, Collection[str]]) -> Truth:
        """The same without what each user is not shown."""
        none: frozenset[str] = frozenset()
        return Truth(
            {
                user: {item: n for item, n in of.items() if item not in hidden.get(user, none)}
                for user, of in self.expected.items()
            },
            {
                user: {item for item in of if item not in hidden.get(user, none)}
                for user, of in self.chosen.items()
            },
        )


def ndcg(lists: Lists, chosen: Mapping[str, Collection[str]]) -> float:
    """Mean nDCG@10 of users who chose something: binary gain, ideal min(n, 10)."""
    weights = 1 / np.log2(np.arange(K) + 2)
    figures = []
    for user, items in chosen.items():
        if items:
            hits = [item in items for item in list(lists.get(user, ()))[:K]]
            figures.append(weights[: len(hits)][hits].sum() / weights[: len(items)].sum())
    return float(np.mean(figures)) if figures else float("nan")


def expected_share(lists: Lists, truth: Truth) -> float:
    """Goals to expect of the lists' first ten, of those of the best ten of each user."""
    found = best = 0.0
    for user, of in truth.expected.items():
        found += sum(of.get(item, 0.0) for item in list(lists.get(user, ()))[:K])
        best += sum(list(of.values())[:K])
    return found / best if best else float("nan")


def read_truth(raw: Path, surface: str, night: date, key: UserKey) -> Truth:
    """The truth as of a night, by the keys and ids that tables have."""
    place = f"as_of={night}/{surface}.parquet"
    best = pq.read_table(raw / "truth/preferences" / place).to_pydict()
    then = pq.read_table(raw / "truth/outcomes" / place).to_pydict()
    expected = {
        key.of(user): dict(zip(ids_of(surface, items, key).tolist(), values, strict=True))
        for user, items, values in zip(
            best["user_id"], best["item_ids"], best["values"], strict=True
        )
    }
    chosen: dict[str, set[str]] = {}
    names = ids_of(surface, then["item_id"], key).tolist()
    for user, item in zip(then["user_id"], names, strict=True):
        chosen.setdefault(key.of(user), set()).add(item)
    return Truth(expected, chosen)


def hidden_of(files: Sequence[str], surface: Surface, night: date) -> dict[str, set[str]]:
    """User to what is not shown: what the user blocked, or has, unless it may be shown again."""
    rows = _rows(files, "item_ids, owned, blocked", surface, night, "fold = 0")
    return {
        user: {
            item
            for item, is_owned, is_blocked in zip(*arrays, strict=True)
            if is_blocked or (is_owned and not surface.repeats)
        }
        for user, *arrays in rows
    }


def _rows(
    files: Sequence[str], columns: str, surface: Surface, night: date, where: str = "true"
) -> list[tuple[str, ...]]:
    with in_memory() as connection:
        read_files(connection, files).create_view("files")
        return connection.execute(
            f"SELECT user_key, {columns} FROM files WHERE surface = ? AND as_of = ? AND {where}",
            [surface.name, night],
        ).fetchall()


def lines(raw: Path) -> Iterator[str]:
    """A row of a Markdown table for each surface."""
    settings = read_settings()
    release = Releases(open_database(settings.receipts_url)).current()
    if release is None or REC_LISTS.name not in release.snapshots:
        raise SystemExit("no lists have been released")
    lake, night, key = Lake(settings.home_folder.lake), release.as_of, settings.user_key()
    span, snapshot = (night, night + ONE_DAY), release.snapshots[REC_LISTS.name]
    lists = [f.path for f in lake.files(REC_LISTS, *span, snapshot=snapshot)]
    histories = [f.path for f in lake.files(REC_HISTORIES, *span)]
    for surface in settings.configured_surfaces:
        truth = read_truth(raw, surface.name, night, key)
        truth = truth.without(hidden_of(histories, surface, night))
        shown = dict(_rows(lists, "item_ids", surface, night))
        best = {user: list(of) for user, of in truth.expected.items()}
        ours, oracle = ndcg(shown, truth.chosen), ndcg(best, truth.chosen)
        n = sum(bool(items) for items in truth.chosen.values())
        yield (
            f"| {surface.name} | {n:,} | {ours:.4f} | {oracle:.4f} | {ours / oracle:.2f} | "
            f"{expected_share(shown, truth):.2f} |"
        )


def main() -> None:
    print(
        "| surface | users who chose something | nDCG@10 of the lists | of the oracle | share | "
        "share of the goals to expect |\n|---|--:|--:|--:|--:|--:|"
    )
    for line in lines(Path(sys.argv[1])):
        print(line, flush=True)


if __name__ == "__main__":
    main()
