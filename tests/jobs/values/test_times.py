"""Times: which texts are one, which instant they are, and what says so.

`XXX` in a pattern is how Java writes an offset such as `+02:00`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from random import Random
from zoneinfo import ZoneInfo

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from contracts.values import has_zone, is_time_formats
from jobs.cleaning.fields import NO_MONEY, Context
from jobs.mapping.time_expressions import as_meant
from jobs.values.times import day_written_in, written_day
from jobs.values.trimming import trimmed_fields
from jobs.values.user_key import UserKey

BERLIN = "Europe/Berlin"


KEY = UserKey(b"a key for the tests alone")


def read(
    spark: SparkSession,
    texts: list[str],
    timezone: str = "UTC",
    formats: tuple[str, ...] = ("iso",),
    expression: str = "at",
) -> list[str | None]:
    """The instants in UTC, in ISO 8601."""
    given = Context(KEY, NO_MONEY, timezone=timezone, time_format=formats)
    rows = spark.createDataFrame(list(enumerate(texts)), "i int, at string")
    meant = as_meant(expression)
    read = rows.select(
        "i",
        F.expr(meant).alias("in_at"),
        *trimmed_fields(["at"]),
        given.instant("at").alias("t"),
    )
    shown = F.date_format("t", "yyyy-MM-dd'T'HH:mm:ss.SSSSSS")
    return [
        None if row.t is None else row.t.removesuffix(".000000").removesuffix("000")
        for row in read.select("i", shown.alias("t")).orderBy("i").collect()
    ]


def test_every_way_to_write_an_offset_is_the_same_instant(spark: SparkSession) -> None:
    texts = [
        "2025-06-01 00:30:00+02",
        "2025-06-01 00:30:00+02:00",
        "2025-06-01T00:30:00+0200",
        "2025-06-01 00:30:00 +02:00",
        "2025-06-01T00:30+2",
        "2025-05-31 22:30:00+00",
        "2025-05-31 22:30:00-00:00",
        "2025-05-31T22:30:00Z",
        "2025-05-31t22:30:00.000z",
        "2025-05-31 22:30:00 z",
        "2025-05-31T22:30:00,000000Z",
        "2025-05-31 22:30:00 UTC",
        "2025-05-31 22:30 GMT",
        "2025-06-01 00:30:00 UTC+2",
        "2025-06-01 00:30:00 Europe/Berlin",
        "2025-06-01T00:30:00+02:00[Europe/Berlin]",
        "2025-05-31T22:30Z[UTC]",
        "2025-06-01T00:30[Europe/Berlin]",
        "2025-06-01 00:30:00 [Europe/Berlin]",
        "2025-06-01T00:30:00+02[Europe/Berlin]",
        "2025-06-01 00:30 +0200 [Europe/Berlin]",
        "2025-06-01T00:30:00.0+02:00[Europe/Berlin][u-ca=iso8601]",
        "2025-05-31 19:30:00 America/Argentina/Buenos_Aires",
        " 2025-05-31T22:30:00Z\u00a0",
    ]
    for zone in ("UTC", BERLIN, "Asia/Tokyo"):
        assert set(read(spark, texts, zone)) == {"2025-05-31T22:30:00"}


def test_a_time_without_an_offset_is_of_the_sources_zone(spark: SparkSession) -> None:
    texts = ["2025-06-01 00:30:00", "2025-6-1T00:30", "2025-01-15", "2025-06-01 00:30:00.123456789"]
    assert read(spark, texts) == [
        "2025-06-01T00:30:00",
        "2025-06-01T00:30:00",
        "2025-01-15T00:00:00",
        "2025-06-01T00:30:00.123456",
    ]
    assert read(spark, texts, BERLIN) == [
        "2025-05-31T22:30:00",
        "2025-05-31T22:30:00",
        "2025-01-14T23:00:00",
        "2025-05-31T22:30:00.123456",
    ]


def test_what_is_no_time_is_none(spark: SparkSession) -> None:
    texts = [
        "2025", "2025-06", "12:30", "23:60", "2025-06-01 23:60", "2025-06-01 24:00:00",
        "2025-02-30", "2025-02-29T10:00:00Z", "1748730600", "20250601", "01.06.2025", "06/01/2025",
        "2025-06-01 00:30:00 CEST", "2025-06-01 00:30:00 BST", "2025-06-01 00:30:00 Mars/Base",
        "2025-06-01 00:30:00+25:00", "2025-06-01 00:30:00 x", "2025-06-01Z", "2025-06-01[UTC]", "yesterday", "",
        "+10000-01-01T00:00:00Z", "٢٠٢٥-٠٦-٠١",
    ]  # fmt: skip
    assert [t for t, time in zip(texts, read(spark, texts, BERLIN), strict=True) if time] == []


def test_hours_that_clocks_skip_or_repeat_are_defined(spark: SparkSession) -> None:
    skipped, repeated = "2025-03-30 02:30:00", "2025-10-26 02:30:00"
    written = [skipped, repeated, f"{skipped} {BERLIN}", f"{repeated} {BERLIN}"]
    # half past two does not exist in spring, and is half past three; in autumn it is the first
    expected = ["2025-03-30T01:30:00", "2025-10-26T00:30:00"]
    assert read(spark, written, BERLIN) == expected * 2
    patterned = ["30.03.2025 02:30", "26.10.2025 02:30"]
    assert read(spark, patterned, BERLIN, ("dd.MM.yyyy HH:mm",)) == expected


def test_times_agree_with_python_on_seeded_random_ones(spark: SparkSession) -> None:
    random = Random(5)
    texts, expected = [], []
    for _ in range(400):
        micros = random.randrange(0, 4_000_000_000_000_000)
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
        zone = random.choice([BERLIN, "America/New_York", "Asia/Kolkata", None])
        if zone is None:
            offset = timezone(timedelta(minutes=random.randrange(-720, 841, 15)))
            text = instant.astimezone(offset).isoformat()
        else:
            local = instant.astimezone(ZoneInfo(zone))
            if local.fold or local.astimezone(UTC) != instant:
                continue
            text = f"{local.replace(tzinfo=None).isoformat(' ')} {zone}"
        texts.append(text)
        expected.append(instant.replace(tzinfo=None).isoformat())
    got = read(spark, texts, "Asia/Tokyo")
    assert [datetime.fromisoformat(t or "") for t in got] == [
        datetime.fromisoformat(t) for t in expected
    ]


def test_a_day_is_read_alike_in_files_of_lookups_and_in_expressions(spark: SparkSession) -> None:
    days = {
        "2025-01-31": "2025-01-31",
        " 2025-1-31 ": "2025-01-31",
        "2025-01-31T23:30:00-05:00": "2025-01-31",
        "2025-01-31 23:30": "2025-01-31",
        "2025-01-31 23:30:00.123456 Europe/Berlin": "2025-01-31",
        "\u00a02025-01-31t23:30:00,5 z\u200b": "2025-01-31",
        "2025-01-31T23:30:00+01[Europe/Berlin]": "2025-01-31",
    } | dict.fromkeys(
        ("2025", "2025-01", "20250131", "201809", "2025-W05-5", "2025-031", "2025-02-30", "today",
         "2025-01-31x", "2025-01-31 soon", "31.01.2025", "1738281600", "٢٠٢٥-٠١-٣١", "", "2025-01-31-"),
    )  # fmt: skip
    rows = spark.createDataFrame(list(enumerate(days)), "i int, at string")
    read = rows.select("i", written_day(F.col("at")).cast("string").alias("day")).orderBy("i")
    assert [row.day for row in read.collect()] == list(days.values())
    written = [day_written_in(text) for text in days]
    assert [day and day.isoformat() for day in written] == list(days.values())


def test_formats_are_tried_in_order(spark: SparkSession) -> None:
    texts = ["01.06.2025 00:30", "20250601", "06/01/2025", "2025-06-01", "31.02.2025 00:30"]
    formats = ("dd.MM.yyyy HH:mm", "yyyyMMdd", "MM/dd/yyyy")
    assert read(spark, texts, BERLIN, formats) == [
        "2025-05-31T22:30:00", "2025-05-31T22:00:00", "2025-05-31T22:00:00", None, None,
    ]  # fmt: skip
    assert read(spark, ["05/06/2025"], formats=("dd/MM/yyyy", "MM/dd/yyyy")) == [
        "2025-06-05T00:00:00"
    ]
    assert read(spark, ["05/13/2025"], formats=("dd/MM/yyyy", "MM/dd/yyyy")) == [
        "2025-05-13T00:00:00"
    ]
    with_zone = ("dd/MMM/yyyy:HH:mm:ss Z", "yyyy-MM-dd'T'HHmmssX", "iso")
    texts = ["01/Jun/2025:00:30:00 +0200", "2025-06-01T003000+02", "2025-06-01T00:30:00"]
    assert read(spark, texts, BERLIN, with_zone) == ["2025-05-31T22:30:00"] * 3
    assert read(spark, ["6/1/2025 12:30 AM"], BERLIN, ("M/d/yyyy h:mm a",)) == [
        "2025-05-31T22:30:00"
    ]
    of_utc = ("yyyy-MM-dd'T'HH:mm:ss'.000+0000'", "yyyy-MM-dd HH:mm:ss+00:00")
    texts = ["2025-05-31T22:30:00.000+0000", "2025-05-31 22:30:00+00:00"]
    assert read(spark, texts, BERLIN, of_utc) == ["2025-05-31T22:30:00"] * 2


def test_epoch_times_are_instants_whatever_the_zone(spark: SparkSession) -> None:
    seconds = [
        "1748730600",
        "1748730600.0",
        "1.7487306E9",
        "1748730600.1234567",
        "x",
        "1748730600000",
    ]
    expected = ["2025-05-31T22:30:00"] * 3 + ["2025-05-31T22:30:00.123456", None, None]
    assert read(spark, seconds, BERLIN, ("epoch_seconds",)) == expected
    both = ("epoch_seconds", "epoch_millis", "epoch_micros")
    written = ["1748730600", "1748730600000", "1748730600000000", "1" * 25, "0", "-1", "99999999"]
    expected = ["2025-05-31T22:30:00"] * 3 + [None] * 4
    for formats in (both, both[::-1]):
        assert read(spark, written, BERLIN, formats) == expected
    assert read(spark, written[:1], BERLIN, ("epoch_millis",)) == [None]  # no day of January 1970


@pytest.mark.parametrize(
    ("expression", "text", "expected"),
    [
        ("timestamp_seconds(try_cast(at as bigint))", "1748730600", "2025-05-31T22:30:00"),
        ("timestamp_millis(try_cast(at as bigint))", "1748730600000", "2025-05-31T22:30:00"),
        ("from_unixtime(try_cast(at as bigint))", "1748730600", "2025-05-31T22:30:00"),
        ("to_timestamp(at)", "2025-06-01T00:30:00+02", "2025-05-31T22:30:00"),
        ("to_timestamp(at)", "2025-06-01T00:30:00", "2025-05-31T22:30:00"),
        ("TRY_CAST(at AS TIMESTAMP)", "2025-06-01T00:30:00", "2025-05-31T22:30:00"),
        ("cast(at as timestamp)", "2025-05-31T22:30:00Z", "2025-05-31T22:30:00"),
        ("try_to_timestamp(at, 'dd.MM.yyyy HH:mm')", "01.06.2025 00:30", "2025-05-31T22:30:00"),
        ("coalesce(try_to_timestamp(at, 'd.M.yy'), to_timestamp(at, 'yyyyMMdd'))", "20250601",
         "2025-05-31T22:00:00"),
        ("to_timestamp(at, 'dd.MM.yyyy HH:mmX')", "31.05.2025 22:30Z", "2025-05-31T22:30:00"),
        ("try_cast(at as timestamp_ntz)", "2025-06-01 00:30:00", "2025-05-31T22:30:00"),
        ("to_utc_timestamp(try_cast(at as timestamp), 'Asia/Tokyo')", "2025-06-01 07:30:00",
         "2025-05-31T22:30:00"),
        ("try_to_timestamp(at, 'yyyyMMdd') + interval 30 minutes", "20250601", "2025-05-31T22:30:00"),
        ('to_timestamp(at, "dd.MM.yyyy HH:mm")', "01.06.2025 00:30", "2025-05-31T22:30:00"),
        ("to_timestamp(at, 'yyyy-MM-dd\\'T\\'HH:mm')", "2025-06-01T00:30", "2025-05-31T22:30:00"),
        ("""to_timestamp(at, "yyyy-MM-dd'T'HH:mm'Z'")""", "2025-05-31T22:30Z", "2025-05-31T22:30:00"),
        ("to_timestamp(concat(at, ' 00:30'))", "2025-06-01", "2025-05-31T22:30:00"),
        ("to_timestamp(concat(at, ' 00:30+01'))", "2025-06-01", "2025-05-31T23:30:00"),
        ("make_timestamp(2025, 6, try_cast(at as int), 0, 30, 0)", "1", "2025-05-31T22:30:00"),
        ("make_timestamp(2025, 6, try_cast(at as int), 0, 30, 0, 'UTC')", "1",
         "2025-06-01T00:30:00"),
        ("from_unixtime(try_cast(at as bigint), 'yyyy-MM-dd HH:mm:ss')", "1748730600",
         "2025-05-31T22:30:00"),
        ("cast(try_cast(at as bigint) as timestamp)", "1748730600", "2025-05-31T22:30:00"),
        ("try_to_date(at, 'dd.MM.yyyy')", "01.06.2025", "2025-05-31T22:00:00"),
        ("concat(at, 'T00:30:00')", "2025-06-01", "2025-05-31T22:30:00"),
    ],
)  # fmt: skip
def test_the_type_of_an_expression_says_whether_it_is_an_instant(
    spark: SparkSession, expression: str, text: str, expected: str
) -> None:
    assert read(spark, [text], BERLIN, expression=expression) == [expected]


@pytest.mark.parametrize("good", [
    ["iso"], ["epoch_millis", "iso"], ["dd.MM.yyyy HH:mm:ss.SSS"], ["yyyyMMdd"], ["M/d/yy h:mm a"],
    ["yyyy-MM-dd'T'HH:mm:ssXXX"], ["yyyy-MM-dd HH:mm VV"],  # Java's letters for offset and zone
])  # fmt: skip
def test_formats_are_names_and_patterns(good: list[str]) -> None:
    assert is_time_formats(good)


@pytest.mark.parametrize("bad", [
    [], "iso", ["iso", "iso"], ["HH:mm"], ["dd.MM"], ["YYYY-MM-dd"], ["yyyy-MM-dd hh:mm"], [1],
    ["yyyy-MM-dd 'x"], ["epoch"], ["EEE dd.MM.yyyy"], ["yyyy-MM-DD"], ["yyyy-MM-dd[ HH:mm]"],
    ["yyyy-MM-dd HH:mm'+02:00'"], ["yyyy-MM-dd HH:mm-0330"], ["yyyy-MM-dd HH:mm +1"],
])  # fmt: skip
def test_other_formats_are_refused(bad: object) -> None:
    assert not is_time_formats(bad)


def test_a_pattern_says_its_zone_outside_of_quotes_or_that_it_is_utc() -> None:
    assert has_zone("yyyy-MM-dd HH:mmX")
    assert not has_zone("yyyy-MM-dd'X'")
    assert has_zone("yyyy-MM-dd'T'HH:mm'Z'")  # says UTC
    assert has_zone("yyyy-MM-dd HH:mm'+00'")
    assert not has_zone("yyyy-MM-dd'YZ'")
