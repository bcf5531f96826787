"""Every expression of a mapping, analysed before anything is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.errors import UsageError
from contracts.sources import TIME_FIELDS
from contracts.tables import LANDED
from jobs.cleaning.elements import expanded, type_of_elements
from jobs.cleaning.lookup_join import without_matches
from jobs.cleaning.verdicts import expressions_of
from jobs.landing.landing import unfolded
from jobs.mapping.element_keys import ELEMENT, NUMBER
from jobs.mapping.expressions import MANY, Expression, examined, shown
from jobs.mapping.lookups import is_day_of_lookup
from jobs.mapping.sources import Source, SourceMapping
from jobs.mapping.time_expressions import (
    adds_intervals,
    as_meant,
    unclear,
    without_known_zones,
    without_local_times,
)
from jobs.mapping.tokens import tokens
from jobs.spark.schema import spark_schema
from jobs.spark.session import TIME_ZONE

_MIXED = (
    "mixes times of the source's timezone with others, which would be shifted: give the text "
    "alone, and say in time_format how it is written"
)
_OF_UTC = (
    "Spark reads or writes a time in it as of UTC, not as of the source's timezone: give the text "
    "alone and say in time_format how it is written, or make an instant of a number, such as "
    "timestamp_seconds(…)"
)


def check_expressions(spark: SparkSession, mapping: SourceMapping) -> None:
    """Analyse all expressions of all sources over the raw columns, which are texts; and see that
    Spark knows the sources' time zones.

    Raises:
        UsageError: some are wrong; all of them are named, with what may be written instead.
    """
    nothing = spark.createDataFrame([], spark_schema(LANDED))
    unknown = _unknown_zones(spark, mapping)
    if unknown:
        raise UsageError("\n".join(["the mapping names zones that Spark does not know:", *unknown]))
    problems = [problem for source in mapping.sources for problem in _problems(nothing, source)]
    if problems:
        each_once = dict.fromkeys(problems)  # several tables may use a lookup
        raise UsageError("\n".join(["the mapping has expressions that are wrong:", *each_once]))


def _unknown_zones(spark: SparkSession, mapping: SourceMapping) -> list[str]:
    """Zones of sources that Python knows, and Spark's Java does not: its list may be older."""
    zones = {source.timezone for source in mapping.sources if source.timezone is not None}
    unknown = {zone for zone in zones if not _is_known(spark, zone)}
    return [
        f"  sources.{source.name}.timezone: {source.timezone}: Java's list of zones, which is "
        "another than Python's, has none of that name; name one whose clocks are the same"
        for source in mapping.sources
        if source.timezone in unknown
    ]


def _is_known(spark: SparkSession, zone: str) -> bool:
    before = str(spark.conf.get(TIME_ZONE))
    try:
        spark.conf.set(TIME_ZONE, zone)
    except PySparkException:
        return False
    finally:
        spark.conf.set(TIME_ZONE, before)
    return True


def _problems(nothing: DataFrame, source: Source) -> Iterator[str]:
    rows = unfolded(nothing, source)
    if source.landed_on is not None:
        landing = [Expression("landed_on", source.landed_on)]
        yield from _wrong(rows, landing, f"sources.{source.name}")
    for mapping in source.tables:
        where = f"sources.{source.name}.tables.{mapping.table}"
        expressions, texts = expressions_of(mapping), source.texts_of(mapping)
        try:
            judged = expanded(rows, mapping.each, texts, source.null_values, where, mapping.table)
        except UsageError as error:
            yield f"  {error}"
            judged = rows.withColumns(
                {ELEMENT: F.lit(None).cast(type_of_elements(texts)), NUMBER: F.lit(1)}
            )
        for use in source.lookups_of(mapping):
            yield from _wrong(judged, use.expressions, f"sources.{source.name}")
        judged = without_matches(judged, source.lookups)
        yield from _wrong(judged, expressions, where)
        if source.timezone not in (None, "UTC"):
            yield from unclear_times(judged, expressions, where)


def _wrong(rows: DataFrame, of: Sequence[Expression], where: str) -> Iterator[str]:
    for expression, type_ in zip(of, examined(rows, of), strict=True):
        if isinstance(type_, str):
            yield f"  {where}.{type_}"
        elif (expected := _expected(expression, type_)) is not None:
            yield (
                f"  {where}.{expression.place}: {shown(expression.text)}: expected {expected}, "
                f"found one that gives {type_.simpleString()}"
            )


def unclear_times(rows: DataFrame, of: Sequence[Expression], where: str) -> Iterator[str]:
    """Times of a source with a timezone of which it cannot be told whether they are instants."""
    for expression in (e for e in of if e.place in TIME_FIELDS and not _is_column(e.text)):
        (type_,) = examined(rows, [replace(expression, text=as_meant(expression.text))])
        if isinstance(type_, str):
            continue  # told already
        why = _MIXED if _mixes(rows, expression) else None
        if _is_of_session_zone(rows, expression.text, type_):
            why = unclear(expression.text) or why or _OF_UTC
        if why is not None:
            yield f"  {where}.{expression.place}: {shown(expression.text)}: {why}"


def _is_column(text: str) -> bool:
    """Whether it is a column, or a field of one."""
    return all(token.kind in ("word", "name") or token.text == "." for token in tokens(text))


def _mixes(rows: DataFrame, expression: Expression) -> bool:
    """Whether it gives local times beside instants or texts."""
    left = without_local_times(expression.text)
    if left is None:
        return False
    (type_,) = examined(rows, [replace(expression, text=left)])
    return isinstance(type_, T.TimestampType | T.StringType)


def _is_of_session_zone(rows: DataFrame, text: str, type_: T.DataType) -> bool:
    """Whether Spark takes local times for those of its session's zone somewhere in an expression,
    or makes local times in it: it means something else in another zone."""
    if isinstance(type_, T.StringType) and adds_intervals(text):
        return True
    left = without_known_zones(text)
    meanings = {_meaning(rows, left, zone) for zone in ("UTC", "Asia/Tokyo")}
    return len(meanings) > 1 or {name for name, _ in meanings} != {type_.simpleString()}


def _meaning(rows: DataFrame, text: str, zone: str) -> tuple[str, int]:
    """The type of an expression, and a hash of how Spark would compute it, in a session's zone."""
    conf = rows.sparkSession.conf
    before = str(conf.get(TIME_ZONE))
    conf.set(TIME_ZONE, zone)
    try:
        given = rows.select(F.expr(text).alias("given"))
        return given.schema["given"].dataType.simpleString(), given.semanticHash()
    except (ParseException, AnalysisException):
        return "none", 0
    finally:
        conf.set(TIME_ZONE, before)


def _expected(expression: Expression, type_: T.DataType) -> str | None:
    """What the expression should give, if its type is another."""
    if expression.place == "where" or expression.place.startswith("reject["):
        is_right = isinstance(type_, T.BooleanType | T.NullType)
        return None if is_right else "a condition, which is true or false"
    if expression.place == "landed_on" or is_day_of_lookup(expression):
        days = (T.DateType, T.TimestampType, T.TimestampNTZType, T.StringType, T.NullType)
        return None if isinstance(type_, days) else "a day or a time"
    if isinstance(type_, T.BinaryType):
        return "a text, such as hex(…) or base64(…) of it"
    return "one value" if isinstance(type_, MANY) else None
