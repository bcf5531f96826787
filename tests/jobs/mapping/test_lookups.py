"""What a mapping says of lookups, and which days depend on what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from contracts.errors import UsageError
from flows.mapping_check.result import as_json
from jobs.cleaning.mapping_analysis import check_expressions
from jobs.mapping.sources import read_mapping
from jobs.stage import Settings
from jobs.stages import job_named
from tests.flows.mapping_check.test_trial import checked
from tests.jobs.mapping.campaigns import (
    AS_OF,
    CAMPAIGNS,
    D1,
    D2,
    KEY,
    MAPPING,
    TIMED,
    log,
    read,
    written,
)


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
    with pytest.raises(UsageError) as error:
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
        "  sources.log.lookups.campaigns: expected a Spark SQL expression in quotes, a list of "
        "them, or a table with key, found 3",
        "  sources.log.lookups.user: expressions know another column by that name; rename "
        "[lookups.user]",
        "  sources.log.lookups.regions: no such lookup; expected one of campaigns, shops, days, "
        "user, idle",
        "  lookups.idle: no source uses it; say in one which expression gives its key: "
        'lookups = { idle = "…" }',
    ]


def test_a_lookup_that_no_expression_names_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, MAPPING.replace("campaigns.", "x.campaigns."))
    with pytest.raises(UsageError) as error:
        read_mapping(path)
    assert str(error.value).splitlines()[1:] == [
        "  sources.log.lookups.campaigns: no expression of its tables names it"
    ]


def test_a_day_that_is_made_of_lookups_cannot_say_which_row_is_meant(tmp_path: Path) -> None:
    mapping = TIMED.replace('occurred_at = "day"\nwhere', 'occurred_at = "campaigns.starts"\nwhere')
    with pytest.raises(UsageError) as error:
        read_mapping(written(tmp_path, mapping))
    assert str(error.value).splitlines()[1:] == [
        "  sources.log.lookups.campaigns: which day's row is meant is said by occurred_at of items, "
        'which is made of lookups; say it with on: { key = "…", on = "…" }'
    ]
    on = mapping.replace('campaigns = "what"', 'campaigns = { key = "what", on = "day" }')
    assert read_mapping(written(tmp_path, on)).lookups


def test_expressions_over_lookups_are_analysed_with_all_others(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = written(
        tmp_path,
        MAPPING.replace('"what"\n[', '"trunk(what)"\n[')
        .replace("campaigns.name\"", "campaigns.title\"")
        .replace("user_id = \"user\"", "user_id = \"people.id\"\ncountry = \"campaigns.name\""),
    )  # fmt: skip
    with pytest.raises(UsageError) as error:
        check_expressions(spark, read_mapping(path))
    assert str(error.value).splitlines() == [
        "the mapping has expressions that are wrong:",
        "  sources.log.lookups.campaigns: trunk(what): no function trunk",
        "  sources.log.tables.items.title: campaigns.title: no title in a column that has "
        "campaign, starts, name, category",
        "  sources.log.tables.users.user_id: people.id: no column people.id; the source's columns "
        "are id, user, what, day, line_number, file_name, campaigns",
    ]


Contents = tuple[Mapping[str, str], Any]


def contents(folder: Path, table: str, day: date = D1) -> Contents:
    """What the rows of a day depend on: lookups and configuration."""
    job, settings = job_named(f"clean_{table}"), Settings(read(folder), KEY)
    return job.lookups(settings, day), job.settings(settings, day)


def test_a_lookup_is_content_of_those_tables_alone_that_name_it(tmp_path: Path) -> None:
    written(tmp_path)
    log(tmp_path, {D1: "", D2: ""})

    items, users = contents(tmp_path, "items"), contents(tmp_path, "users")
    head, *rows = CAMPAIGNS.strip().splitlines()
    written(tmp_path, campaigns="\n".join([head, *reversed(rows)]))
    assert contents(tmp_path, "items") == items
    written(tmp_path, campaigns=CAMPAIGNS.replace("Spring", "Summer"))
    assert contents(tmp_path, "items") != items
    assert contents(tmp_path, "items")[1] == items[1]
    assert contents(tmp_path, "users") == users
    written(tmp_path, MAPPING.replace('campaigns = "what"', 'campaigns = "lower(what)"'))
    assert contents(tmp_path, "items")[0] == items[0]
    assert contents(tmp_path, "items")[1] != items[1]
    assert contents(tmp_path, "users") == users
    moved = MAPPING.replace("tables/campaigns.csv", "elsewhere.csv")
    (tmp_path / "elsewhere.csv").write_text(CAMPAIGNS.lstrip().replace("Spring", "Summer"))
    written(tmp_path, moved)
    summer = contents(tmp_path, "items")
    written(tmp_path, campaigns=CAMPAIGNS.replace("Spring", "Summer"))
    assert contents(tmp_path, "items") == summer


def test_a_version_of_later_is_no_content_of_earlier_days(tmp_path: Path) -> None:
    """A row may be of the day after it landed, so that day's versions count."""
    log(tmp_path, {D1: "", D2: ""})
    head = "campaign;starts;name;category\n"
    versions = "c1;2024-01-01;a;\nc2;2024-06-01;b;\n"

    def days(more: str) -> list[Contents]:
        written(tmp_path, TIMED, campaigns=head + versions + more)
        return [contents(tmp_path, "items", day) for day in (D1, D2)]

    first, second = days("")
    assert days("c1;2025-01-04;z;\n") == [first, second]
    soon = days("c1;2025-01-03;z;\n")
    assert soon[0] == first
    assert soon[1] != second
    earlier = days("c1;2023-01-03;z;\n")
    assert earlier[0] != first
    assert earlier[1] != second


def test_a_check_says_what_it_read_of_lookups_and_counts_with_them(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = written(tmp_path)
    log(tmp_path, {D1: "1,ann,c1,2025-01-01\n2,ann,c3,2025-01-01\n3,bob,c4,2025-01-01", D2: ""})
    shown = as_json(checked(spark, path, tmp_path, tmp_path / "t", AS_OF))
    assert shown["lookups"] == {"campaigns": {"file": "tables/campaigns.csv", "rows": 4}}
    assert shown["tables"]["items"] == {
        "in": 2,
        "clean": 1,
        "duplicate": 0,
        "quarantined": 1,
        "reasons": {"is over": 1},
        "users": None,
        "first": "2025-01-01T00:00:00Z",
        "last": "2025-01-01T00:00:00Z",
    }
    assert shown["tables"]["users"]["clean"] == 2
