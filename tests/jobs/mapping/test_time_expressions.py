"""Expressions that give times: whether it is clear which instants they mean.

`XXX` in a pattern is how Java writes an offset such as `+02:00`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyspark.sql import SparkSession

from contracts.errors import UsageError
from jobs.cleaning.mapping_analysis import check_expressions, unclear_times
from jobs.mapping.expressions import Expression, shown
from jobs.mapping.time_expressions import as_meant
from tests.jobs.mapping.test_expressions import mapping

BERLIN = "Europe/Berlin"


def test_only_calls_that_read_local_texts_are_told_apart() -> None:
    call = "try_to_timestamp(concat(d, ' (', t, ')'), 'dd.MM.yyyy (HH:mm)')"
    assert as_meant(call) == f"cast({call} as timestamp_ntz)"
    zoned = "to_timestamp(at, 'yyyy-MM-dd XXX')"  # Java's letters for an offset
    assert as_meant(zoned) == zoned
    assert as_meant("to_timestamp(at") == "to_timestamp(at"
    assert as_meant("to_timestamp(`at`)") == "`at`"
    assert as_meant("cast(AT as timestamp)") == "AT"
    assert as_meant("-- when\ncast(a as timestamp)") == "a"


def problems_of(spark: SparkSession, expressions: list[str]) -> list[str]:
    """What is told of times of a source with a timezone, without where it is."""
    rows = spark.createDataFrame([], "at string, n string, d string, t string, fmt string")
    of = [Expression("occurred_at", text) for text in expressions]
    return [
        line.partition(f"{shown(line_of)}: ")[2]
        for line_of in expressions
        for line in unclear_times(rows, [e for e in of if e.text == line_of], "here")
    ]


def test_what_an_expression_reads_is_clear(spark: SparkSession) -> None:
    seconds = "timestamp_seconds(try_cast(n as bigint))"
    clear = [
        "at", "to_timestamp(at)", "`to_timestamp`(at)", "cast(concat(d, t) as timestamp)",
        "concat(d, ' ', t)", "concat_ws('T', d, t)", "if(at like '%Z', at, concat(at, 'Z'))",
        "case when length(at) = 10 then concat(at, ' 12:00') else at end", "split(at, '[.]')[0]",
        "get_json_object(at, '$.time')", "from_json(at, 'time string, n int').time",
        "from_json(at, 'array<struct<update: string>>')[0].update",
        seconds, "timestamp_millis(try_cast(n as bigint))", f"{seconds} + interval 1 hour",
        f"{seconds} - interval '1' day", f"{seconds} + make_interval(0, 0, 0, 1)",
        f"timestampadd(HOUR, 1, {seconds})", f"date_trunc('hour', {seconds})",
        "cast(try_cast(n as bigint) as timestamp)", "timestamp_seconds(try_cast(n as bigint) div 1000)",
        f"if(n > '3', {seconds}, null)", f"coalesce({seconds}, timestamp_millis(try_cast(t as int)))",
        "from_unixtime(try_cast(n as bigint))",
        # With Java's letters for an offset, the text says which instant it means.
        "from_unixtime(try_cast(n as bigint), \"yyyy-MM-dd'T'HH:mm:ssXXX\")",
        f"date_format({seconds}, \"yyyy-MM-dd'T'HH:mm:ssXXX\")",
        "to_timestamp(at, 'dd.MM.yyyy')", '`to_timestamp`(at, "dd.MM.yyyy")',
        "to_timestamp(at, 'dd.MM.yyyy HH:mmX')", "timestamp_seconds(unix_timestamp(at, 'dd.MM.yyyy X'))",
        "try_to_timestamp(at, 'yyyyMMdd') + interval 30 minutes", "to_timestamp_ntz(at)",
        "to_timestamp_ntz(at, 'dd.MM.yyyy')", "try_cast(at as timestamp_ntz)",
        "coalesce(try_to_timestamp(at, 'dd.MM.yyyy'), try_to_timestamp(at, 'yyyyMMdd'))",
        "make_timestamp(2025, 6, try_cast(n as int), 0, 0, 0)",
        "make_timestamp(2025, 6, try_cast(n as int), 0, 0, 0, 'UTC')",
        "try_to_date(at, 'dd.MM.yyyy')", "to_date(at)", "last_day(at)", "date_add(at, 1)",
        "date'2025-06-01'", "to_utc_timestamp(try_cast(at as timestamp), 'Asia/Tokyo')",
        "convert_timezone('Asia/Tokyo', 'UTC', at)", "timestamp'2025-06-01 00:00:00Z'",
    ]  # fmt: skip
    assert problems_of(spark, clear) == []


AS_UTC = "reads what has no offset as UTC, not as of the source's timezone"


ANY = (
    "Spark reads or writes a time in it as of UTC, not as of the source's timezone: give the text "
    "alone and say in time_format how it is written, or make an instant of a number, such as "
    "timestamp_seconds(…)"
)


UNIX = "unix_timestamp(at, 'dd.MM.yyyy HH:mm')"


HIVE = f'{UNIX} {AS_UTC}: give the text alone and time_format = ["dd.MM.yyyy HH:mm"]'


SECONDS = "timestamp_seconds(try_cast(n as bigint))"


@pytest.mark.parametrize(("expression", "why"), [
    ("to_timestamp(at, fmt)",
     f"to_timestamp(at, fmt) {AS_UTC}: give the text alone, or a pattern in quotes"),
    ("coalesce(to_timestamp(at), `to_timestamp`(t))",
     f"to_timestamp(at) {AS_UTC}: give the text alone, or a pattern in quotes"),
    ("coalesce(cast(at as timestamp), t)",
     f"cast(at as timestamp) {AS_UTC}: give the text alone"),
    ("at::timestamp", f"at::timestamp {AS_UTC}: give the text alone"),
    ("timestamp'2025-06-01 00:00:00'",
     f"timestamp'2025-06-01 00:00:00' {AS_UTC}: give the text alone"),
    ("from_unixtime(n, 'dd.MM.yyyy HH:mm')",
     "from_unixtime(n, 'dd.MM.yyyy HH:mm') gives UTC as a text that does not say so: write "
     "timestamp_seconds(…)"),
    ("date_format(timestamp_seconds(try_cast(n as int)), 'yyyy-MM-dd')",
     "date_format(timestamp_seconds(try_cast(n as int)), 'yyyy-MM-dd') gives UTC as a text that does "
     "not say so: write timestamp_seconds(…)"),
    (f"from_unixtime({UNIX})", HIVE),
    (f"from_unixtime({UNIX}, 'yyyy-MM-dd HH:mm')", HIVE),
    (f"timestamp_seconds({UNIX})", HIVE),
    ("timestamp_seconds(`unix_timestamp`(at, fmt))",
     f"`unix_timestamp`(at, fmt) {AS_UTC}: give the text alone"),
    ("timestamp_seconds(to_unix_timestamp(at))", ANY),
    ("timestamp_millis(unix_millis(cast(at as timestamp)))",
     f"cast(at as timestamp) {AS_UTC}: give the text alone"),
    ("date_trunc('hour', at)", ANY),
    ("date_trunc('hour', to_timestamp(at, 'dd.MM.yyyy HH:mm'))",
     "mixes times of the source's timezone with others, which would be shifted: give the text alone, "
     "and say in time_format how it is written"),
    (f"date_trunc('day', {SECONDS})", ANY),
    ("timestampadd(HOUR, 1, at)", ANY),
    ("dateadd(day, 1, at)", ANY),
    ("at + interval 1 hour", ANY),
    ("coalesce(at - interval '1' day, t)", ANY),
    ("to_date(at) + interval 1 hour", ANY),
    ("date_format(at, 'yyyy-MM-dd HH:mm')", ANY),
    ("date_format(at, \"yyyy-MM-dd'T'HH:mm:ssXXX\")", ANY),  # Java's letters for an offset
    (f"coalesce(at, {SECONDS})", ANY),
    (f"case when n = '1' then at else {SECONDS} end", ANY),
    (f"coalesce({SECONDS}, to_date(at))", ANY),
    (f"to_date({SECONDS})", ANY),
    (f"cast({SECONDS} as string)", ANY),
    (f"concat({SECONDS}, 'Z')", ANY),
    ("concat(d, ' ', hour(at), ':00')", ANY),
    ("from_json(at, 'time timestamp').time", ANY),
])  # fmt: skip
def test_what_an_expression_reads_is_unclear(
    spark: SparkSession, expression: str, why: str
) -> None:
    assert problems_of(spark, [expression]) == [why]


def test_times_of_two_kinds_in_one_expression_are_refused(spark: SparkSession) -> None:
    """Spark makes both one type, and takes the local ones for UTC or drops the others' offsets."""
    for other in ("timestamp_seconds(try_cast(n as bigint))", "at"):
        text = f"coalesce(try_to_timestamp(at, 'dd.MM.yyyy'), {other})"
        with pytest.raises(UsageError) as error:
            check_expressions(spark, mapping(TWO_KINDS.format(zone=BERLIN, text=text)))
        assert str(error.value).splitlines()[1:] == [
            f"  sources.log.tables.users.occurred_at: {text[:79] + '…' if len(text) > 80 else text}: "
            "mixes times of the source's timezone with others, which would be shifted: give the "
            "text alone, and say in time_format how it is written"
        ]
    check_expressions(spark, mapping(TWO_KINDS.format(zone="UTC", text=text)))
    good = "coalesce(try_to_timestamp(at, 'dd.MM.yyyy'), try_to_timestamp(at, 'yyyyMMdd'))"
    check_expressions(spark, mapping(TWO_KINDS.format(zone=BERLIN, text=good)))


TWO_KINDS = """
[sources.log]
files = "{{day}}.csv"
format = "csv"
columns = ["u", "at", "n"]
timezone = "{zone}"
[sources.log.tables.users]
user_id = "u"
occurred_at = "{text}"
"""


def test_a_zone_that_spark_does_not_know_is_refused_by_name(spark: SparkSession) -> None:
    log = mapping(TWO_KINDS.format(zone=BERLIN, text="at"))
    other = replace(log, sources=(replace(log.sources[0], timezone="Factory"),))
    with pytest.raises(UsageError) as error:
        check_expressions(spark, other)
    assert str(error.value) == (
        "the mapping names zones that Spark does not know:\n"
        "  sources.log.timezone: Factory: Java's list of zones, which is another than Python's, has "
        "none of that name; name one whose clocks are the same"
    )
    check_expressions(spark, log)
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
