"""Lookups joined to rows: by key, as of a day where they have one; and persons known through them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.days import DEDUP_DAYS
from contracts.errors import ContractError
from jobs import erasure
from jobs.landing.landing import landed
from jobs.landing.raw_folder import raw_files
from jobs.mapping.expressions import shown
from jobs.mapping.sources import read_mapping
from jobs.stage import Settings
from tests.jobs.mapping.campaigns import D1, D2, KEY, NESTED, TIMED, judged, log, read, written


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


VERSIONS = """
campaign;starts;name;category
c1;2025-01-02;Second;late
c1;2024-12-01;First;early
c1;2025-1-3T00:00:00;Third;never
c2;2025-01-02;Only;late
c2;2025-01-03;Then;never
"""


def seen(spark: SparkSession, folder: Path) -> set[tuple[date, str, str | None]]:
    """Landing day, campaign, and the category that rows saw in `VERSIONS`."""
    kept, _ = judged(spark, folder, "items")
    return {(r.landed_on, r.item_id, r.category_id) for r in kept}


def test_a_row_sees_the_newest_version_of_the_day_of_its_event_however_late_it_lands(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(tmp_path, TIMED, campaigns=VERSIONS)
    log(
        tmp_path,
        {
            D1: """
                1,ann,c1,2025-01-01T23:59:59
                2,ann,c2,2025-01-01
                """,
            D2: """
                3,ann,c1,2025-01-01
                4,ann,c2,2025-01-02T00:00:00
                5,ann,c3,
                """,
        },
    )
    assert seen(spark, tmp_path) == {
        (D1, "c1", "early"),
        (D1, "c2", None),
        (D2, "c1", "early"),
        (D2, "c2", "late"),
    }


def test_the_day_of_an_event_is_that_of_the_sources_timezone(
    spark: SparkSession, tmp_path: Path
) -> None:
    zone = 'timezone = "America/New_York"\n[sources.log.lookups]'
    written(tmp_path, TIMED.replace("[sources.log.lookups]", zone), campaigns=VERSIONS)
    log(tmp_path, {D1: "1,ann,c1,2025-01-01T22:00:00", D2: "2,ann,c1,2025-01-02T04:00:00Z"})
    assert seen(spark, tmp_path) == {(D1, "c1", "early"), (D2, "c1", "early")}
    log(tmp_path, {D1: "1,ann,c1,2025-01-01T22:00:00", D2: "2,ann,c1,2025-01-02T05:00:00Z"})
    assert seen(spark, tmp_path) == {(D1, "c1", "early"), (D2, "c1", "late")}


def test_an_expression_may_say_which_day_is_meant_but_none_that_is_far_ahead(
    spark: SparkSession, tmp_path: Path
) -> None:
    on = (
        "case user when 'ann' then string(date_add(date(day), 1)) when 'bob' then '2026-01-01' "
        "when 'cy' then 'soon' when 'eve' then string(date(day)) when 'fay' then '2025' "
        "when 'gus' then '20250101' end"
    )
    use = f'campaigns = {{ key = ["what"], on = "{on}" }}'
    written(tmp_path, TIMED.replace('campaigns = "what"', use), campaigns=VERSIONS)
    log(
        tmp_path,
        {
            D1: """
                1,ann,c1,2025-01-01
                2,bob,c2,2025-01-01
                3,cy,c2,2025-01-01
                4,dan,c3,2025-01-01
                5,eve,c4,tomorrow
                6,fay,c2,2025-01-01
                7,gus,c2,2025-01-01
                """
        },
    )
    kept, dropped = judged(spark, tmp_path, "items")
    assert {(r.item_id, r.category_id) for r in kept} == {
        ("c1", "late"),
        ("c2", "late"),
        ("c3", None),
    }
    assert {(r.line, r.reason) for r in dropped} == {
        *((line, "lookups.campaigns.on: not a day such as 2025-01-31") for line in (4, 7, 8)),
        (6, f"lookups.campaigns.on: {shown(on)} cannot be computed"),
    }


def test_a_key_of_several_columns_may_be_made_of_an_element(
    spark: SparkSession, tmp_path: Path
) -> None:
    written(tmp_path, NESTED, prices="shop,sku,price\n1,x,2.50\n2,x,9.99\n1,y,1.25\n")
    lines = '[{"sku": "x"}, {"sku": "y"}, {"sku": "z"}]'
    (tmp_path / f"{D1}.jsonl").write_text(f'{{"id": "o", "user": "ann", "lines": {lines}}}\n')
    kept, dropped = judged(spark, tmp_path, "orders")
    assert {(r.item_id, r.amount_minor) for r in kept} == {("x", 250), ("y", 125)}
    assert [(r.element, r.reason) for r in dropped] == [(3, "unit_price: missing")]


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
    blanked = erasure.blanked(rows, source, settings, {KEY.of("ann")})
    assert {r.line: r.problem for r in blanked.collect()} == {
        2: "erased: posts, users",
        3: "erased: users",
        4: None,
        5: None,
    }
    judgements = erasure.judgements(
        rows, "users", mapping.feeding("users"), settings, [D1], DEDUP_DAYS, {KEY.of("ann")}
    )
    assert {(r.line, r.verdict) for r in judgements.collect()} == {(2, "clean"), (3, "duplicate")}
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
        erasure.blanked(rows, only, settings, {KEY.of("ann")})
    assert str(error.value) == "lookups.campaigns: tables/campaigns.csv was not read"
