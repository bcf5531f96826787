"""Thousands of broken lines and files of every format: never a crash, nothing lost, seeded."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.clean_tables import clean_table_named
from contracts.days import DEDUP_DAYS
from contracts.errors import ContractError
from jobs.cleaning.fields import Context
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import reconciliation, verdicts
from jobs.landing.landing import check_readable, landed
from jobs.landing.raw_folder import raw_files
from jobs.landing.read import WHOLE_FILE, raw_rows
from jobs.mapping.sources import RawFile, Source, read_mapping
from jobs.market.files import STREAMS, simulate
from jobs.market.traits import Market
from jobs.values.user_key import UserKey
from tests.conftest import REPOSITORY

COLUMNS = ("id", "text", "n")
TOKENS = [
    b'"', b"'", b"\\", b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b",",
    b":", b"null", b"NaN", b"1e999", b"-0", b"\t", b"\r", b"\n", b"\r\n", b'""', b"\\u", b"\\ud83d",
    "\U0001f600".encode(), b"99999999999999999999", b"0x1F", b" ", b"true", b'"id":', b"\x1f\x8b",
    b"2025-13-45T99:99:99Z", b"+292278994-08-17T07:12:55Z", b"-9999-01-01", b"1" * 400,
]  # fmt: skip


def mutated(line: bytes, rng: random.Random) -> bytes:
    """The line with one to four accidents."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(line) + 1)
        match rng.randrange(6):
            case 0:
                line = line[:at] + bytes([rng.randrange(256)]) + line[at + 1 :]
            case 1:
                line = line[:at] + line[at + rng.randint(1, 9) :]
            case 2:
                line = line[:at] + rng.choice(TOKENS) + line[at:]
            case 3:
                line = line[:at]
            case 4:
                end = rng.randrange(len(line) + 1)
                line = line[: max(at, end)] + line[min(at, end) :]
            case 5:
                line = line[:at] + rng.choice(TOKENS) + line[at + rng.randint(1, 5) :]
    return line


def source(format_: str, **given: object) -> Source:
    plain = Source("s", "f", format_, COLUMNS, (), landed_on="x")  # type: ignore[arg-type]
    return replace(plain, **given)  # type: ignore[arg-type]


def n_lines(content: bytes) -> int:
    content = content.removeprefix(b"\xef\xbb\xbf")
    return sum(1 for line in content.split(b"\n") if line.strip(b"\r\n") and not line.isspace())


LINES = {
    "jsonl": b'{"id":"e%d","text":"said \\"so\\" \\u00e9","n":%d}',
    "csv": b'e%d,"said ""so"", twice",%d',
}
SOURCES = [
    source("jsonl"),
    source("csv", header=False),
    source("csv", header=False, multiline=True),
    source("csv", header=False, encoding="latin-1", separator=";", quote="'"),
]


@pytest.mark.parametrize("of", SOURCES, ids=lambda s: f"{s.format}-{s.encoding}-{s.multiline}")
def test_every_line_comes_out_once_whatever_is_in_it(of: Source, tmp_path: Path) -> None:
    rng, path = random.Random(1), tmp_path / "f"
    for _ in range(600):
        lines = [LINES[of.format] % (i, i) for i in range(5)]
        content = b"\n".join(mutated(line, rng) for line in lines) + b"\n"
        path.write_bytes(content)
        rows = list(raw_rows(path, of))
        if rows and rows[0].line == WHOLE_FILE:
            assert len(rows) == 1, content
            assert content[:2] == b"\x1f\x8b", content  # that looks like gzip
            continue
        if rows and rows[-1].line == WHOLE_FILE:  # which says so where most are broken
            rows.pop()
            assert sum(row.problem is not None for row in rows) * 2 >= len(rows), content
        assert len({row.line for row in rows}) == len(rows), content
        if of.multiline:
            assert len(rows) <= n_lines(content), content
        elif of.format == "jsonl":  # of which several may stand on a line
            assert len(rows) >= n_lines(content), content
        else:
            assert len(rows) == n_lines(content), content
        for row in rows:
            assert (row.fields is None) != (row.problem is None), content
            assert row.fields is None or len(row.fields) == len(COLUMNS), content


def test_a_broken_header_is_one_message(tmp_path: Path) -> None:
    rng, path, of = random.Random(2), tmp_path / "f.csv", source("csv")
    unreadable = 0
    for _ in range(500):
        path.write_bytes(mutated(b"id,text,n", rng) + b"\ne1,a,1\ne2,b,2\n")
        rows = list(raw_rows(path, of))
        messages = [row.problem for row in rows if row.line == WHOLE_FILE]
        if messages:
            assert len(messages) == 1
            assert len(rows) == 1 or all(row.problem for row in rows)
            unreadable += 1
    assert unreadable > 100


