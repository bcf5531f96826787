"""Where rows about a person are, and how tables that hold raw rows, or count them, lose them.

Looked for before anything is rewritten, and kept until all of it is: an erasure that was killed
half-way goes on from that, for blanked rows cannot be told from others' blanked rows any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Row
from sqlalchemy import Engine, null, select, update

from contracts.clean_tables import CLEAN_TABLES
from contracts.content import content_hash
from contracts.days import DEDUP_DAYS
from contracts.erasure import TEXTS_BY, WRITTEN_BY
from contracts.table import Table
from contracts.tables import LANDED, RECONCILIATION
from flows.engine.spark_provider import SparkProvider
from flows.lake.lake import Lake
from flows.lake.named_people import Change
from flows.state.schema import ERASED
from flows.storage.location import join, relative, resolved
from flows.storage.parquet_files import read_rows
from jobs import erasure
from jobs.cleaning import erased_rows
from jobs.erasure import PLACE
from jobs.mapping.sources import Source
from jobs.spark.files import read_table
from jobs.stage import Settings

Place = tuple[str, str, int]
"""Source, file and line."""


@dataclass(frozen=True)
class Blank:
    """What is to be left of a raw row."""

    problem: str
    """What it says then (`jobs/cleaning/erased_rows.py`)."""
    cuts: tuple[tuple[int, tuple[int, ...]], ...] = ()
    """Which elements go of which column, by its place; if there is none, all of the row goes."""
    row_hash: str | None = None
    """Of the row: another one that has taken its place since is not about the person. None if an
    earlier version did not keep it."""


@dataclass(frozen=True)
class PersonalRows:
    """Where raw rows about a person are, and what had become of them in cleaning."""

    blanks: Mapping[Place, Blank]
    days: tuple[date, ...]
    """Days on which they landed."""
    counts: Mapping[tuple[str, str, date], Mapping[str, int]]
    """Clean table, source and day to how many of them were kept, duplicates, or quarantined, and
    how many other rows were erased before."""
    quarantined: frozenset[tuple[str, str, str, int, int]] = frozenset()
    """Those in quarantine: clean table, source, file, line and element."""
    n_others: int = 0
    """Rows of clean tables about others that raw rows hold of which all goes."""
    written: frozenset[str] = frozenset()
    """Ids of what the person wrote that others may have been recommended, and hashes of texts that
    nobody else wrote."""
    rows: dict[str, int] = field(default_factory=dict)
    """Table to the rows taken out of or changed in its newest snapshot so far."""

    def as_json(self) -> dict[str, Any]:
        """For the row of somebody who is being erased, from which a second try goes on."""
        return {
            "blanks": [[*place, b.problem, b.cuts, b.row_hash] for place, b in self.blanks.items()],
            "days": [day.isoformat() for day in self.days],
            "counts": [[t, s, d.isoformat(), dict(n)] for (t, s, d), n in self.counts.items()],
            "quarantined": sorted(self.quarantined),
            "n_others": self.n_others,
            "written": sorted(self.written),
            "rows": self.rows,
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> PersonalRows:
        """What `as_json` gave, also before raw rows were blanked in part, when `tables` said of
        each which it was meant for, and before the hash of each was kept."""
        whole = [(s, f, line, names.split(", ")) for s, f, line, names in kept.get("tables", ())]
        blanks = {
            (s, f, line): Blank(erased_rows.ROW + ", ".join(names)) for s, f, line, names in whole
        }
        blanks |= {
            (s, f, line): Blank(problem, tuple((at, tuple(places)) for at, places in cuts), *of_row)
            for s, f, line, problem, cuts, *of_row in kept.get("blanks", ())
        }
        quarantined = [tuple(place) for place in kept.get("quarantined", ())]
        quarantined += [(name, s, f, line, 0) for s, f, line, names in whole for name in names]
        return cls(
            blanks,
            tuple(date.fromisoformat(day) for day in kept["days"]),
            {(t, s, date.fromisoformat(d)): n for t, s, d, n in kept["counts"]},
            frozenset(quarantined),
            kept.get("n_others", 0),
            frozenset(kept.get("written", ())),
            dict(kept["rows"]),
        )


def written_by(lake: Lake, keys: Collection[str]) -> frozenset[str]:
    """Ids of what these people wrote, as clean tables and catalogues say, also of days past."""
    wanted = pa.array(sorted(keys), pa.string())
    return frozenset(
        item
        for table, name, author in WRITTEN_BY
        for file in lake.files(table)
        for item in read_rows(file.path, columns=[name], filters=pc.field(author).isin(wanted))[
            name
        ].to_pylist()
    )


def texts_of(lake: Lake, keys: Collection[str]) -> frozenset[str]:
    """Hashes of texts that these people wrote, and nobody else has."""
    wanted = pa.array(sorted(keys), pa.string())
    ours: set[str] = set()
    for table, text, author in TEXTS_BY:
        if author is None:
            continue
        is_ours = pc.field(author).isin(wanted) & pc.field(text).is_valid()
        for file in lake.files(table):
            ours.update(read_rows(file.path, columns=[text], filters=is_ours)[text].to_pylist())
    for table, text, author in TEXTS_BY:
        is_others = pc.field(text).isin(pa.array(sorted(ours), pa.string()))
        if author is not None:
            is_others &= pc.field(author).is_null() | ~pc.field(author).isin(wanted)
        for file in lake.files(table) if ours else ():
            others = read_rows(file.path, columns=[text], filters=is_others)[text]
            ours.difference_update(others.to_pylist())
    return frozenset(map(content_hash, ours))


def unfinished(engine: Engine, key: str) -> PersonalRows | None:
    """What an erasure that did not come to its end has kept."""
    with engine.connect() as connection:
        kept = connection.execute(select(ERASED.c.traces).where(ERASED.c.user_key == key)).scalar()
    return None if kept is None else PersonalRows.of_json(kept)


def keep(engine: Engine, key: str, personal: PersonalRows) -> None:
    """Remember where the person is, and what was done so far."""
    _set(engine, key, traces=personal.as_json())


def keep_first(
    engine: Engine, key: str, personal: PersonalRows, reached: Collection[str], root: Path
) -> None:
    """Remember where the person is, before the first row is rewritten, and the files under `root`
    that tables lead to: once some are replaced, they cannot be told from what others left."""
    _set(
        engine,
        key,
        traces=personal.as_json(),
        reached=sorted(relative(path, str(root)) for path in reached),
    )


def reached_before(engine: Engine, key: str, root: Path) -> frozenset[str]:
    """Files that tables led to when the erasure began."""
    with engine.connect() as connection:
        kept = connection.execute(select(ERASED.c.reached).where(ERASED.c.user_key == key)).scalar()
    return frozenset(resolved(join(str(root), path)) for path in kept or ())


def drop(engine: Engine, key: str) -> None:
    """Remember nothing of it any more."""
    _set(engine, key, traces=null(), reached=null())


def _set(engine: Engine, key: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(ERASED).where(ERASED.c.user_key == key).values(**values))


def find(
    spark: SparkProvider, lake: Lake, settings: Settings, keys: Collection[str]
) -> PersonalRows:
    """Look through everything that landed for rows about `keys`."""
    blanks: dict[Place, Blank] = {}
    days: set[date] = set()
    named: dict[str, set[date]] = {}
    counts: dict[tuple[str, str, date], Counter[str]] = defaultdict(Counter)
    quarantined = set()
    n_others = 0
    for source in settings.mapping.sources:
        for row in _blanks(spark, lake, settings, source, keys):
            cuts = tuple((cut.at, tuple(cut.elements)) for cut in row.cuts or ())
            blanks[row.source, row.file, row.line] = Blank(row.problem, cuts, row.row_hash)
            days.add(row.landed_on)
            n_others += row.n_others
            for name in row.tables:
                if row.is_quarantined:
                    counts[name, row.source, row.landed_on]["quarantined"] += 1
                    quarantined.add((name, row.source, row.file, row.line, 0))
                else:
                    named.setdefault(name, set()).add(row.landed_on)
    for table in CLEAN_TABLES:
        if table.name in named:
            days_of_table = sorted(named[table.name])
            for judged in _judged(spark, lake, settings, table, days_of_table, keys):
                counts[table.name, judged.source, judged.landed_on][judged.verdict] += 1
                if judged.verdict == "quarantined":
                    place = (judged.source, judged.file, judged.line, judged.element)
                    quarantined.add((table.name, *place))
    _with_erased(lake, counts)
    return PersonalRows(blanks, tuple(sorted(days)), dict(counts), frozenset(quarantined), n_others)


def _blanks(
    spark: SparkProvider, lake: Lake, settings: Settings, source: Source, keys: Collection[str]
) -> list[Row]:
    """The source's rows about `keys`, and what is to be left of each; days without any are read
    once only."""
    files = lake.files(LANDED, where={"source": [source.name]})
    if not files or not source.tables:
        return []
    session = spark.session
    landed = read_table(session, LANDED, [f.path for f in files])
    about = erasure.about(landed.where(landed.source == source.name), source, settings, keys)
    places = about.collect()
    if not places:
        return []
    days = {place.landed_on for place in places}
    of_days = lake.files_of_days(LANDED, days, {"source": [source.name]})
    rows = read_table(session, LANDED, [f.path for f in of_days])
    rows = rows.join(session.createDataFrame(places, about.schema), list(PLACE), "left_semi")
    return erasure.blanks(rows, source, settings, keys).drop("fields").collect()


def _judged(
    spark: SparkProvider,
    lake: Lake,
    settings: Settings,
    table: Table,
    days: Sequence[date],
    keys: Collection[str],
) -> list[Row]:
    """What cleaning made of the rows about `keys` of a table, on these days."""
    back = {date.fromordinal(d.toordinal() - n) for d in days for n in range(DEDUP_DAYS + 1)}
    files = [file.path for file in lake.files_of_days(LANDED, back)]
    landed = read_table(spark.session, LANDED, files)
    feeds = settings.mapping.feeding(table.name)
    rows = erasure.judgements(landed, table.name, feeds, settings, days, DEDUP_DAYS, keys)
    return rows.collect()


def _with_erased(lake: Lake, counts: Mapping[tuple[str, str, date], Counter[str]]) -> None:
    """Adds how many rows of each place are counted as erased so far."""
    days = {day for _, _, day in counts}
    for file in lake.files_of_days(RECONCILIATION, days):
        for row in read_rows(file.path).to_pylist():
            at = counts.get((row["table_name"], row["source"], row["landed_on"]))
            if at is not None:
                at["erased"] = row.get("n_erased") or 0


_PLACE = ("source", "file", "line")


def _joined(rows: pa.Table, *names: str) -> pa.ChunkedArray:
    """The columns as one text; what a file of an earlier version lacks is 0."""
    zeros = pa.chunked_array([pa.array(["0"] * rows.num_rows, pa.string())])
    columns = (
        pc.fill_null(rows[name].cast(pa.string()), "0") if name in rows.schema.names else zeros
        for name in names
    )
    return pc.binary_join_element_wise(*columns, "\x1f")


def _among(texts: pa.ChunkedArray, places: Iterable[tuple[str | int, ...]]) -> pa.ChunkedArray:
    wanted = ["\x1f".join(map(str, place)) for place in places]
    return pc.is_in(texts, value_set=pa.array(wanted, pa.string()))


def _blanked(rows: pa.Table, personal: PersonalRows) -> pa.ChunkedArray:
    """(N,): whether a row is at a place of one about the person, and is still that one."""
    blanks = personal.blanks.items()
    same = [(*place, b.row_hash) for place, b in blanks if b.row_hash is not None]
    whatever = [place for place, b in blanks if b.row_hash is None]
    return pc.or_(
        _among(_joined(rows, *_PLACE, "row_hash"), same),
        _among(_joined(rows, *_PLACE), whatever),
    )


def blanking(personal: PersonalRows) -> Change:
    """Landed rows keep their place, how many rows of which tables they held, and elements that name
    somebody else."""

    def change(rows: pa.Table) -> pa.Table | None:
        gone = _blanked(rows, personal)
        if not pc.any(gone).as_py():
            return None
        left = [
            row | _left(row["fields"], personal.blanks[row["source"], row["file"], row["line"]])
            for row in rows.filter(gone).to_pylist()
        ]
        rows_now = pa.concat_tables(
            [rows.filter(pc.invert(gone)), pa.Table.from_pylist(left, rows.schema)]
        )
        return rows_now.take(pc.sort_indices(pc.sort_indices(gone)))

    return change


def _left(fields: list[str | None] | None, blank: Blank) -> dict[str, Any]:
    left = [*fields] if blank.cuts and fields is not None else None
    if left is not None:
        for at, elements in blank.cuts:
            left[at] = erased_rows.without_elements(left[at], elements)
    return {"fields": left, "row_hash": "", "problem": blank.problem}


def dropping(personal: PersonalRows) -> Change:
    """Quarantined rows about the person go; of others of a raw row that is blanked the hash does,
    which is one of all that it said."""

    def change(rows: pa.Table) -> pa.Table | None:
        blanked = _blanked(rows, personal)
        named = _among(_joined(rows, "table_name", *_PLACE, "element"), personal.quarantined)
        gone = pc.and_(blanked, named)
        at = rows.schema.get_field_index("row_hash")
        hashes = pc.if_else(blanked, "", rows["row_hash"])
        kept = rows.set_column(at, rows.schema.field(at), hashes).filter(pc.invert(gone))
        return None if kept.equals(rows) else kept

    return change


def recounting(personal: PersonalRows) -> Change:
    """Rows that were kept, duplicates or in quarantine are counted as erased, once."""

    def change(rows: pa.Table) -> pa.Table | None:
        listed = rows.to_pylist()
        touched = False
        for row in listed:
            counts = personal.counts.get((row["table_name"], row["source"], row["landed_on"]), {})
            row["n_erased"] = row.get("n_erased") or 0
            if row["n_erased"] > counts.get("erased", 0):  # they are counted so already
                continue
            for verdict in ("clean", "duplicate", "quarantined"):
                n = min(counts.get(verdict, 0), row[f"n_{verdict}"])
                row[f"n_{verdict}"] -= n
                row["n_erased"] += n
                touched |= n > 0
        return pa.Table.from_pylist(listed, rows.schema) if touched else None

    return change
