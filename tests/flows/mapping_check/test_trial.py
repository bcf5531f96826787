"""A mapping tried on raw files: the counts of a night, without a home."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.sql import SparkSession
from rich.console import Console

from contracts.errors import ContractError
from contracts.history import TrainingDays
from flows.cli.mapping_check_page import page
from flows.mapping_check.raw_files import absent_from_first
from flows.mapping_check.result import Checked, as_json
from flows.mapping_check.trial import of_settings, sampled, tried
from flows.monitor.quarantine import NO_LIMITS, Limits
from flows.settings import read_settings
from jobs.landing.landing import NEVER
from jobs.landing.lookup_files import read_whole
from jobs.landing.raw_folder import files_before
from jobs.mapping.sources import RawFile, read_mapping

MAPPING = """
[money]
reporting_currency = "EUR"
[sources.log]
files = "log/{day}.csv"
format = "csv"
missing = "empty"
columns = ["id", "who", "sku", "n", "price", "at"]
[sources.log.tables.orders]
line_id = "id"
order_id = "id"
user_id = "who"
item_id = "sku"
quantity = "n"
unit_price = "price"
currency = "'EUR'"
occurred_at = "at"
[sources.log.tables.users]
user_id = "who"
occurred_at = "at"
"""


LEARNING = TrainingDays(14, 24, 7, 2)


def checked(
    spark: SparkSession,
    mapping: Path,
    raw: Path,
    folder: Path,
    as_of: date,
    rows: int | None = None,
    limits: Limits = NO_LIMITS,
) -> Checked:
    """What a check finds as of a day, in the session of the tests."""
    read = read_whole(mapping, raw, as_of)
    files = files_before(read, raw, as_of)
    return tried(spark, read, files, as_of, rows, folder, LEARNING, limits)


def written(folder: Path, days: dict[str, str]) -> None:
    """A mapping, and a file of order lines per day."""
    (folder / "m.toml").write_text(MAPPING)
    (folder / "log").mkdir()
    for day, lines in days.items():
        body = "\n".join(line.strip() for line in lines.strip().splitlines())
        (folder / f"log/{day}.csv").write_text(f"id,who,sku,n,price,at\n{body}\n")


def test_a_check_counts_what_a_night_would_keep_and_drop(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(
        tmp_path,
        {
            "2025-01-01": """
                a,ann,x,1,2.50,2025-01-01T10:00:00
                b,bob,x,one,2.50,2025-01-01T11:00:00
                c,,x,1,2.50,2025-01-01T12:00:00
                """,
            "2025-01-02": """
                a,ann,x,1,2.50,2025-01-01T10:00:00
                d,bob,x,1,2.50,2025-01-02T13:00:00.5+01:00
                e,dan,x,1
                """,
            "2025-01-03": "f,ann,x,1,2.50,2025-01-03T10:00:00",
        },
    )
    with (tmp_path / "log/2025-01-01.csv").open("a") as file:
        file.write("g,eve,x")
    result = checked(spark, tmp_path / "m.toml", tmp_path, tmp_path / "t", date(2025, 1, 3))
    shown = as_json(result)
    assert shown["tables"]["orders"] == {
        "in": 7,
        "clean": 2,
        "duplicate": 1,
        "quarantined": 4,
        "reasons": {
            "expected 6 fields, found 4": 1,
            "quantity: not a whole number": 1,
            "the file ends in the middle of this line: was it cut off?": 1,
            "user_id: missing": 1,
        },
        "users": 2,
        "first": "2025-01-01T10:00:00Z",
        "last": "2025-01-02T12:00:00.500000Z",
    }
    assert shown["tables"]["users"]["clean"] == 4
    assert shown["tasks"]["purchase_7d"]["can_be_trained"] is False
    assert shown["tasks"]["purchase_7d"]["from"] > "2025-01-20"
    out = Console(width=160, record=True, file=io.StringIO())
    page(out, result)
    lines = out.export_text().splitlines()
    assert lines[:2] == [
        "all rows of 2 files, as of 2025-01-03: 7 rows",
        "log/2025-01-01.csv of log ends in the middle of a line: was it cut off? Its last line is "
        "quarantined; a whole file in its place is read again",
    ]
    assert shown["cut_off"] == [lines[1]]
    assert any("log/2025-01-01.csv:3" in line and "a | aaa | a | aaa" in line for line in lines)
    assert not any("bob" in line for line in lines)


def test_a_log_of_which_nothing_is_clean_teaches_nothing_and_what_may_help_is_said(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(tmp_path, {"2025-01-01": "a,ann,x,-1,2.50,2025-01-01T10:00:00"})
    (tmp_path / "m.toml").write_text(MAPPING + 'where = "price > 0"\n')
    result = checked(spark, tmp_path / "m.toml", tmp_path, tmp_path / "t", date(2025, 12, 1))
    out = Console(width=200, record=True, file=io.StringIO())
    page(out, result)
    lines = [line.strip() for line in out.export_text().splitlines()]
    at = lines.index("tasks")
    assert lines[at : at + 3] == [
        "tasks",
        "off, for want of clean rows of orders: purchase_7d, purchase_30d, spend_30d",
        "off, for want of reviews: next_rating_90d, sentiment_next_30d",
    ]
    assert "off, for want of clean rows of orders, users: churn_28d, return_90d" in lines
    helps = lines[lines.index("what may help") + 1 :]
    assert helps == [
        "orders: no row is clean; a night would have nothing of it",
        "orders, quantity: not above 0: are these returns or cancellations? `kind` says so, and how "
        "many are above 0: kind = \"if(try_cast(n as int) < 0, 'cancellation', 'purchase')\", "
        'quantity = "abs(try_cast(n as int))"',
        "users: no row is clean; a night would have nothing of it",
        "users, where: price > 0 cannot be computed: every raw column is text: convert it before you "
        'compare or calculate, as in "try_cast(price as double) > 0"',
    ]


def test_a_check_reads_the_first_rows_of_each_file(spark: SparkSession, tmp_path: Path) -> None:
    rows = "\n".join(f"l{i},ann,x,1,2.50,2025-01-01T10:00:00" for i in range(50))
    written(tmp_path, {"2025-01-01": rows})
    result = checked(spark, tmp_path / "m.toml", tmp_path, tmp_path / "t", date(2025, 1, 3), 20)
    assert result.tables[0].rows_in == 20


@pytest.mark.parametrize("format_", ["jsonl", "json"])
def test_a_check_of_the_first_rows_says_which_keys_they_all_lack(
    tmp_path: Path, format_: str
) -> None:
    toml_of_rows = """
        [sources.log]
        files = "{day}.jsonl"
        format = "FORMAT"
        missing = "empty"
        columns = ["id", "country", "at"]
        [sources.log.tables.users]
        user_id = "id"
        country = "country"
        occurred_at = "at"
    """.replace("FORMAT", format_)
    rows = [{"id": str(i), "at": "2025-01-01T10:00:00Z"} for i in range(30)]
    rows.append(rows[0] | {"country": "DE"})
    lines = [json.dumps(row) for row in rows]
    text = "\n".join(lines) if format_ == "jsonl" else f"[{','.join(lines)}]"

    def absent(max_rows: int, toml: str = toml_of_rows) -> tuple[str, ...]:
        (tmp_path / "m.toml").write_text(toml)
        mapping = read_mapping(tmp_path / "m.toml")
        return absent_from_first(
            mapping, files_before(mapping, tmp_path, date(2025, 2, 1)), max_rows
        )

    (tmp_path / "2025-01-01.jsonl").write_text(text)
    why = (
        "none of the first 20 rows has the key country; the keys there are at, id; if rows may lack "
        'it, say missing_key = "null" in the mapping'
    )
    assert absent(20) == (f"log: 2025-01-01.jsonl: {why}",)
    assert absent(31) == ()
    assert (
        absent(20, toml_of_rows.replace("[sources.log]", "[sources.log]\nmissing_key = 'null'"))
        == ()
    )
    for day in range(2, 6):
        (tmp_path / f"2025-01-0{day}.jsonl").write_text(text)
    assert absent(20) == (
        f"log: 2025-01-01.jsonl: {why}",
        f"log: 2025-01-02.jsonl: {why}",
        f"log: 2025-01-03.jsonl: {why}; and 2 more files",
    )
    result = Checked(date(2025, 2, 1), 20, (), (), (), (), absent_from_first=absent(20))
    assert (result.may_stop, replace(result, read_whole=False).may_stop) == ((), absent(20))


def test_of_thousands_of_files_some_are_looked_into_from_the_first_to_the_last() -> None:
    files = tuple(RawFile(Path(f"{i}"), f"{i}", None) for i in range(1000))
    some = sampled({"many": files, "few": files[:3]}, 20)
    assert some["few"] == files[:3]
    spread, newest = [0, 248, 497, 745, 994], range(995, 1000)
    assert [f.name for f in some["many"]] == [str(i) for i in (*spread, *newest)]
    week = [f.name for f in sampled({"many": files})["many"][-7:]]
    assert week == [str(i) for i in range(993, 1000)]  # where a jump would stop a night
    assert len(sampled({"many": files})["many"]) == 75  # of two cores half a minute at most
    of_many_sources = sampled({f"s{i}": files for i in range(60)})
    assert {tuple(f.name for f in some) for some in of_many_sources.values()} == {("0", "999")}


def test_all_sources_that_cannot_be_landed_are_named(spark: SparkSession, tmp_path: Path) -> None:
    written(tmp_path, {"2025-01-01": "a,ann,x,1,2.50,2025-01-01T10:00:00"})
    one = MAPPING[MAPPING.index("[sources.log]") :]
    (tmp_path / "m.toml").write_text(MAPPING + one.replace("sources.log", "sources.again"))
    (tmp_path / "log/2025-01-01.csv").write_text("id,who\na,ann\n")
    with pytest.raises(ContractError) as error:
        checked(spark, tmp_path / "m.toml", tmp_path, tmp_path / "t", date(2025, 1, 3))
    assert str(error.value).splitlines() == [
        "source log cannot be landed:",
        "  log/2025-01-01.csv: no column sku, n, price, at; its header has id, who",
        "source again cannot be landed:",
        "  log/2025-01-01.csv: no column sku, n, price, at; its header has id, who",
    ]


def test_a_day_that_has_not_begun_is_a_mistake_to_a_check_of_now(
    tmp_path: Path, monkeypatch
) -> None:
    """With a day of its own it is of then: what lands later waits for its night."""
    asked: list[date] = []

    def stopped(*given: object) -> None:
        asked.append(given[-1])  # type: ignore[arg-type]
        raise ContractError("seen")

    monkeypatch.setattr("flows.mapping_check.trial.tried", stopped)
    monkeypatch.setattr(
        "flows.mapping_check.trial.start_session", lambda *arguments: SimpleNamespace(stop=list)
    )
    written(tmp_path, {"2025-05-30": ""})
    settings = read_settings(source=tmp_path / "m.toml", raw=tmp_path)
    now = datetime.now(UTC).date()
    for as_of in (None, "2025-06-01"):
        with pytest.raises(ContractError, match="seen"):
            of_settings(settings, as_of, None)
    assert asked[0] - now in (timedelta(days=2), timedelta(days=3))
    assert asked[1] == NEVER


@pytest.mark.slow
def test_ids_that_look_like_none_are_counted_and_what_to_write_is_said(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(
        tmp_path,
        {
            "2025-01-01": """
                a,none,x,1,2.50,2025-01-01T10:00:00
                b, None ,x,1,2.50,2025-01-01T10:00:00
                c,Unknown,x,1,2.50,2025-01-01T10:00:00
                d,nancy,x,1,2.50,2025-01-01T10:00:00
                """,
            "2025-01-02": """
                e,Unknown,-,one,2.50,2025-01-02T10:00:00
                f,none
                """,
        },
    )
    result = checked(spark, tmp_path / "m.toml", tmp_path, tmp_path / "t", date(2025, 1, 3))
    values = '["", "NULL", "null", "\\\\N", "nan", "NaN", "None", "N/A", "#N/A", '
    assert [one.advice for one in result.null_like] == [
        *(
            f'{table} from log: 3 rows have the user_id "Unknown" or "none", which is taken for an '
            "id. If it says that there is none, write under [sources.log]: null_values = "
            f'{values}"Unknown", "none"]; where an expression or an element of `each` gives '
            "it: nullif(…, 'Unknown')"
            for table in ("orders", "users")
        ),
        'orders from log: 1 row has the item_id "-", which is taken for an id. If it says that '
        f'there is none, write under [sources.log]: null_values = {values}"-"]; where an '
        "expression or an element of `each` gives it: nullif(…, '-')",
    ]
    assert as_json(result)["ids_like_null"][2] == {
        "source": "log", "table": "orders", "field": "item_id", "rows": 1, "texts": ["-"],
    }  # fmt: skip
    out = Console(width=160, record=True, file=io.StringIO())
    page(out, result)
    assert "  " + result.null_like[0].advice in out.export_text().splitlines()

    said = values + '"Unknown", "none", "-"]'
    (tmp_path / "m.toml").write_text(
        MAPPING.replace('missing = "empty"', f'missing = "empty"\nnull_values = {said}')
    )
    again = checked(spark, tmp_path / "m.toml", tmp_path, tmp_path / "u", date(2025, 1, 3))
    assert again.null_like == ()
    assert again.tables[0].clean == 1


def test_ids_that_some_rows_write_with_decimals_and_others_without_are_told(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Items, which all rows write in one way, are not."""
    written(
        tmp_path,
        {
            "2025-01-01": """
                a,7.0,5.0,1,2.50,2025-01-01T10:00:00
                b, 8.00,5.0,1,2.50,2025-01-01T10:00:00
                c,1.5,5.0,1,2.50,2025-01-01T10:00:00
                d,7,5.0,1,2.50,2025-01-01T10:00:00
                """,
        },
    )
    result = checked(spark, tmp_path / "m.toml", tmp_path, tmp_path / "t", date(2025, 1, 3))
    assert result.ids_with_decimals == tuple(
        f"{table} from log: 2 rows have a user_id that is written as 123.0 in who, and others are "
        "written as 123, which is another id. If they are one, write user_id = "
        "\"regexp_replace(who, '^(-?[0-9]+)[.]0+$', '$1')\""
        for table in ("orders", "users")
    )
    assert as_json(result)["ids_with_decimals"] == list(result.ids_with_decimals)
    out = Console(width=160, record=True, file=io.StringIO())
    page(out, result)
    assert "  " + result.ids_with_decimals[0] in out.export_text().splitlines()

    whole_number = "\"regexp_replace(who, '^(-?[0-9]+)[.]0+$', '$1')\""
    (tmp_path / "m.toml").write_text(
        MAPPING.replace('user_id = "who"', f"user_id = {whole_number}")
    )
    again = checked(spark, tmp_path / "m.toml", tmp_path, tmp_path / "u", date(2025, 1, 3))
    assert again.ids_with_decimals == ()
    assert [table.users for table in again.tables] == [3, 3]


