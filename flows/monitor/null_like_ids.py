"""Ids that look as if there were none, and what to write in the mapping if they do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from contracts.counts import n_of
from contracts.tables import RECONCILIATION
from flows.monitor.row_counts import of_days
from flows.release.duckdb_views import query
from jobs.mapping.sources import SourceMapping

Said = tuple[str, str, Sequence[str] | None]
"""Source, clean table, and what the reconciliation says of such ids."""


@dataclass(frozen=True)
class NullLike:
    """Rows whose id, as the mapping makes it, looks like no id."""

    source: str
    table: str
    field: str
    """Of the mapping."""
    rows: int
    texts: tuple[str, ...]
    """How they are spelled, some of them if there are many."""
    null_values: tuple[str, ...]
    """What the source takes for no value."""

    @property
    def advice(self) -> str:
        """Where they are, and what to write instead."""
        listed = " or ".join(json.dumps(text, ensure_ascii=False) for text in self.texts)
        values = [*self.null_values, *(t for t in self.texts if t not in self.null_values)]
        first = self.texts[0].replace("\\", "\\\\")
        return (
            f"{self.table} from {self.source}: {n_of(self.rows, 'row has', 'rows have')} the "
            f"{self.field} {listed}, which is taken for an id. If it says that there is none, "
            f"write under [sources.{self.source}]: "
            f"null_values = {json.dumps(values, ensure_ascii=False)}; "
            f"where an expression or an element of `each` gives it: nullif(…, '{first}')"
        )


def summed(rows: Iterable[Said], mapping: SourceMapping) -> tuple[NullLike, ...]:
    """One per source, table and field; the most rows first."""
    null_values = {source.name: source.null_values for source in mapping.sources}
    n: dict[tuple[str, str, str], int] = {}
    texts: dict[tuple[str, str, str], set[str]] = {}
    for source, table, entries in rows:
        for entry in entries or ():
            field, count, *spelled = entry.split(" ")
            of = (source, table, field)
            n[of] = n.get(of, 0) + int(count)
            texts.setdefault(of, set()).update(spelled)
    ids = (NullLike(*of, n[of], tuple(sorted(texts[of])), null_values.get(of[0], ())) for of in n)
    return tuple(sorted(ids, key=lambda one: (-one.rows, one.source, one.table, one.field)))


def null_like_ids(
    database: Path, since: date | None, as_of: date, mapping: SourceMapping
) -> tuple[NullLike, ...]:
    """What the release knows of such ids in rows that landed on `[since, as_of)`."""
    rows = query(
        database,
        f"SELECT source, table_name, null_like_ids FROM {RECONCILIATION.name} "
        f"WHERE {of_days(since, as_of)} AND null_like_ids IS NOT NULL",
    )[1]
    return summed(((source, table, entries) for source, table, entries in rows), mapping)
