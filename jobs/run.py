"""Run one job over some days: read its inputs, write and check its outputs, account for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.counts import n_of
from contracts.errors import ContractError
from contracts.tables import LANDED, RECONCILIATION, table_named
from jobs.cleaning.verdicts import N_ROWS, UNFOUND
from jobs.landing.landing import NEVER, check_readable, landed
from jobs.mapping.sources import RawFile, Source
from jobs.spark.error_sentences import spark_sentence
from jobs.spark.files import WrittenDay, collected, read_table, write_days
from jobs.stage import Engine, Job, Output, Settings

Written = dict[str, dict[date, WrittenDay]]


@dataclass(frozen=True)
class Unfound:
    """Rows of a source, on their way to a clean table, whose key a lookup has no row for."""

    source: str
    table: str
    lookup: str
    rows: int


@dataclass(frozen=True)
class Result:
    """What a job wrote, by table and day, and the counts that reconcile it."""

    written: Written
    reconciled: tuple[dict[str, Any], ...] = ()
    """Rows of the table `reconciliation`: one per source, clean table and day."""
    unfound: tuple[Unfound, ...] = ()


def run_landing(
    spark: SparkSession,
    source: Source,
    files: Sequence[RawFile],
    days: Sequence[date],
    folder: str,
    files_per_day: int = 1,
    blank: Callable[[DataFrame], DataFrame] = lambda rows: rows,
    max_rows: int | None = None,
    before: date = NEVER,
) -> Result:
    """Land `files`; `days` are all the days their rows may fall on, found out if empty.

    `blank` takes out what rows say about people who were erased. `max_rows` of a file are enough
    for a trial. Rows that say a day that is not `before` have that as their problem.

    Raises:
        ContractError: a file cannot be read, or too much of it cannot be decoded.
    """
    rows = landed(spark, source, files, max_rows, before).persist(StorageLevel.DISK_ONLY)
    try:
        check_readable(rows, source)
        if not days:
            days = sorted(row[0] for row in rows.select("landed_on").distinct().collect() if row[0])
        return Result(
            {LANDED.name: write_days(spark, blank(rows), LANDED, days, folder, files_per_day)}
        )
    except PySparkException as error:
        raise _contract_error(f"source {source.name}", error) from None
    finally:
        rows.unpersist()


def run_job(
    spark: SparkSession,
    job: Job,
    inputs: Mapping[str, Sequence[str]],
    days: Sequence[date],
    folder: str,
    settings: Settings,
    files_per_day: int = 1,
    engine: Engine = "per-day",
) -> Result:
    """Compute `days` of the job's tables from lists of Parquet files.

    Jobs that know no other way compute any number of days at once whatever `engine` says.

    Raises:
        ContractError: what comes out breaks a contract, or does not reconcile with what went in.
    """
    frames = {name: read_table(spark, table_named(name), files) for name, files in inputs.items()}
    output: Output | None = None
    try:
        if engine == "one-pass" and job.one_pass is not None:
            (table,) = job.writes
            reports = job.one_pass(frames, days, settings, f"{folder}/{table.name}").collect()
            return Result({table.name: collected(spark, table, reports, days)})
        output = job.compute(frames, days, settings)
        if output.shared is not None:
            output.shared.persist()
        counts: list[dict[str, Any]] = []
        if RECONCILIATION.name in output.tables:
            counts = [row.asDict() for row in output.tables[RECONCILIATION.name].collect()]
        written = {
            name: write_days(
                spark, rows, table_named(name), days, f"{folder}/{name}", files_per_day
            )
            for name, rows in output.tables.items()
            if name != RECONCILIATION.name
        }
        if counts:
            check_reconciled(job, counts, written, frames[LANDED.name], settings)
    except PySparkException as error:
        raise _contract_error(job.name, error) from None
    finally:
        if output is not None and output.shared is not None:
            output.shared.unpersist()
    return Result(
        written,
        tuple({name: row[name] for name in RECONCILIATION.names} for row in counts),
        _unfound(counts),
    )


def _unfound(counts: Sequence[Mapping[str, Any]]) -> tuple[Unfound, ...]:
    """One per source, clean table and lookup; of all days together."""
    rows: Counter[tuple[str, str, str]] = Counter()
    for row in counts:
        for lookup, n in row[UNFOUND].items():
            rows[row["source"], row["table_name"], lookup] += n
    return tuple(Unfound(*of, n) for of, n in sorted(rows.items()))


def check_reconciled(
    job: Job,
    counts: Sequence[Mapping[str, Any]],
    written: Written,
    landed_rows: DataFrame,
    settings: Settings,
) -> None:
    """Compare what was counted while judging with the files on both sides of it.

    Raises:
        ContractError: a row is neither kept, nor a duplicate, nor in quarantine.
    """
    table = job.writes[0].name
    whole = {source.name for source, feed in settings.mapping.feeding(table) if feed.where is None}
    n_landed = {
        (row.source, row.landed_on): row.n
        for row in landed_rows.groupBy("source", "landed_on").agg(F.count("*").alias("n")).collect()
    }
    problems = []
    for row in counts:
        place = f"{row['source']}, {row['landed_on']}"
        kept = row["n_clean"] + row["n_duplicate"] + row["n_quarantined"] + row["n_erased"]
        if row["n_in"] != kept:
            problems.append(f"  {place}: {n_of(row['n_in'], 'row')} in, {kept:,} accounted for")
        if row["source"] in whole and row[N_ROWS] != n_landed[row["source"], row["landed_on"]]:
            problems.append(
                f"  {place}: {n_of(n_landed[row['source'], row['landed_on']], 'row')} landed, "
                f"{row[N_ROWS]:,} judged"
            )
    for name, column in ((table, "n_clean"), ("quarantine", "n_quarantined")):
        for day, out in written[name].items():
            expected = sum(row[column] for row in counts if row["landed_on"] == day)
            if expected != out.rows:
                problems.append(
                    f"  {name}, {day}: {n_of(expected, 'row')} expected, {out.rows:,} written"
                )
    if problems:
        raise ContractError("\n".join([f"{job.name} does not reconcile:", *problems]))


def _contract_error(what: str, error: PySparkException) -> ContractError:
    """Spark's error without its stack and without values."""
    return ContractError(f"{what} failed in Spark: {spark_sentence(error)}")
