"""Lookups: small files joined by key, as of a day where they have one, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from contracts.days import DEDUP_DAYS
from contracts.table import CallError, ContractError
from contracts.tables import table_named
from flows.checked import as_json
from jobs import erasing, lookup_files
from jobs.analysis import check_expressions
from jobs.clean import clean, quarantine, verdicts
from jobs.land import landed
from jobs.lookup_files import read_whole
from jobs.raw_folder import raw_files
from jobs.sources import SourceMapping, read_mapping
from jobs.stages import Settings, job_named, rules_for
from jobs.user_key import UserKey
from tests.flows.test_check import checked

KEY = UserKey(b"a key for the tests alone")
D1, D2 = date(2025, 1, 1), date(2025, 1, 2)
AS_OF = date(2025, 1, 3)

MAPPING = """
[lookups.campaigns]
file = "tables/campaigns.csv"
format = "csv"
separator = ";"
columns = ["campaign", "starts", "name", "category"]
key = "campaign"
[sources.log]
files = "{day}.csv"
format = "csv"
columns = ["id", "user", "what", "day"]
[sources.log.lookups]
campaigns = "what"
[sources.log.tables.items]
item_id = "what"
category_id = "campaigns.category"
title = "campaigns.name"
occurred_at = "landed"
where = "coalesce(campaigns.category, '') <> 'test'"
reject = [{ reason = "is over", when = "campaigns.name = 'old'" }]
[sources.log.tables.users]
user_id = "user"
occurred_at = "day"
""".replace('"landed"', '"day"')
CAMPAIGNS = """
campaign;starts;name;category
 c1\u200b;2025-01-01;Spring;mail
