"""What an operator sees of dropped rows, and when dropping stops a night."""

from __future__ import annotations

import io
import json
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from contracts.errors import ContractError
from contracts.tables import LANDED, QUARANTINE, RECONCILIATION
from flows.cli import render
from flows.lake.lake import Lake
from flows.monitor.quarantine import Limits, check_limits, dropped, over_limits, samples, shape
from flows.monitor.row_counts import counted, cut_off_line
from flows.release.duckdb_views import select_from
from flows.settings import read_settings
from jobs.mapping.raw_row import CUT_OFF
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema

FIRST = date(2025, 3, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(30)]
AS_OF = DAYS[-1] + timedelta(days=1)


def lake_with(
    folder: Path, bad: dict[date, int], n_in: int = 200, beside: int | None = None
) -> Lake:
    """A lake in which `bad` rows of each day's orders were dropped, all for one reason; `beside`
    good rows a day come from another source."""
    lake = Lake(folder / "lake")
    written, counts = {}, []
    for day in DAYS:
        n = bad.get(day, 0)
        rows = [
            {
                "landed_on": day,
                "table_name": "orders",
                "source": "shop",
                "reason": "user_id: missing",
                "file": f"{day}.csv",
                "line": i + 2,
                "row_hash": "h",
            }
            for i in range(n)
        ]
        path = folder / f"q-{day}.parquet"
        if rows:
            pq.write_table(pa.Table.from_pylist(rows, arrow_schema(QUARANTINE)), path)
        written[day] = WrittenDay(day, n, "x", (str(path),) if rows else ())
        counts.append(
            {
                "landed_on": day,
                "table_name": "orders",
                "source": "shop",
                "n_in": n_in,
                "n_clean": n_in - n,
                "n_duplicate": 0,
                "n_quarantined": n,
                "n_erased": 0,
            }
        )
        if beside is not None:
            good = {"source": "mall", "n_in": beside, "n_clean": beside, "n_quarantined": 0}
            counts.append(counts[-1] | good)
    lake.commit(QUARANTINE, written)
    lake.replace_rows(RECONCILIATION, counts, DAYS, {"table_name": "orders"})
    return lake


def test_reasons_have_their_share_and_their_course(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, {DAYS[3]: 2, DAYS[-14]: 4, DAYS[-1]: 8})
    (reason,) = dropped(lake)
    assert (reason.table, reason.reason) == ("orders", "user_id: missing")
    assert (reason.rows, reason.rows_in, reason.newest) == (14, 30 * 200, DAYS[-1])
    assert reason.trend == "▄" + " " * 12 + "█"
    (one,) = dropped(lake, day=DAYS[3])
    assert (one.rows, one.rows_in) == (2, 200)
    assert dropped(lake, day=DAYS[4]) == []
    assert dropped(lake, reason="stars") == []
    assert len(dropped(lake, reason="user_id")) == 1


def test_nothing_cleaned_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="nothing has been cleaned yet"):
        dropped(Lake(tmp_path / "lake"))


def test_samples_show_shapes_and_no_values(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, {DAYS[-1]: 3})
    rows = [
        {
            "landed_on": DAYS[-1],
            "source": "shop",
            "file": f"{DAYS[-1]}.csv",
            "line": line,
            "row_hash": "h",
            "fields": fields,
            "problem": None,
        }
        for line, fields in ((2, ["Ann Smith", None, "12.50"]), (3, None))
    ]
    path = tmp_path / "landed.parquet"
    pq.write_table(pa.Table.from_pylist(rows, arrow_schema(LANDED)), path)
    lake.commit(LANDED, {DAYS[-1]: WrittenDay(DAYS[-1], 2, "x", (str(path),))})
    first, second = samples(lake, dropped(lake), None, 2)
    assert first.fields == "aaa aaaaa |  | 99.99"
    assert first.place == f"{DAYS[-1]}.csv:2"
    assert second.fields == "could not be decoded"

    out = Console(width=160, record=True, highlight=False)
    render.quarantine(out, read_settings(home=tmp_path), None, None, 1)
    text = out.export_text()
    assert "aaa aaaaa" in text
    assert "Ann" not in text
    assert "0.05%" in text


