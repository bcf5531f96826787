from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.landing.parquet_rows import _parts
from jobs.mapping.sources import TableMap
from tests.conftest import REPOSITORY
from tests.jobs.landing.reading import read, refusal, source

PLUS_2 = datetime(2025, 6, 1, 12, 0, 0, 123456, ZoneInfo("Europe/Berlin"))
LOCAL = datetime(2025, 6, 1, 12, 0, 0, 123456)
NS = np.array(["2025-06-01T12:00:00.123456789"], "datetime64[ns]")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([1234567890123.0, 0.5, None, float("nan"), -2.0, 1e300]),
         ["1234567890123", "0.5", None, None, "-2", "1e+300"]),
        (pa.array([3.0, 0.1], pa.float32()), ["3", "0.1"]),
        (pa.array([2.0, 0.5], pa.float16()), ["2", "0.5"]),
        (pa.array([2**63 - 1, -1]), ["9223372036854775807", "-1"]),
        (pa.array([Decimal("1.10"), Decimal("-0.0000001")], pa.decimal128(20, 7)),
         ["1.1000000", "-0.0000001"]),
        (pa.array([Decimal("1234567890123"), Decimal("0"), Decimal("-2"), None], pa.decimal128(38, 10)),
         ["1234567890123", "0", "-2", None]),
        (pa.array([{"id": Decimal("7.00")}]), ['{"id": "7"}']),
        (pa.array([True, None]), ["true", None]),
        (pa.array([date(2025, 6, 1)]), ["2025-06-01"]),
        (pa.array([time(9, 30)]), ["09:30:00.000000"]),
        (pa.array([PLUS_2], pa.timestamp("us", "Europe/Berlin")), ["2025-06-01T10:00:00.123456Z"]),
        (pa.array([PLUS_2], pa.timestamp("ms", "UTC")), ["2025-06-01T10:00:00.123000Z"]),
        (pa.array(NS).cast(pa.timestamp("ns", "UTC")), ["2025-06-01T12:00:00.123456Z"]),
        (pa.array(NS), ["2025-06-01T12:00:00.123456"]),
        (pa.array([LOCAL], pa.timestamp("s")), ["2025-06-01T12:00:00.000000"]),
        (pa.array(["a", "NULL", None, ""]).dictionary_encode(), ["a", None, None, None]),
        (pa.array([b"text", None]), ["text", None]),
        (pa.array([b"\x00" * 15 + b"\x01"], pa.binary(16)),
         ["00000000-0000-0000-0000-000000000001"]),
        (pa.array([[1.0, 0.5, float("nan")], None]), ["[1, 0.5, null]", None]),
        (pa.array([{"amount": Decimal("1.50"), "at": PLUS_2.astimezone(UTC), "raw": b"x", "day": date(2025, 6, 1), "local": LOCAL}]),
         ['{"amount": "1.50", "at": "2025-06-01T10:00:00.123456Z", "raw": "x", "day": "2025-06-01", '
          '"local": "2025-06-01T12:00:00.123456"}']),
        (pa.array([[("k", 1), ("l", None)], None, []], pa.map_(pa.string(), pa.int64())),
         ['{"k": 1, "l": null}', None, "{}"]),
        (pa.array([[(7, b"x")]], pa.map_(pa.int64(), pa.binary())), ['{"7": "x"}']),
        (pa.array([[(date(2025, 6, 1), Decimal("1.50"))]], pa.map_(pa.date32(), pa.decimal128(5, 2))),
         ['{"2025-06-01": "1.50"}']),
    ],
)  # fmt: skip
def test_a_value_of_any_type_is_the_text_that_a_csv_would_hold(
    tmp_path: Path, values: pa.Array, texts: list[str | None]
) -> None:
    path = tmp_path / "a"
    pq.write_table(pa.table({"v": values}), path)
    rows = read(path, source("parquet", ("v",)))
    assert [fields[0] for _, fields, _ in rows if fields] == texts


YEAR_9999 = 253_402_300_799
"""The last second of it, which is no time of Python's in zones east of UTC."""
LAST = 2**63 - 1