cafe\u0301;2025-01-01;;shop
c3;2025-01-01;Trial;test
c4;2025-01-01;old;mail
"""


def written(folder: Path, mapping: str = MAPPING, **lookups: str) -> Path:
    """A mapping and lookups in `tables`, of which the campaigns are given."""
    (folder / "tables").mkdir(exist_ok=True)
    for name, text in ({"campaigns": CAMPAIGNS} | lookups).items():
        (folder / f"tables/{name}.csv").write_text(text.lstrip())
    (folder / "m.toml").write_text(mapping)
    return folder / "m.toml"


def log(folder: Path, days: dict[date, str]) -> None:
    for day, lines in days.items():
        body = "\n".join(line.strip() for line in lines.strip().splitlines())
        (folder / f"{day}.csv").write_text(f"id,user,what,day\n{body}\n")


def read(folder: Path) -> SourceMapping:
    return read_whole(folder / "m.toml", folder, AS_OF)


def refused(folder: Path) -> list[str]:
    with pytest.raises(ContractError) as error:
        read(folder)
    return str(error.value).splitlines()


def judged(spark: SparkSession, folder: Path, table: str) -> tuple[list[Row], list[Row]]:
    """Clean and quarantined rows."""
    mapping = read(folder)
    settings = Settings(mapping, KEY)
    (source,) = mapping.sources
    files = raw_files(source, folder)
    days = [file.landed_on for file in files if file.landed_on is not None]
    rows = verdicts(
        landed(spark, source, files),
        mapping.feeding(table),
        rules_for(table, settings),
        days,
        DEDUP_DAYS,
    )
    of = table_named(table)
    return clean(rows, of).collect(), quarantine(rows, of).collect()


def test_expressions_see_the_row_that_the_key_finds_and_nulls_where_there_is_none(
    spark: SparkSession, tmp_path: Path
) -> None:
    """Keys are compared as ids are: without invisible ends, composed."""
    written(tmp_path)
    log(
        tmp_path,
        {
            D1: """
                1,ann,c1\u00a0,2025-01-01
                2,ann,caf\u00e9,2025-01-01
                3,ann,c3,2025-01-01
                4,ann,c4,2025-01-01
                5,ann,C1,2025-01-01
                6,ann,,2025-01-01
                7,ann
                """
        },
    )
    kept, dropped = judged(spark, tmp_path, "items")
    assert {(r.item_id, r.category_id, r.title) for r in kept} == {
        ("c1", "mail", "spring"),
        ("caf\u00e9", "shop", None),
        ("C1", None, None),
    }
    assert {(r.line, r.reason) for r in dropped} == {
        (5, "is over"),
        (7, "item_id: missing"),
        (8, "expected 4 fields, found 2"),
    }


TIMED = MAPPING.replace('key = "campaign"', 'key = ["campaign"]\nfrom = "starts"')
VERSIONS = """
campaign;starts;name;category
c1;2025-01-02;Second;late
c1;2024-12-01;First;early
c1;20250103T00:00:00;Third;never
c2;2025-01-02;Only;late
"""


def test_where_a_lookup_has_a_day_the_version_of_the_rows_day_is_seen(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(tmp_path, TIMED, campaigns=VERSIONS)
    log(
        tmp_path,
        {D1: "1,ann,c1,2025-01-01\n2,ann,c2,2025-01-01", D2: "3,ann,c1,2025-01-01\n4,ann,c2,"},
    )
    kept, _ = judged(spark, tmp_path, "items")
    assert {(r.landed_on, r.item_id, r.category_id) for r in kept} == {
        (D1, "c1", "early"),
        (D1, "c2", None),
        (D2, "c1", "late"),
    }
    on = TIMED.replace(
        'campaigns = "what"', 'campaigns = { key = ["what"], on = "cast(day as date)" }'
    )
    written(tmp_path, on, campaigns=VERSIONS)
    log(tmp_path, {D2: "3,ann,c1,2025-01-01\n4,ann,c2,2025-01-02\n5,ann,c2,tomorrow"})
    kept, dropped = judged(spark, tmp_path, "items")
    assert {(r.landed_on, r.item_id, r.category_id) for r in kept if r.landed_on == D2} == {
        (D2, "c1", "early"),
        (D2, "c2", "late"),
    }
    assert [(r.line, r.reason) for r in dropped if r.landed_on == D2] == [
        (4, "lookups.campaigns.on: cast(day as date) cannot be computed")
    ]


NESTED = """
[money]
reporting_currency = "EUR"
[lookups.prices]
file = "tables/prices.csv"
format = "csv"
columns = ["shop", "sku", "price"]
key = ["sku", "shop"]
[sources.shop]
files = "{day}.jsonl"
format = "jsonl"
columns = ["id", "user", "lines"]
lookups = { prices = { key = ["each.sku", "cast(1 as int)"] } }
[sources.shop.tables.orders]
each = "lines"
line_id = "concat_ws('-', id, each.sku)"
order_id = "id"
user_id = "user"
item_id = "each.sku"
quantity = "1"
unit_price = "prices.price"
currency = "'EUR'"
occurred_at = "'2025-01-01'"
"""


def test_a_key_of_several_columns_may_be_made_of_an_element(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(tmp_path, NESTED, prices="shop,sku,price\n1,x,2.50\n2,x,9.99\n1,y,1.25\n")
    lines = '[{"sku": "x"}, {"sku": "y"}, {"sku": "z"}]'
    (tmp_path / f"{D1}.jsonl").write_text(f'{{"id": "o", "user": "ann", "lines": {lines}}}\n')
    kept, dropped = judged(spark, tmp_path, "orders")
    assert {(r.item_id, r.amount_minor) for r in kept} == {("x", 250), ("y", 125)}
    assert [(r.element, r.reason) for r in dropped] == [(3, "unit_price: missing")]


def test_all_that_a_mapping_says_wrongly_of_lookups_is_told_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [lookups.campaigns]
        file = "../campaigns.csv"
        format = "csv"
        sheet = "x"
        columns = ["campaign", "Campaign", "starts"]
        key = ["campaign", "shop"]
        from = "begins"
        max_undecodable_share = 1
        [lookups.shops]
        file = "/etc/shops.csv"
        columns = ["a"]
        key = []
        [lookups.days]
        file = "days.csv"
        format = "csv"
        columns = ["a", "b"]
        key = "a"
        [lookups.user]
        file = "users.csv"
        format = "csv"
        columns = ["id"]
        key = "id"
        [lookups.idle]
        file = "{day}.csv"
        format = "csv"
        columns = ["id"]
        key = "id"
        [sources.log]
        files = "{day}.csv"
        format = "csv"
        columns = ["id", "User"]
        [sources.log.lookups]
        days = { key = ["id", "id"], on = "id", at = "x" }
        campaigns = 3
        shops = "id"
        user = "id"
        regions = "id"
        [sources.log.tables.users]
        user_id = "user"
        occurred_at = "x"
        """,
    )
    with pytest.raises(CallError) as error:
        read_mapping(path)
    assert str(error.value).splitlines() == [
        f"{path} is not a valid mapping:",
        "  lookups.campaigns.max_undecodable_share: unknown; expected one of columns, encoding, "
        "file, format, from, header, key, missing_key, multiline, null_values, quote, separator, "
        "sheet",
        "  lookups.campaigns.file: expected a path such as campaigns.csv, without .., * and {day}, "
        "found '../campaigns.csv'",
        "  lookups.campaigns.sheet: only for format xlsx",
        "  lookups.campaigns.columns: campaign, Campaign: expressions cannot tell them apart, for "
        "case does not count",
        "  lookups.campaigns.key: shop: no such column; expected one of campaign, Campaign, starts",
        "  lookups.campaigns.from: begins: no such column; expected one of campaign, Campaign, "
        "starts",
        "  lookups.shops.file: expected a path such as campaigns.csv, without .., * and {day}, "
        "found '/etc/shops.csv'",
        '  lookups.shops.key: expected a column such as "campaign", or a list of columns, found []',
        "  lookups.shops.format: missing; expected one of csv, jsonl, json, parquet, xlsx",
        "  lookups.idle.file: expected a path such as campaigns.csv, without .., * and {day}, "
        "found '{day}.csv'",
        "  sources.log.lookups.days.at: unknown; expected one of key, on",
        "  sources.log.lookups.days.key: expected an expression for each of a, found 2",
        "  sources.log.lookups.days.on: only for lookups with from",
        "  sources.log.lookups.campaigns: expected a Spark SQL expression in quotes, or a table "
        "with key, found 3",
        "  sources.log.lookups.user: expressions know another column by that name",
        "  sources.log.lookups.regions: no such lookup; expected one of campaigns, shops, days, "
        "user, idle",
        "  lookups.idle: no source uses it; say in one which expression gives its key: "
        'lookups = { idle = "…" }',
    ]