def test_keys_that_a_lookup_has_no_row_for_are_counted(spark: SparkSession, tmp_path: Path) -> None:
    written(
        tmp_path,
        {
            "2025-01-01": """
                a,ann,26.0,1,2.50,2025-01-01T10:00:00
                b,bob,26,1,2.50,2025-01-01T10:00:00
                c,cat,abc,1,2.50,2025-01-01T10:00:00
                """,
            "2025-01-02": """
                d,ann,,1,2.50,2025-01-02T10:00:00
                e,bob,ABC,1,2.50,2025-01-02T10:00:00
                """,
        },
    )
    (tmp_path / "items.csv").write_text("sku,item\n26,pen\nABC,cup\n")
    lookup = """
        [lookups.items]
        file = "items.csv"
        format = "csv"
        columns = ["sku", "item"]
        key = "sku"
        """
    mapping = MAPPING.replace('missing = "empty"', 'missing = "empty"\nlookups = { items = "sku" }')
    mapping = mapping.replace('item_id = "sku"', 'item_id = "coalesce(items.item, sku)"')
    (tmp_path / "m.toml").write_text(mapping + lookup)
    result = checked(spark, tmp_path / "m.toml", tmp_path, tmp_path / "t", date(2025, 1, 3))
    assert as_json(result)["keys_not_in_lookups"] == [
        {"source": "log", "table": "orders", "lookup": "items", "rows": 2}
    ]
    out = Console(width=160, record=True, file=io.StringIO())
    page(out, result)
    assert (
        "  orders from log: 2 rows have keys that lookup items has no row for, so that its columns "
        "are null there. If it should have one: are both written alike (not 26.0 and 26, or Abc and "
        "abc), and does one hold on that day?"
    ) in out.export_text().splitlines()