def of(numbers: list[int | None], type_: pa.DataType) -> pa.Array:
    storage = pa.int32() if pa.types.is_date32(type_) else pa.int64()
    return pa.array(numbers, storage).cast(type_)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (of([YEAR_9999, LAST // 1000, None], pa.timestamp("ms", "Asia/Tokyo")),
         ["1978-01-11T21:31:40.799000Z", "<value out of range: 9223372036854775>", None]),
        (of([YEAR_9999 * 10**6], pa.timestamp("us", "Asia/Tokyo")), ["9999-12-31T23:59:59.000000Z"]),
        (of([YEAR_9999 * 10**6 + 10**6], pa.timestamp("us")), ["10000-01-01T00:00:00.000000"]),
        (of([LAST, -LAST, 0], pa.timestamp("ms")),
         [f"<value out of range: {LAST}>", f"<value out of range: -{LAST}>",
          "1970-01-01T00:00:00.000000"]),
        (of([LAST], pa.timestamp("us", "UTC")), [f"<value out of range: {LAST}>"]),
        (of([0], pa.timestamp("us", "Nowhere/Land")), ["1970-01-01T00:00:00.000000Z"]),
        (of([3_000_000, 2**31 - 1], pa.date32()), ["10183-09-21", "<value out of range: 2147483647>"]),
        (of([-5, 34_200_000_001], pa.time64("us")), ["<value out of range: -5>", "09:30:00.000001"]),
        (of([LAST, 90, None], pa.duration("s")), [f"<value out of range: {LAST}>", "0:01:30", None]),
        (pa.array([float("inf"), 0.1], pa.float32()), ["inf", "0.1"]),
    ],
)  # fmt: skip
def test_a_value_that_python_has_no_object_for_costs_itself_wherever_it_stands(
    tmp_path: Path, values: pa.Array, texts: list[str | None]
) -> None:
    """In a column of its own, and as deep as it may be nested."""
    n = len(values)
    struct = pa.StructArray.from_arrays([values, pa.array(range(n))], ["v", "n"])
    map_ = pa.MapArray.from_arrays(list(range(n + 1)), pa.array(["k"] * n), struct)
    columns = {
        "flat": values,
        "struct": struct,
        "list": pa.ListArray.from_arrays(list(range(n + 1)), values),
        "map": map_,
    }
    path = tmp_path / "a"
    pq.write_table(pa.table(columns), path)
    rows = [fields for _, fields, _ in read(path, source("parquet", tuple(columns)))]
    whole = [text and text.replace(".000000", "") for text in texts]
    inner = [0.1 if text == "0.1" else text for text in whole]
    assert rows == [
        [
            text,
            json.dumps({"v": value, "n": i}),
            json.dumps([value]),
            json.dumps({"k": {"v": value, "n": i}}),
        ]
        for i, (text, value) in enumerate(zip(texts, inner, strict=True))
    ]


def test_a_text_in_a_struct_that_is_not_utf_8_costs_its_row(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"\xff", None, b"\xfe"]).view(pa.string())
    struct = pa.StructArray.from_arrays([texts], ["t"])
    path = tmp_path / "a"
    pq.write_table(
        pa.table({"s": struct, "l": pa.ListArray.from_arrays([0, 1, 1, 3, 4], texts)}), path
    )
    assert read(path, source("parquet", ("s",))) == [
        (1, ['{"t": "a"}'], None),
        (2, None, "not valid utf-8"),
        (3, ['{"t": null}'], None),
        (4, None, "not valid utf-8"),
    ]
    assert [problem for *_, problem in read(path, source("parquet", ("l",)))] == [
        None, None, "not valid utf-8", "not valid utf-8"
    ]  # fmt: skip


def test_nested_values_are_told_of_the_right_rows(tmp_path: Path) -> None:
    """Of batches that begin within a column, of nothing, and of what is null though it has parts."""
    n = 40
    fixed = pa.array([[i, None] for i in range(n)], pa.list_(pa.int64(), 2))  # Arrow reads no null
    lists = pa.array([None if i % 5 == 1 else list(range(i % 4)) for i in range(n)])
    maps = pa.array(
        [None if i % 3 == 1 else [(str(k), [k]) for k in range(i % 3)] for i in range(n)],
        pa.map_(pa.string(), pa.large_list(pa.int64())),
    )
    parts = [pa.array([f"t{i}" for i in range(n)]), lists]
    structs = pa.StructArray.from_arrays(
        parts, ["t", "l"], mask=pa.array([i % 6 == 2 for i in range(n)])
    )
    columns = {"fixed": fixed, "lists": lists, "maps": maps, "structs": structs}
    path = tmp_path / "a"
    pq.write_table(pa.table(columns), path)

    every = (column.to_pylist(maps_as_pydicts="strict") for column in columns.values())
    expected = [
        [None if value is None else json.dumps(value) for value in row]
        for row in zip(*every, strict=True)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.landing.parquet_rows.BATCH_BYTES", 500)
        rows = read(path, source("parquet", tuple(columns)))
    assert [fields for _, fields, _ in rows] == expected


@pytest.mark.parametrize("kind", [pa.list_view, pa.large_list_view])
def test_lists_and_texts_that_are_views_are_told_as_others(
    tmp_path: Path, kind: Callable[[pa.DataType], pa.DataType]
) -> None:
    path = tmp_path / "a"
    texts = pa.array(["a", "long enough to stand elsewhere", None, ""], pa.string_view())
    rows = [["a", None], None, [], ["long enough to stand elsewhere"]]
    lists = pa.array(rows, kind(pa.string_view()))
    structs = pa.array(
        [[{"id": 1.0}], [], None, [{"id": None}]], kind(pa.struct([("id", pa.float64())]))
    )
    pq.write_table(pa.table({"text": texts, "lists": lists, "structs": structs}), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobs.landing.parquet_rows.BATCH_BYTES", 5)
        read_rows = read(path, source("parquet", ("text", "lists", "structs"), null_values=()))
    assert [fields for _, fields, _ in read_rows] == [
        ["a", '["a", null]', '[{"id": 1}]'],
        ["long enough to stand elsewhere", None, "[]"],
        [None, "[]", None],
        ["", '["long enough to stand elsewhere"]', '[{"id": null}]'],
    ]


@pytest.mark.parametrize("group", [3, 700, 1500])
@pytest.mark.parametrize("length", [1, 2000])
def test_texts_within_lists_and_structs_are_read_across_groups_of_rows(
    tmp_path: Path, group: int, length: int
) -> None:
    """Each group has a dictionary of its own; one of many long texts gives it up halfway."""
    path, n = tmp_path / "a", 1500
    rows = [None if i % 7 == 3 else [{"t": f"{i}" * length, "u": [f"{i % 5}"]}] for i in range(n)]
    pq.write_table(pa.table({"id": range(n), "text": rows}), path, row_group_size=group)
    read_rows = read(path, source("parquet"))
    assert [fields for _, fields, _ in read_rows] == [
        [f"{i}", row and json.dumps(row)] for i, row in enumerate(rows)
    ]


def test_a_map_that_has_a_key_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    pq.write_table(
        pa.table({"m": pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64()))}), path
    )
    assert refusal(path, source("parquet", ("m",))) == "a map in m has a key twice"