def test_a_sample_of_a_row_of_several_facts_shows_the_one_that_was_dropped() -> None:
    lines = [{"sku": "a1", "qty": n, "note": "x" * 30 * n} for n in (1, 2)]
    fields = ["17", json.dumps(lines), None, '["Ann", "Bob", "Cyd"]', "[1]", "[broken"]
    assert shape(fields, 2) == (
        '99 | {"aaa": "a9", "aaa": 9, "aaaa": "' + "a" * 60 + '"} |  | "aaa" | [9] | [aaaaaa'
    )
    assert (
        shape(fields, 0)
        == shape(fields, None)
        == (
            '99 | [{"aaa": "a9", "aaa": 9, "aaaa": "aaaaa… |  | ["aaa", "aaa", "aaa"] | [9] | [aaaaaa'
        )
    )
    assert shape(None, 1) == "could not be decoded"


def test_brackets_in_a_cell_are_printed_as_they_are() -> None:
    out = Console(width=160, record=True, highlight=False, file=io.StringIO())
    render.rows(("fields",), [("[aaa, 9] [/b]",)], "table", out)
    assert out.export_text().splitlines()[1].rstrip() == "[aaa, 9] [/b]"


def test_a_rule_that_suddenly_drops_a_lot_stops_the_night(tmp_path: Path) -> None:
    steady = dict.fromkeys(DAYS, 30)
    check_limits(lake_with(tmp_path / "a", steady), AS_OF, Limits(0.5, 0.2))
    sudden = steady | {DAYS[-2]: 90}
    lake = lake_with(tmp_path / "b", sudden)
    with pytest.raises(ContractError) as error:
        check_limits(lake, AS_OF, Limits(0.5, 0.2))
    assert str(error.value) == "\n".join(
        [
            "cleaning dropped more rows than the limits allow:",
            "  orders from shop, 2025-03-29, user_id: missing: 90 of 200 rows (45%), at most 15% on a day of "
            "the 28 before; max_quarantine_jump = 0.2",
            "`nightjar quarantine` shows the rows; if they are right to go, raise the limit in "
            "nightjar.toml or the environment for this run",
        ]
    )
    check_limits(lake, AS_OF, Limits(0.5, 0.35))
    check_limits(lake, AS_OF, Limits(0.5, None))
    check_limits(lake, DAYS[-2], Limits(0.5, 0.2))  # as of the day before, it had not happened


def test_a_new_reason_counts_from_nothing(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, {DAYS[-1]: 60})
    with pytest.raises(ContractError, match=r"60 of 200 rows \(30%\), at most 0% on a day"):
        check_limits(lake, AS_OF, Limits(None, 0.2))


def test_a_table_that_loses_most_of_its_rows_stops_the_night(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, dict.fromkeys(DAYS, 120))
    with pytest.raises(
        ContractError, match=r"orders from shop: 3,600 of 6,000 rows \(60%\) are quarantined"
    ):
        check_limits(lake, AS_OF, Limits(0.5, None))
    check_limits(lake, AS_OF, Limits(0.7, 0.2))


def test_a_source_that_loses_most_of_its_rows_stops_the_night_whatever_others_bring(
    tmp_path: Path,
) -> None:
    lake = lake_with(tmp_path / "a", dict.fromkeys(DAYS, 166), beside=800)
    with pytest.raises(ContractError) as error:
        check_limits(lake, AS_OF, Limits(0.5, 0.2))
    assert str(error.value) == "\n".join(
        [
            "cleaning dropped more rows than the limits allow:",
            "  orders from shop: 4,980 of 6,000 rows (83%) are quarantined; "
            "max_quarantined_share = 0.5",
            "`nightjar quarantine` shows the rows; if they are right to go, raise the limit in "
            "nightjar.toml or the environment for this run",
        ]
    )
    check_limits(lake, AS_OF, Limits(0.85, 0.2))
    both = lake_with(tmp_path / "b", dict.fromkeys(DAYS, 190), beside=20)
    with pytest.raises(
        ContractError, match=r"  orders of all sources: 5,700 of 6,600 rows \(86%\)"
    ):
        check_limits(both, AS_OF, Limits(0.5, None))


def test_a_jump_in_one_source_stops_the_night_whatever_others_bring(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, dict.fromkeys(DAYS, 10) | {DAYS[-1]: 180}, beside=2000)
    with pytest.raises(ContractError, match=r"orders from shop, 2025-03-30, user_id: missing: 180"):
        check_limits(lake, AS_OF, Limits(0.5, 0.2))


