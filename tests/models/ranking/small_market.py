"""Past days and a day to rank of a market whose answer is known.

Two sources suggest ten of forty items each to every user, in random order. What is in both lists is
bought next, the rest is not: neither list says so alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.ranking_config import RankingConfig
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.specs import RankDay, RankInputs, RankSpec
from contracts.surface_settings import configured
from contracts.surfaces import Surface
from contracts.table import Table
from models.data.arrow_schema import arrow_schema
from models.ranking.candidates import ACTIVITY
from tests.models.ranking.hand_made_tables import history, item

DAY = date(2025, 6, 1)
ITEMS = [f"i{n:02d}" for n in range(40)]
USERS = [f"u{n:03d}" for n in range(200)]
CONFIG = RankingConfig(min_learn_users=20, processes=1)
PRODUCTS: Surface = next(
    s
    for s in configured({"products": {"sources": ["popular_10d", "together", "factors"]}})
    if s.name == "products"
)
LISTED = 10


def candidate(user_key: str, source: str, items: Sequence[str], **fields: Any) -> dict[str, Any]:
    """A row of `rec_candidates` or `rec_retrieved`, with scores from 1 down."""
    scores = [1 / (place + 1) for place in range(len(items))]
    return {
        "surface": "products", "user_key": user_key, "fold": 0, "source": source,
        "item_ids": list(items), "scores": scores, "because": [""] * len(items), **fields,
    }  # fmt: skip


def bought(user_key: str, item_id: str, day: date, event: str = "order") -> dict[str, Any]:
    """A row of `interactions`."""
    measures = {"n": 1, "units": 1, "amount_minor": 1, "sum_stars": 0, "sum_positions": 0}
    return {
        "user_key": user_key, "target_kind": "item", "target_id": item_id, "event": event,
        "day": day, "landed_on": day, **measures,
    }  # fmt: skip


def write_table(
    folder: Path, table: Table, rows: Sequence[Mapping[str, Any]], as_of: date, n_files: int = 1
) -> tuple[str, ...]:
    """The rows, sorted by grain, dealt out to files."""
    names = [name for name in table.grain if name != "as_of"]
    rows = sorted(({**row, "as_of": as_of} for row in rows), key=lambda r: [r[n] for n in names])
    paths = []
    for i in range(n_files):
        path = folder / f"{table.name}-{i}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = pa.Table.from_pylist(rows[i::n_files], arrow_schema(table))
        pq.write_table(part, path, row_group_size=50)
        paths.append(str(path))
    return tuple(paths)


def suggested(as_of: date) -> list[tuple[list[str], list[str]]]:
    """Of each user, what the two sources suggest."""
    rng = np.random.default_rng(as_of.toordinal())
    pairs = []
    for _ in USERS:
        shuffled = [ITEMS[i] for i in rng.permutation(len(ITEMS))]
        both, others = shuffled[:3], shuffled[3:]
        first, second = [*both, *others[:7]], [*both, *others[7:14]]
        rng.shuffle(first)
        rng.shuffle(second)
        pairs.append((first, second))
    return pairs


def write_day(folder: Path, as_of: date, n_files: int = 1) -> RankInputs:
    """What is known as of a day."""
    lists = suggested(as_of)
    popular = {
        "surface": "products", "segment": "all", "source": "popular_10d",
        "item_ids": ITEMS[:5], "scores": [5.0, 4.0, 3.0, 2.0, 1.0],
    }  # fmt: skip
    together = [candidate(u, "together", first) for u, (first, _) in zip(USERS, lists, strict=True)]
    factors = [candidate(u, "factors", second) for u, (_, second) in zip(USERS, lists, strict=True)]

    def files(table: Table, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        return write_table(folder / str(as_of), table, rows, as_of, n_files)

    return RankInputs(
        as_of,
        items=files(REC_ITEMS, [item(name) for name in ITEMS]),
        histories=files(REC_HISTORIES, [history(user) for user in USERS]),
        popular=files(REC_POPULAR, [popular]),
        candidates=files(REC_CANDIDATES, together),
        retrieved=files(REC_RETRIEVED, factors),
        user_features=_user_features(folder / str(as_of), as_of),
    )


def _user_features(folder: Path, as_of: date) -> tuple[str, ...]:
    """The columns that rankers ask for; of the last user nothing is known."""
    path = folder / "user_features.parquet"
    known = USERS[:-1]
    columns = {name: pa.array([3] * len(known), pa.int64()) for name in ACTIVITY}
    days = pa.array([as_of] * len(known), pa.date32())
    pq.write_table(pa.table({"user_key": known, "as_of": days, **columns}), path)
    return (str(path),)


def answers(as_of: date) -> list[list[str]]:
    """Of each user, what is in both lists."""
    return [sorted({*first} & {*second}) for first, second in suggested(as_of)]


def write_purchases(folder: Path, days: Sequence[date]) -> tuple[str, ...]:
    """What users bought in the days after some days: of what is in both lists, the second and, on
    another day, the third; the first they merely like."""
    rows = []
    for as_of in days:
        for user, (liked, *found) in zip(USERS, answers(as_of), strict=True):
            rows += [bought(user, name, as_of + timedelta(n)) for n, name in enumerate(found)]
            rows.append(bought(user, liked, as_of, "like"))
    path = folder / "interactions.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(INTERACTIONS)), path)
    return (str(path),)


def rank_day(folder: Path, n_files: int = 1, n_past: int = 3) -> RankDay:
    """A day to rank and the days before it."""
    past = [DAY - timedelta(30 * k) for k in range(n_past, 0, -1)]
    return RankDay(
        inputs=write_day(folder / "in", DAY, n_files),
        past=tuple(write_day(folder / "in", day, n_files) for day in past),
        interactions=write_purchases(folder / "in", past),
        champion=None,
        folder=str(folder / "ranker"),
        release_id="r1",
        path=str(folder / "lists.parquet"),
        scratch=str(folder / "scratch"),
    )


def elsewhere(day: RankDay, folder: Path, **changes: Any) -> RankDay:
    """The same day with what is written in another folder."""
    return replace(
        day,
        folder=str(folder / "ranker"),
        path=str(folder / "lists.parquet"),
        scratch=str(folder / "scratch"),
        **changes,
    )


def spec_of(day: RankDay, surface: Surface = PRODUCTS, config: RankingConfig = CONFIG) -> RankSpec:
    return RankSpec((surface,), (day,), config)
