"""Released recommendations that did worse than what was popular, or than they used to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from contracts.counts import n_of
from contracts.days import ONE_DAY
from contracts.recommendation_tables import REC_OUTCOMES
from contracts.segments import ALL
from flows.lake.lake import Lake
from flows.release.parquet_views import read_files
from flows.storage.duckdb_connections import in_memory

DAYS_BEFORE = timedelta(days=28)
"""As-of days before one that say what is usual of its surface."""
MIN_DAYS_BEFORE = 3


@dataclass(frozen=True)
class Fall:
    """Lists of a surface that did worse than they may, by more than chance explains."""

    surface: str
    as_of: date
    reached: float
    """nDCG@10 of the lists."""
    beside: float
    """The nDCG@10 that they are below."""
    of: str
    """What reached that."""

    def __str__(self) -> str:
        return (
            f"{self.surface} as of {self.as_of}: the lists reached an nDCG@10 of "
            f"{self.reached:.4g}, {self.of} {self.beside:.4g}"
        )


def fallen_since(lake: Lake, days: Sequence[date]) -> tuple[Fall, ...]:
    """Surfaces whose lists of one of the days have fallen, by what the lake knows."""
    if not days:
        return ()
    files = lake.files(REC_OUTCOMES, min(days) - DAYS_BEFORE, max(days) + ONE_DAY)
    if not files:
        return ()
    with in_memory(threads=1) as connection:
        rows = read_files(connection, [file.path for file in files]).to_arrow_table()
    return fallen(rows.to_pylist(), days)


def fallen(rows: Sequence[Mapping[str, Any]], days: Collection[date]) -> tuple[Fall, ...]:
    """Surfaces whose lists of one of the days are below decayed popularity on the same users, or
    below the mean of the `DAYS_BEFORE`; each beyond its interval over users (95 %).

    Args:
        rows: of `rec_outcomes`, those of the days before among them.
        days: as-of days whose outcomes have become known.
    """
    of_all = {(r["surface"], r["as_of"], r["method"]): r for r in rows if r["segment"] == ALL}
    falls = []
    for (surface, day, method), row in sorted(of_all.items()):
        if method != "published" or day not in days:
            continue
        reached = row["ndcg10"]
        popular = of_all.get((surface, day, "popular"))
        if popular is not None and popular["gain_high"] < 0:
            falls.append(Fall(surface, day, reached, popular["ndcg10"], "decayed popularity"))
        before = [
            other["ndcg10"]
            for (name, earlier, how), other in of_all.items()
            if (name, how) == (surface, method) and day - DAYS_BEFORE <= earlier < day
        ]
        usual = sum(before) / len(before) if len(before) >= MIN_DAYS_BEFORE else None
        if usual is not None and row["high"] < usual:
            falls.append(Fall(surface, day, reached, usual, f"{n_of(len(before), 'day')} before"))
    return tuple(falls)