def test_every_table_and_source_over_a_limit_is_named_at_once() -> None:
    counts = "table_name VARCHAR, source VARCHAR, landed_on DATE, n_in BIGINT, n_quarantined BIGINT"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE reconciliation ({counts})")
        connection.execute(
            "CREATE TABLE quarantine (table_name VARCHAR, source VARCHAR, landed_on DATE, "
            "reason VARCHAR)"
        )
        for table, source, most in (
            ("orders", "shop", 0),
            ("orders", "mall", 0),
            ("reviews", "shop", 0),
            ("users", "shop", 180),  # as many on every day: no jump
        ):
            for day in DAYS:
                n = 150 if day == DAYS[-1] and not most else most
                connection.execute(
                    "INSERT INTO reconciliation VALUES (?, ?, ?, 200, ?)", [table, source, day, n]
                )
                connection.execute(
                    "INSERT INTO quarantine SELECT ?, ?, ?, 'user_id: missing' FROM range(?)",
                    [table, source, day, n],
                )
        problems = over_limits(connection, AS_OF, Limits(0.5, 0.2))
    jump = (
        "2025-03-30, user_id: missing: 150 of 200 rows (75%), at most 0% on a day of the 28 "
        "before; max_quarantine_jump = 0.2"
    )
    assert problems == (
        "users from shop: 5,400 of 6,000 rows (90%) are quarantined; max_quarantined_share = 0.5",
        f"orders from mall, {jump}",
        f"orders from shop, {jump}",
        f"reviews from shop, {jump}",
    )


def test_where_nothing_is_dropped_nothing_stops(tmp_path: Path) -> None:
    lake = lake_with(tmp_path, {})
    assert dropped(lake) == []
    check_limits(lake, AS_OF, Limits(0.5, 0.2))


def test_files_of_an_earlier_version_have_null_for_what_they_lack(tmp_path: Path) -> None:
    """As after an upgrade, or when a release of before a new column is current again."""
    columns = {"landed_on": DAYS[0], "table_name": "orders", "source": "shop", "n_in": 3,
               "n_clean": 2, "n_duplicate": 1, "n_quarantined": 0}  # fmt: skip
    old, new = tmp_path / "old.parquet", tmp_path / "new.parquet"
    pq.write_table(pa.Table.from_pylist([columns]), old)
    pq.write_table(pa.Table.from_pylist([columns | {"n_erased": 5}]), new)
    with duckdb.connect() as connection:

        def erased(*paths: Path) -> list[object]:
            sql = select_from(RECONCILIATION, [str(p) for p in paths])
            return [
                row[0] for row in connection.execute(f"SELECT n_erased FROM ({sql})").fetchall()
            ]

        assert erased(old) == [None]
        assert sorted(map(str, erased(old, new))) == ["5", "None"]
        assert erased(new, new) == [5, 5]
        assert "union_by_name" not in select_from(RECONCILIATION, [str(new)])


def test_files_that_are_cut_off_are_found_among_what_was_dropped(tmp_path: Path) -> None:
    rows = [
        {
            "landed_on": DAYS[day],
            "table_name": table,
            "source": "shop",
            "reason": reason,
            "file": f"{day}.csv",
            "line": line,
            "element": 0,
            "row_hash": "h",
        }
        for day, line, table, reason in (
            (-3, 9, "orders", CUT_OFF),  # before
            (-2, 9, "orders", CUT_OFF),
            (-2, 9, "users", CUT_OFF),
            (-2, 8, "users", "user_id: missing"),
            (-1, 7, "users", "user_id: missing"),
        )
    ]
    database = tmp_path / "release.duckdb"
    with duckdb.connect(str(database)) as connection:
        for table, listed in ((QUARANTINE, rows), (RECONCILIATION, [])):
            listed_rows = pa.Table.from_pylist(listed, arrow_schema(table))  # noqa: F841  by its name
            connection.execute(f"CREATE TABLE {table.name} AS SELECT * FROM listed_rows")
        connection.execute("CREATE TABLE release_files (path VARCHAR)")
    files = counted(database, DAYS[-2], AS_OF).cut_off
    assert [cut_off_line(*of) for of in files] == [
        "-2.csv of shop ends in the middle of a line: was it cut off? Its last line is quarantined; "
        "a whole file in its place is read again"
    ]
