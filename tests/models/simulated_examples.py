"""Examples with a known answer, as Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.features import FEATURES
from contracts.kinds import Count, MultiLabel
from contracts.tables import EXAMPLES, USER_FEATURES
from contracts.tasks import TASKS
from models.data.arrow_schema import arrow_schema

NIGHT = date(2025, 12, 1)
DAYS = tuple(NIGHT - timedelta(days=14 * k) for k in range(24, 0, -1))


def features(n: int, as_of: date, seed: int) -> tuple[dict, np.ndarray]:
    """Feature columns of n users, and each user's true strength, which some features show."""
    rng = np.random.default_rng((seed, as_of.toordinal()))
    strength = rng.normal(size=n)
    columns: dict = {"user_key": [f"user{i:05d}" for i in range(n)], "as_of": [as_of] * n}
    for f in FEATURES:
        if f.type in ("bigint", "int"):
            columns[f.name] = rng.poisson(2, n)
        elif f.type == "double":
            columns[f.name] = [None if x < 0.2 else float(x) for x in rng.random(n)]
        elif f.encoding == "id":
            columns[f.name] = [str(x) for x in rng.choice(["a", "b", "c"], n)]
        else:
            columns[f.name] = [None] * n
    columns["n_views_7d"] = np.round(np.exp(strength + 2)).astype(int)
    lengths = rng.integers(0, 6, n)
    columns["text_tokens"] = [
        [1 + int(x > 0)] * int(k) for x, k in zip(strength, lengths, strict=True)
    ]
    values = {
        "seq_verb": "view",
        "seq_item": "i1",
        "seq_category": "books",
        "seq_hours": 5,
        "seq_amount_minor": 0,
    }
    for name, value in values.items():
        columns[name] = [[value] * k for k in lengths]
    return columns, strength


def write_examples(
    folder: Path, n: int = 150, days: Sequence[date] = DAYS, seed: int = 0
) -> tuple[str, ...]:
    """A file per day; labels follow from the strength alone. Open windows are null."""
    paths = []
    for as_of in days:
        columns, s = features(n, as_of, seed)
        rng = np.random.default_rng((seed, 1, as_of.toordinal()))
        buys30 = rng.random(n) < 1 / (1 + np.exp(-2.5 * s))
        buys7 = buys30 & (rng.random(n) < 0.4)
        spend = np.where(buys30, np.exp(6 + 0.5 * s + rng.normal(0, 0.3, n)), 0).astype(int)
        stars = np.clip(np.round(3 + 1.2 * s + rng.normal(0, 0.5, n)), 1, 5).astype(int)
        labels = {
            "purchase_7d": buys7,
            "purchase_30d": buys30,
            "spend_30d": spend,
            "next_rating_90d": stars,
            "sentiment_next_30d": 1 + (stars > 2) + (stars > 3),
            "churn_28d": rng.random(n) < 1 / (1 + np.exp(2 * s)),
            "return_90d": rng.random(n) < 1 / (1 + np.exp(-2 * s)),
            "ad_click_7d": rng.random(n) < 1 / (1 + np.exp(-2 * s)),
        }
        for task in TASKS:
            closed = as_of + timedelta(days=task.closes_after + 2) <= NIGHT
            if isinstance(task.kind, Count):
                outcomes = rng.poisson(np.exp(0.5 + s))
            elif isinstance(task.kind, MultiLabel):
                books, shoes = rng.random(n) < 1 / (1 + np.exp(-2 * s)), rng.random(n) < 0.5
                named = zip(books, shoes, strict=True)
                lists = [["books"] * int(x) + ["shoes"] * int(y) for x, y in named]
                columns[task.label] = [of if closed else None for of in lists]
                continue
            elif task.name.endswith("_fraud_30d"):
                outcomes = rng.random(n) < 0.3 / (1 + np.exp(-2 * s))
            else:
                outcomes = labels[task.name]
            columns[task.label] = [int(x) if closed else None for x in outcomes]
        path = folder / f"{as_of}.parquet"
        pq.write_table(pa.Table.from_pydict(columns, schema=arrow_schema(EXAMPLES)), path)
        paths.append(str(path))
    return tuple(paths)


def write_features(folder: Path, n: int, as_of: date = NIGHT) -> str:
    columns, _ = features(n, as_of, 0)
    path = folder / "features.parquet"
    pq.write_table(
        pa.Table.from_pydict(columns, schema=arrow_schema(USER_FEATURES)), path, row_group_size=100
    )
    return str(path)