def test_a_lookup_that_no_expression_names_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, MAPPING.replace("campaigns.", "x.campaigns."))
    with pytest.raises(CallError) as error:
        read_mapping(path)
    assert str(error.value).splitlines()[1:] == [
        "  sources.log.lookups.campaigns: no expression of its tables names it"
    ]


def test_expressions_over_lookups_are_analysed_with_all_others(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = written(
        tmp_path,
        MAPPING.replace('"what"\n[', '"trunk(what)"\n[')
        .replace("campaigns.name\"", "campaigns.title\"")
        .replace("user_id = \"user\"", "user_id = \"people.id\"\ncountry = \"campaigns.name\""),
    )  # fmt: skip
    with pytest.raises(CallError) as error:
        check_expressions(spark, read_mapping(path))
    assert str(error.value).splitlines() == [
        "the mapping has expressions that are wrong:",
        "  sources.log.lookups.campaigns: trunk(what): no function trunk",
        "  sources.log.tables.items.title: campaigns.title: no title in a column that has "
        "campaign, starts, name, category",
        "  sources.log.tables.users.user_id: people.id: no column people.id; the source's columns "
        "are id, user, what, day, line_number, file_name, campaigns",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("campaign;starts;name;category\n", "it has no rows"),
        ("campaign;name\nx;y\n", "no column starts, category; its header has campaign, name"),
        (
            "campaign;starts;name;category\nann;2025-01-01;;\nbob;;;\n ann;2025-02-01;;\n",
            "lines 2 and 4 have the same campaign",
        ),
        (
            "campaign;starts;name;category\n;;;\nx;;;\n\u200b;;;\n",
            "line 2: campaign: missing; line 4: campaign: missing",
        ),
        ("campaign;starts;name;category\nx;;;\ny;\n", "line 3: expected 4 fields, found 2"),
    ],
)
def test_a_file_that_is_no_lookup_is_told_without_its_values(
    tmp_path: Path, text: str, told: str
) -> None:
    written(tmp_path, campaigns=text)
    log(tmp_path, {D1: "", D2: ""})
    assert refused(tmp_path) == [
        "lookups cannot be read:",
        f"  lookups.campaigns: tables/campaigns.csv: {told}",
    ]