def test_a_struct_that_names_a_field_twice_is_refused_by_name(tmp_path: Path) -> None:
    two = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    path = tmp_path / "a"
    pq.write_table(pa.table({"s": two}), path)
    assert refusal(path, source("parquet", ("s",))) == "a struct in s names a twice"
    assert refusal(path, source("parquet", ("s.a",))) == "a struct in s names a twice"


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary(), pa.string()])
def test_bytes_that_are_no_text_cost_their_own_row(tmp_path: Path, type_: pa.DataType) -> None:
    """Whether the file says that its column holds texts or not."""
    path = tmp_path / "a"
    values = pa.array([b"one", b"\xff\xfe", None, b"caf\xc3\xa9"])
    if type_ == pa.string():
        values = pa.Array.from_buffers(type_, 4, values.buffers())
    pq.write_table(pa.table({"v": values.cast(type_)}), path)
    assert read(path, source("parquet", ("v",))) == [
        (1, ["one"], None),
        (2, None, "not valid utf-8"),
        (3, [None], None),
        (4, ["café"], None),
    ]


def test_sparks_old_timestamps_are_instants(tmp_path: Path) -> None:
    """INT96 says no zone; Spark, which writes them by default, means UTC."""
    path = tmp_path / "a"
    table = pa.table({"v": pa.array([LOCAL], pa.timestamp("us"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    assert read(path, source("parquet", ("v",))) == [(1, ["2025-06-01T12:00:00.123456Z"], None)]
    last = of([YEAR_9999 * 10**6], pa.timestamp("us"))
    table = pa.table({"s": pa.StructArray.from_arrays([last], ["v"]), "v": last, "l": [[LOCAL]]})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    assert read(path, source("parquet", ("v", "s", "s.v", "l"))) == [
        (
            1,
            [
                "9999-12-31T23:59:59.000000Z",
                '{"v": "9999-12-31T23:59:59Z"}',
                "9999-12-31T23:59:59.000000Z",
                '["2025-06-01T12:00:00.123456Z"]',
            ],
            None,
        )
    ]


def test_nested_columns_are_reached_and_absent_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "a"
    pq.write_table(pa.table({"u": [{"id": 1.0, "x": "a"}], "u.id": ["flat"]}), path)
    assert read(path, source("parquet", ("u.id", "u.x"))) == [(1, ["flat", "a"], None)]
    assert refusal(path, source("parquet", ("u.mail", "gone"))) == (
        "no column u.mail, gone; its schema has u, u.id, u.id, u.x"
    )


LONG = "x" * 100_000
N_LONG = 8192
AS_OFTEN = pa.DictionaryArray.from_arrays(pa.array([0] * N_LONG, pa.int32()), [LONG])


@pytest.mark.parametrize(
    "values",
    [
        AS_OFTEN,
        pa.ListArray.from_arrays(list(range(N_LONG + 1)), AS_OFTEN),
    ],
    ids=["flat", "list"],
)
def test_a_text_that_is_in_every_row_takes_bounded_memory(tmp_path: Path, values: pa.Array) -> None:
    """A dictionary holds it once, in a file of 70 kB; written out, its rows take 800 MB twice. They are
    read by a process that may have 600 MB of addresses more than it starts with."""
    path = tmp_path / "a"
    pq.write_table(pa.table({"id": range(N_LONG), "text": values}), path, compression="zstd")
    assert path.stat().st_size < 100_000
    program = f"""
import resource
from pathlib import Path
import jobs.landing.read
from jobs.mapping.sources import Source
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 600_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
n = {{}}
of = Source("s", "x", "parquet", ("id", "text"), ())
for row in jobs.landing.read.raw_rows(Path({str(path)!r}), of):
    told = row.problem or len(row.fields[1])
    n[told] = n.get(told, 0) + 1
print(n)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    length = len(json.dumps(values[0].as_py()).encode()) if values is not AS_OFTEN else len(LONG)
    assert done.stdout == f"{ {length: N_LONG} }\n"


def test_batches_are_cut_by_what_their_texts_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of slices of columns too, and of texts within lists, maps and structs."""
    monkeypatch.setattr("jobs.landing.parquet_rows.BATCH_BYTES", 10)
    texts = pa.array(["skipped", "a" * 6, None, "b" * 4, "c", "d" * 30, "e"])
    n = len(texts)
    lists = pa.array([["skipped"], [], None, [], ["f", "g" * 5], [], []])
    maps = pa.array([[], [], [], [], [("k", "v")], [], []], pa.map_(pa.string(), pa.string()))
    structs = pa.array([{"t": t} for t in [*[None] * 4, "h", None, None]])
    batch = pa.record_batch(
        [texts.dictionary_encode(), lists, maps, structs, range(n)], list("abcde")
    )
    wide = batch.set_column(0, "a", batch.column("a").cast(pa.large_string()).dictionary_encode())
    assert [part.num_rows for part in _parts(wide.slice(1))] == [3, 1, 1, 1]
    parts = list(_parts(batch.slice(1)))
    assert [part.column("e").to_pylist() for part in parts] == [[1, 2, 3], [4], [5], [6]]
    assert pa.Table.from_batches(parts).to_pylist() == batch.slice(1).to_pylist()


def test_a_file_for_which_there_is_too_little_memory_is_not_called_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    pq.write_table(pa.table({"id": [1], "text": ["a"]}), path)

    def none_left(*_: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 4194304 failed")

    monkeypatch.setattr("jobs.landing.parquet_rows._batches", none_left)
    assert refusal(path, source("parquet")) == "cannot be read: it takes more memory than there is"


def test_two_columns_of_one_name_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a"
    two = pa.Table.from_arrays(
        [pa.array([1]), pa.array([2]), pa.array([3])], ["id", "text", "text"]
    )
    pq.write_table(two, path)
    assert refusal(path, source("parquet")) == "its schema names text twice"
    assert read(path, source("parquet", ("id",))) == [(1, ["1"], None)]


def test_a_key_that_no_struct_of_a_list_has_is_refused_unless_it_may_be_missing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    who = [[{"id": "a", "countryCode": "DE", "at": {"day": "x"}, "tags": {"k": 1}}]]
    pq.write_table(pa.table({"who": who, "said": ['[{"x": 1}]']}), path)
    fields = {"user_id": "each.id", "country": "each.country", "occurred_at": "each.at.time"}
    users = TableMap("users", fields, each="who")
    texts = TableMap("reviews", {"user_id": "each.id"}, each="said")
    of = replace(source("parquet", ("who", "said")), tables=(users, texts))
    assert refusal(path, of) == (
        "no element of who has the key at.time, country (is it countryCode?); the keys there are at, "
        'at.day, countryCode, id, tags; if elements may lack it, say missing_key = "null" in the '
        "mapping"
    )
    allowed = replace(of, missing_key="null")
    assert [row[1] for row in read(path, allowed)] == [
        ['[{"id": "a", "countryCode": "DE", "at": {"day": "x"}, "tags": {"k": 1}}]', '[{"x": 1}]']
    ]
    right = TableMap("users", {"user_id": "each.id", "country": "each.at.day.hour"}, each="who")
    assert refusal(path, replace(of, tables=(right, texts))) is None


def test_a_column_that_may_be_missing_is_null_but_not_all_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a"
    pq.write_table(pa.table({"id": ["1", "2"], "who": [{"name": "x"}, None]}), path)
    of = source("parquet", ("who.mail", "id", "text"), missing_key="null")
    assert [row[1] for row in read(path, of)] == [[None, "1", None], [None, "2", None]]
    assert refusal(path, source("parquet", ("text", "a"), missing_key="null")) == (
        refusal(path, source("parquet", ("text", "a")))
    )
    assert refusal(path, replace(of, missing_key="stop")) is not None
