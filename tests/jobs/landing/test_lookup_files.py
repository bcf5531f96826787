"""Files of lookups: how they are found and read, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from jobs.landing import lookup_files
from jobs.landing.line_ends import CR_ALONE
from jobs.landing.lookup_files import read_whole
from tests.jobs.mapping.campaigns import (
    AS_OF,
    D1,
    D2,
    MAPPING,
    NESTED,
    TIMED,
    log,
    read,
    refused,
    written,
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "campaign;starts;name;category\n",
            "it has no rows, so that no key would find any: give it some, or take "
            "[lookups.campaigns] out of the mapping",
        ),
        ("campaign;name\nx;y\n", "no column starts, category; its header has campaign, name"),
        (
            "campaign;Ann Miller;Bob\n",
            "no column starts, name, category; its first line has campaign, and besides cells such as "
            "aaa aaaaaa, aaa; if that is no header, say header = false and name all columns in order",
        ),
        ("campaign;starts;name;category\rx;;Ann Miller;\r", CR_ALONE),
        (
            "campaign;starts;name;category\nann;2025-01-01;;\nbob;;;\n ann;2025-02-01;;\n",
            "lines 2 and 4 have the same campaign: keep one of them, or, if each holds from another "
            "day on, say with from which column has that day",
        ),
        (
            "campaign;starts;name;category\n;;;\nx;;;\n\u200b;;;\n",
            "lines 2, 4: campaign: missing, but it is the key: fill it in, or take the row out",
        ),
        ("campaign;starts;name;category\nx;;;\ny;\n", "line 3: expected 4 fields, found 2"),
    ],
)
def test_a_file_that_is_no_lookup_is_told_without_its_values(
    tmp_path: Path, text: str, problem: str
) -> None:
    written(tmp_path, campaigns=text)
    log(tmp_path, {D1: "", D2: ""})
    assert refused(tmp_path) == [
        "lookups cannot be read:",
        f"  lookups.campaigns: tables/campaigns.csv: {problem}",
    ]


def test_days_of_versions_are_days_and_each_is_of_its_own(tmp_path: Path) -> None:
    log(tmp_path, {D1: "", D2: ""})
    head = "campaign;starts;name;category\n"
    written(
        tmp_path, TIMED, campaigns=f"{head}x;2025-01-01;;\ny;2025-01-01;;\nx;2025-1-1T09:30;;\n"
    )
    assert refused(tmp_path)[1:] == [
        "  lookups.campaigns: tables/campaigns.csv: lines 2 and 4 have the same campaign, and the "
        "same day in starts: keep one of them"
    ]
    none = ["1.1.2025", "20250101", "2025-W01-3", "2025", "2025-01", "2025-02-30", "today", "", "x"]
    written(tmp_path, TIMED, campaigns=head + "".join(f"x;{day};;\n" for day in none))
    assert refused(tmp_path)[1:] == [
        "  lookups.campaigns: tables/campaigns.csv: "
        "lines 2, 3, 4, 5, 6 and 4 more: starts: not a day such as 2025-01-31"
    ]


def test_what_is_too_large_for_a_lookup_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    log(tmp_path, {D1: "", D2: ""})
    read(tmp_path)
    for name, most in (("MAX_LOOKUP_ROWS", 3), ("MAX_LOOKUP_BYTES", 90)):
        with monkeypatch.context() as patch:
            patch.setattr(lookup_files, name, most)
            (problem,) = refused(tmp_path)[1:]
        assert problem.endswith(
            "bytes, which is too large for a lookup: leave out rows that no key finds, or join it "
            "to the raw files before they land"
        )


def test_missing_lookups_are_told_with_missing_raw_files(tmp_path: Path) -> None:
    written(tmp_path, MAPPING + NESTED.replace("{day}.jsonl", "{day}.json"))
    (tmp_path / "tables/campaigns.csv").unlink()
    raw = tmp_path / "raw"
    (raw / "tables/prices.csv").mkdir(parents=True)
    with pytest.raises(ContractError) as error:
        read_whole(tmp_path / "m.toml", raw, AS_OF)
    assert str(error.value).splitlines() == [
        "lookups cannot be read:",
        f"  lookups.campaigns: no file tables/campaigns.csv under {raw}, the raw folder, or "
        f"{tmp_path}, the mapping's: put it into one of them",
        f"  lookups.prices: {raw}/tables/prices.csv is no file; say in file which one is meant",
        "raw files are missing:",
        f"  log: no file matches {raw}/{{day}}.csv",
        f"  shop: no file matches {raw}/{{day}}.json",
    ]


def test_a_lookup_lies_in_one_of_two_folders(tmp_path: Path) -> None:
    path = written(tmp_path)
    raw = tmp_path / "raw"
    (raw / "tables").mkdir(parents=True)
    log(raw, {D1: "", D2: ""})
    (beside,) = read_whole(path, raw, AS_OF).lookups
    assert beside.rows is not None
    assert beside.rows.num_rows == 4
    (raw / "tables/campaigns.csv").write_text("")
    with pytest.raises(ContractError) as error:
        read_whole(path, raw, AS_OF)
    assert str(error.value).splitlines()[1:] == [
        f"  lookups.campaigns: {raw}/tables/campaigns.csv and {tmp_path}/tables/campaigns.csv both "
        "could be meant: take one away"
    ]
    (tmp_path / "tables/campaigns.csv").rename(raw / "tables/campaigns.csv")
    assert read_whole(path, raw, AS_OF).lookups == (beside,)


def test_a_lookup_is_read_as_the_files_of_sources_are(tmp_path: Path) -> None:
    log(tmp_path, {D1: "", D2: ""})
    columns = '"campaign", "starts", "name", "category"'
    plain = MAPPING.replace("tables/campaigns.csv", "tables/c").replace('separator = ";"\n', "")
    row = {"campaign": "c1", "starts": None, "name": "Fr\u00fchling", "category": "mail"}
    contents = set()
    for format_, more, raw in (
        ("csv", 'encoding = "latin-1"\nseparator = "|"\nnull_values = ["-"]',
         gzip.compress("category|name|campaign|starts\nmail|Fr\u00fchling|c1|-\n".encode("latin-1"))),
        ("csv", "header = false", "c1,,Fru\u0308hling,mail\n".encode()),
        ("jsonl", 'missing_key = "null"', json.dumps({**row, "starts": ""}).encode()),
        ("json", "", json.dumps([row]).encode()),
        ("parquet", "", parquet([row])),
    ):  # fmt: skip
        path = written(
            tmp_path,
            plain.replace(
                f'format = "csv"\ncolumns = [{columns}]',
                f'format = "{format_}"\ncolumns = [{columns}]\n{more}',
            ),
        )
        (tmp_path / "tables/c").write_bytes(raw)
        (lookup,) = read_whole(path, tmp_path, AS_OF).lookups
        assert lookup.rows is not None
        assert lookup.rows["campaigns"].to_pylist() == [row], format_
        contents.add(lookup.content())
    assert len(contents) == 1


def parquet(rows: list[dict[str, str | None]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()
