"""Where rows about a person lie, and how the tables made of raw rows lose them.

Found before anything is rewritten and kept until all of it is: an erasure that was killed half-way
goes on from what it found, for blanked rows can no longer be told from others' blanked rows.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Engine, null, select, update

from contracts.clean_tables import CLEAN_TABLES
from contracts.days import DEDUP_DAYS
from contracts.table import Table
from contracts.tables import LANDED, RECONCILIATION
from flows.database import ERASED
from flows.forget import Change
from flows.night import Night
from jobs import erasing
from jobs.io import read_table

Place = tuple[str, str, int]
"""Source, file and line."""


@dataclass(frozen=True)
class Traces:
    """Where raw rows about a person lie, and what cleaning had made of them."""

    tables: Mapping[Place, str]
    """Place to the tables that the row was meant for."""
    days: tuple[date, ...]
    """Days on which they landed."""
    counts: Mapping[tuple[str, str, date], Mapping[str, int]]
    """Clean table, source and day to how many of them were kept, duplicates, or quarantined, and
    how many other rows were erased before."""
    rows: dict[str, int] = field(default_factory=dict)
    """Table to the rows taken out of or changed in its newest snapshot so far."""

    def as_json(self) -> dict[str, Any]:
        """For the row of somebody who is being erased, from which a second try goes on."""
        return {
            "tables": [[*place, tables] for place, tables in self.tables.items()],
            "days": [day.isoformat() for day in self.days],
            "counts": [[t, s, d.isoformat(), dict(n)] for (t, s, d), n in self.counts.items()],
            "rows": self.rows,
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> Traces:
        """What `as_json` gave."""
        return cls(
            {(s, f, line): tables for s, f, line, tables in kept["tables"]},
            tuple(date.fromisoformat(day) for day in kept["days"]),
            {(t, s, date.fromisoformat(d)): n for t, s, d, n in kept["counts"]},
            dict(kept["rows"]),
        )


def unfinished(engine: Engine, key: str) -> Traces | None:
    """What an erasure that did not come to its end had found."""
    with engine.connect() as connection:
        kept = connection.execute(select(ERASED.c.traces).where(ERASED.c.user_key == key)).scalar()
    return None if kept is None else Traces.of_json(kept)


def keep(engine: Engine, key: str, found: Traces) -> None:
    """Remember what was found, and what was done of it so far."""
    _set(engine, key, traces=found.as_json())


def keep_first(
    engine: Engine, key: str, found: Traces, reached: Collection[str], root: Path
) -> None:
    """Remember what was found, before the first row is rewritten, and the files under `root` that
    tables lead to: once some are replaced, they cannot be told from what others left."""
    _set(
        engine,
        key,
        traces=found.as_json(),
        reached=sorted(os.path.relpath(path, root) for path in reached),
    )


def reached_before(engine: Engine, key: str, root: Path) -> frozenset[str]:
    """Files that tables led to when the erasure began."""
    with engine.connect() as connection:
        kept = connection.execute(select(ERASED.c.reached).where(ERASED.c.user_key == key)).scalar()
    return frozenset(os.path.normpath(root / path) for path in kept or ())


def drop(engine: Engine, key: str) -> None:
    """Remember nothing of it any more."""
    _set(engine, key, traces=null(), reached=null())


def _set(engine: Engine, key: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(ERASED).where(ERASED.c.user_key == key).values(**values))


def find(night: Night, keys: Collection[str]) -> Traces:
    """Look through everything that landed for rows about `keys`."""
    tables: dict[Place, list[str]] = {}
    days: set[date] = set()
    named: dict[str, set[date]] = {}
    for source in night.mapping.sources:
        files = night.lake.files(LANDED, where={"source": [source.name]})
        if not files or not source.tables:
            continue
        landed = read_table(night.spark, LANDED, [f.path for f in files])
        landed = landed.where(landed.source == source.name)
        for row in erasing.about(landed, source, night.job_settings, keys).collect():
            tables.setdefault((row.source, row.file, row.line), []).append(row.table_name)
            days.add(row.landed_on)
            if row.names:
                named.setdefault(row.table_name, set()).add(row.landed_on)
    counts: dict[tuple[str, str, date], dict[str, int]] = {}
    for table in CLEAN_TABLES:
        if table.name in named:
            for judged in _judged(night, table, sorted(named[table.name]), keys):
                place = (table.name, judged["source"], judged["landed_on"])
                at = counts.setdefault(place, {})
                at[judged["verdict"]] = at.get(judged["verdict"], 0) + 1
    _with_erased(night, counts)
    listed = {place: ", ".join(sorted(names)) for place, names in tables.items()}
    return Traces(listed, tuple(sorted(days)), counts)


def _judged(
    night: Night, table: Table, days: Sequence[date], keys: Collection[str]
) -> list[dict[str, Any]]:
    back = {date.fromordinal(d.toordinal() - n) for d in days for n in range(DEDUP_DAYS + 1)}
    landed = read_table(
        night.spark, LANDED, [f.path for f in night.lake.files_of_days(LANDED, back)]
    )
    feeds = night.mapping.feeding(table.name)
    rows = erasing.judgements(landed, table.name, feeds, night.job_settings, days, DEDUP_DAYS, keys)
    return [row.asDict() for row in rows.collect()]


def _with_erased(night: Night, counts: dict[tuple[str, str, date], dict[str, int]]) -> None:
    """Adds how many rows of each place are counted as erased so far."""
    days = {day for _, _, day in counts}
    for file in night.lake.files_of_days(RECONCILIATION, days):
        for row in pq.read_table(file.path, partitioning=None).to_pylist():
            at = counts.get((row["table_name"], row["source"], row["landed_on"]))
            if at is not None:
                at["erased"] = row.get("n_erased") or 0


def _places(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(
        rows["source"], rows["file"], rows["line"].cast(pa.string()), "\x1f"
    )


def _wanted(found: Traces) -> dict[str, str]:
    return {f"{s}\x1f{f}\x1f{n}": tables for (s, f, n), tables in found.tables.items()}


def blanking(found: Traces) -> Change:
    """Landed rows keep their place, and which tables they were meant for."""
    wanted = _wanted(found)

    def change(rows: pa.Table) -> pa.Table | None:
        places = _places(rows)
        gone = pc.is_in(places, value_set=pa.array(list(wanted), pa.string()))
        if not pc.any(gone).as_py():
            return None
        told = pa.array(
            [erasing.ERASED + wanted[p] if p in wanted else None for p in places.to_pylist()],
            pa.string(),
        )
        for name, value in (
            ("fields", pa.scalar(None, rows.schema.field("fields").type)),
            ("row_hash", pa.scalar("", pa.string())),
            ("problem", told),
        ):
            at = rows.schema.get_field_index(name)
            field = rows.schema.field(name)
            rows = rows.set_column(at, field, pc.if_else(gone, value, rows[name]).cast(field.type))
        return rows

    return change


def dropping(found: Traces) -> Change:
    """Quarantined rows whose raw row is blanked go; their hash is one of what they said."""
    wanted = pa.array(list(_wanted(found)), pa.string())

    def change(rows: pa.Table) -> pa.Table | None:
        kept = rows.filter(pc.invert(pc.is_in(_places(rows), value_set=wanted)))
        return None if kept.num_rows == rows.num_rows else kept

    return change


def recounting(found: Traces) -> Change:
    """Rows that were kept, duplicates or in quarantine are counted as erased, once."""

    def change(rows: pa.Table) -> pa.Table | None:
        listed = rows.to_pylist()
        touched = False
        for row in listed:
            counts = found.counts.get((row["table_name"], row["source"], row["landed_on"]), {})
            row["n_erased"] = row.get("n_erased") or 0
            if row["n_erased"] >= sum(counts.values()):
                continue
            for verdict in ("clean", "duplicate", "quarantined"):
                n = min(counts.get(verdict, 0), row[f"n_{verdict}"])
                row[f"n_{verdict}"] -= n
                row["n_erased"] += n
                touched |= n > 0
        return pa.Table.from_pylist(listed, rows.schema) if touched else None

    return change