def test_days_of_versions_are_days_and_each_is_of_its_own(tmp_path: Path) -> None:
    log(tmp_path, {D1: "", D2: ""})
    head = "campaign;starts;name;category\n"
    written(tmp_path, TIMED, campaigns=f"{head}x;2025-01-01;;\ny;2025-01-01;;\nx;20250101;;\n")
    assert refused(tmp_path)[1:] == [
        "  lookups.campaigns: tables/campaigns.csv: lines 2 and 4 have the same campaign, and the "
        "same day in starts"
    ]
    written(tmp_path, TIMED, campaigns=head + "".join(f"x;{n}.1.2025;;\n" for n in range(9)))
    assert refused(tmp_path)[1:] == [
        "  lookups.campaigns: tables/campaigns.csv: "
        + "; ".join(f"line {n}: starts: not a day such as 2025-01-31" for n in range(2, 7))
        + "; and 4 more"
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
            (told,) = refused(tmp_path)[1:]
        assert told.endswith(
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
        f"{tmp_path}, the mapping's",
        f"  lookups.prices: {raw}/tables/prices.csv is no file",
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
        contents.add(lookup.content)
    assert len(contents) == 1


def parquet(rows: list[dict[str, str | None]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def test_a_lookup_is_content_of_those_tables_alone_that_name_it(tmp_path: Path) -> None:
    written(tmp_path)
    log(tmp_path, {D1: "", D2: ""})

    def contents(table: str) -> object:
        job, settings = job_named(f"clean_{table}"), Settings(read(tmp_path), KEY)
        return job.lookups(settings), job.settings(settings, D1)

    items, users = contents("items"), contents("users")
    head, *rows = CAMPAIGNS.strip().splitlines()
    written(tmp_path, campaigns="\n".join([head, *reversed(rows)]))
    assert contents("items") == items
    written(tmp_path, campaigns=CAMPAIGNS.replace("Spring", "Summer"))
    assert contents("items") != items
    assert contents("items")[1] == items[1]
    assert contents("users") == users
    written(tmp_path, MAPPING.replace('campaigns = "what"', 'campaigns = "lower(what)"'))
    assert contents("items")[0] == items[0]
    assert contents("items")[1] != items[1]
    assert contents("users") == users


def test_a_check_says_what_it_read_of_lookups_and_counts_with_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = written(tmp_path)
    log(tmp_path, {D1: "1,ann,c1,2025-01-01\n2,ann,c3,2025-01-01\n3,bob,c4,2025-01-01", D2: ""})
    found = as_json(checked(spark, path, tmp_path, tmp_path / "t", AS_OF))
    assert found["lookups"] == {"campaigns": {"file": "tables/campaigns.csv", "rows": 4}}
    assert found["tables"]["items"] == {
        "in": 2,
        "clean": 1,
        "duplicate": 0,
        "quarantined": 1,
        "reasons": {"is over": 1},
        "users": None,
        "first": "2025-01-01T00:00:00Z",
        "last": "2025-01-01T00:00:00Z",
    }
    assert found["tables"]["users"]["clean"] == 2


CARDS = """
[lookups.cards]
file = "tables/cards.csv"
format = "csv"
columns = ["card", "person", "kind"]
key = "card"
[sources.log]
files = "{day}.csv"
format = "csv"
columns = ["id", "user", "what", "day"]
lookups = { cards = "user" }
[sources.log.tables.users]
user_id = "cards.person"
occurred_at = "day"
[sources.log.tables.posts]
post_id = "id"
user_id = "cards.person"
occurred_at = "day"
where = "cards.kind = 'club'"
"""


def test_who_is_known_through_a_lookup_is_erased_through_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(tmp_path, CARDS, cards="card,person,kind\n7,ann,club\n8,ann,day\n9,bob,club\n")
    log(tmp_path, {D1: "1,7,x,2025-01-01\n2,8,x,2025-01-01\n3,9,x,2025-01-01\n4,ann,x,2025-01-01"})
    mapping = read(tmp_path)
    (source,) = mapping.sources
    rows = landed(spark, source, raw_files(source, tmp_path)).persist()
    settings = Settings(mapping, KEY)
    blanked = erasing.blanked(rows, source, settings, {KEY.of("ann")})
    assert {r.line: r.problem for r in blanked.collect()} == {
        2: "erased: posts, users",
        3: "erased: users",
        4: None,
        5: None,
    }
    found = erasing.judgements(
        rows, "users", mapping.feeding("users"), settings, [D1], DEDUP_DAYS, {KEY.of("ann")}
    )
    assert {(r.line, r.verdict) for r in found.collect()} == {(2, "clean"), (3, "duplicate")}
    rows.unpersist()


def test_the_rows_of_a_lookup_are_in_no_landed_table_and_no_message(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(tmp_path)
    log(tmp_path, {D1: "1,ann,c1,2025-01-01"})
    mapping = read(tmp_path)
    (source,) = mapping.sources
    rows = landed(spark, source, raw_files(source, tmp_path))
    assert not rows.where(F.array_join("fields", " ").contains("Spring")).count()
    assert "Spring" not in repr(mapping)
    (only,) = read_mapping(tmp_path / "m.toml").sources
    settings = Settings(read_mapping(tmp_path / "m.toml"), KEY)
    with pytest.raises(ContractError) as error:
        erasing.blanked(rows, only, settings, {KEY.of("ann")})
    assert str(error.value) == "lookups.campaigns: tables/campaigns.csv was not read"