def _gzipped(rng: random.Random) -> bytes:
    return gzip.compress(b"\n".join(LINES["jsonl"] % (i, rng.randrange(99)) for i in range(50)))


def _parquet(rng: random.Random) -> bytes:
    sink = pa.BufferOutputStream()
    columns = {"id": [f"e{i}" for i in range(50)], "text": ["x"] * 50, "n": list(range(50))}
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "of", "make"),
    [
        ("f.jsonl.gz", source("jsonl"), _gzipped),
        ("f.parquet", source("parquet"), _parquet),
    ],
    ids=["gzip", "parquet"],
)
def test_a_damaged_file_is_one_message_or_all_of_its_rows(
    name: str, of: Source, make: Callable[[random.Random], bytes], tmp_path: Path
) -> None:
    rng, path = random.Random(3), tmp_path / name
    unreadable = 0
    for _ in range(400):
        path.write_bytes(mutated(make(rng), rng))
        rows = list(raw_rows(path, of))
        verdicts = [row for row in rows if row.line == WHOLE_FILE]
        assert len(verdicts) <= 1
        assert all(row.problem for row in verdicts)
        unreadable += bool(verdicts)
    assert unreadable > 200


def test_a_file_that_cannot_be_read_stops_the_run_with_its_name(
    spark: SparkSession, tmp_path: Path
) -> None:
    whole = gzip.compress(b'{"id":"a","text":"b","n":1}\n' * 50)
    for i, content in enumerate((whole, whole[: len(whole) // 2], whole[:-9] + b"\x00" * 9, b"")):
        (tmp_path / f"{i}.gz").write_bytes(content)
    files = [RawFile(tmp_path / f"{i}.gz", f"{i}.gz", date(2025, 1, 1)) for i in range(4)]
    daily = source("jsonl", files="{day}.gz", landed_on=None)
    with pytest.raises(ContractError) as error:
        check_readable(landed(spark, daily, files), daily)
    lines = str(error.value).splitlines()
    assert lines[0] == "source s cannot be landed:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["1.gz", "2.gz", "3.gz"]


@pytest.mark.slow
def test_thousands_of_broken_lines_are_all_accounted_for(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Every log of a market with accidents in every third line, through landing and cleaning."""
    rng = random.Random(4)
    simulate(Market(600, date(2025, 1, 1), 12, 9), tmp_path, lambda done, total: None, None)
    mapping = read_mapping(REPOSITORY / "infra/sources/market.toml")
    assert mapping.money is not None
    context = Context(UserKey(b"a key for the tests alone"), mapping.money, mapping.text)
    n_broken = 0
    for name in STREAMS:
        of = next(s for s in mapping.sources if s.name == name)
        written = 0
        for path in sorted((tmp_path / name).glob("*.gz")):
            lines = gzip.decompress(path.read_bytes()).split(b"\n")
            head, body = (lines[:1], lines[1:]) if of.format == "csv" else ([], lines)
            spoilt = [mutated(x, rng) if x and rng.random() < 0.34 else x for x in body]
            n_broken += sum(a != b for a, b in zip(body, spoilt, strict=True))
            path.write_bytes(gzip.compress(b"\n".join([*head, *spoilt])))
            # A file of which no row can be read is a verdict of its own.
            verdict = sum(row.line == WHOLE_FILE for row in raw_rows(path, of))
            written += n_lines(b"\n".join(spoilt)) + verdict
        files = raw_files(of, tmp_path)
        (feed,) = of.tables
        rows = verdicts(
            landed(spark, of, files),
            [(of, feed)],
            lambda s, feed=feed: rules_of(clean_table_named(feed.table), context),  # type: ignore[misc]
            [f.landed_on for f in files if f.landed_on],
            DEDUP_DAYS,
            mapping.bots.get(feed.table),
        ).persist()
        counts = reconciliation(rows, rules_of(clean_table_named(feed.table), context).table).agg(
            *(F.sum(c).alias(c) for c in ("n_in", "n_clean", "n_duplicate", "n_quarantined"))
        )
        (got,) = counts.collect()
        assert got.n_in == written, name
        assert got.n_in == got.n_clean + got.n_duplicate + got.n_quarantined, name
        assert got.n_quarantined > 0 or written < 20, name
        rows.unpersist()
    assert n_broken > 1000
