"""Cleaning against a market that lists what is wrong with it: every defect found, nothing else."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.clean_tables import clean_table_named
from contracts.days import DEDUP_DAYS
from jobs.cleaning.fields import Context
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import bot_reason, reconciliation, verdicts
from jobs.landing.landing import landed
from jobs.landing.raw_folder import raw_files
from jobs.mapping.sources import SourceMapping, read_mapping
from jobs.market.dirt import FATES
from jobs.market.files import STREAMS, simulate
from jobs.market.traits import Dirt, Market
from jobs.values.user_key import UserKey
from tests.conftest import REPOSITORY

KEY = UserKey(b"a key for the tests alone")
DIRTY = Dirt(
    **dict.fromkeys(("duplicate", "repeated", "conflict", "late", "malformed", "truncated", "encoding", "impossible", "skewed", "currency", "anonymous"), 0.03)
)  # fmt: skip
MARKET = Market(1000, date(2025, 1, 1), 13, 23, replace(DIRTY, bots=0.01))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dirty")
    simulate(MARKET, folder, lambda done, total: None, truth_every_days=None)
    return folder


@pytest.fixture(scope="module")
def mapping() -> SourceMapping:
    market = read_mapping(REPOSITORY / "infra/sources/market.toml")
    lenient = tuple(replace(s, max_undecodable_share=0.5) for s in market.sources)
    return replace(market, sources=lenient)


def listed(raw: Path) -> Iterator[tuple[str, str, int, str, str]]:
    """Source, file, line, defect and what cleaning must make of it."""
    for path in sorted((raw / "truth/defects").glob("*.csv.gz")):
        day = path.name.removesuffix(".csv.gz")
        with gzip.open(path, "rt") as stream:
            for row in csv.DictReader(stream):
                name = next((raw / row["source"]).glob(f"{day}.*")).name
                file = f"{row['source']}/{name}"
                yield row["source"], file, int(row["line"]), row["defect"], row["expected"]


@pytest.mark.parametrize("source_name", STREAMS)
def test_every_defect_is_found_and_nothing_else_is_dropped(
    spark: SparkSession, raw: Path, mapping: SourceMapping, source_name: str
) -> None:
    source = next(s for s in mapping.sources if s.name == source_name)
    (feed,) = source.tables
    files = raw_files(source, raw)
    assert mapping.money is not None
    context = Context(KEY, mapping.money, mapping.text)
    rows = verdicts(
        landed(spark, source, files).localCheckpoint(),
        [(source, feed)],
        lambda s: rules_of(clean_table_named(feed.table), context),
        [f.landed_on for f in files if f.landed_on],
        DEDUP_DAYS,
        mapping.bots.get(feed.table),
    ).persist()
    got = {(r.file, r.line): r.verdict for r in rows.select("file", "line", "verdict").collect()}
    defects = {(f, n): (d, e) for s, f, n, d, e in listed(raw) if s == source_name}
    assert defects.keys() <= got.keys()
    people = {place: v for place, v in got.items() if defects.get(place, ("", ""))[0] != "bot"}
    wrong = {
        place: (verdict, defects.get(place))
        for place, verdict in people.items()
        if verdict != (defects[place][1] if place in defects else "clean")
    }
    assert wrong == {}
    assert defects
    table = rules_of(clean_table_named(feed.table), context).table
    counts = reconciliation(rows, table).collect()
    assert counts
    for count in counts:
        assert count.n_in == count.n_clean + count.n_duplicate + count.n_quarantined
    if source_name == "engagements":
        bots = [v for place, v in got.items() if defects.get(place, ("", ""))[0] == "bot"]
        caught = rows.where(F.col("reason") == bot_reason(mapping.bots["engagements"])).count()
        assert caught == bots.count("quarantined") > 0.5 * len(bots)
    rows.unpersist()


def test_the_list_has_every_kind_of_defect(raw: Path) -> None:
    assert {defect for _, _, _, defect, _ in listed(raw)} == set(FATES) - {"clean"}
