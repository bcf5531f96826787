"""`make defects`: what cleaning finds of a simulated market's dirt, kind by kind, and the curve of
the limit by which bots are known.

Recall: of the rows with a defect, how many cleaning treats as the list says. Precision: of the rows
that cleaning drops (or takes for duplicates) for reasons of that kind, how many have the defect.
"""

from __future__ import annotations

import csv
import gzip
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd

from contracts.clean_tables import clean_table_named
from contracts.days import DEDUP_DAYS
from jobs.cleaning.fields import Context
from jobs.cleaning.rules import rules as rules_of
from jobs.cleaning.verdicts import verdicts
from jobs.landing.landing import landed
from jobs.landing.raw_folder import raw_files
from jobs.mapping.sources import read_mapping
from jobs.market.files import STREAMS, simulate
from jobs.market.traits import Market
from jobs.spark.config import SparkConfig
from jobs.spark.session import start_session
from jobs.values.user_key import UserKey
from tests.conftest import REPOSITORY

MARKET = Market(20_000, date(2025, 1, 1), 30, 11)
LIMITS = (10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500)
REASONS = {
    "broken line": r"JSON|fields, found|a quote",
    "encoding": r"utf-8",
    "conflict": r"conflicts with",
    "impossible": r"not one of|stars: not 1|not above 0",
    "skewed": r"more than a day after",
    "currency": r"no rate",
    "anonymous": r"user_id: missing",
    "bot": r"a bot",
}
KINDS = {
    "duplicate": ("duplicate",), "repeated": ("duplicate",), "malformed": ("broken line",),
    "truncated": ("broken line",), **{k: (k,) for k in REASONS if k != "broken line"},
}  # fmt: skip
"""Defect to the classes of what cleaning may say of it."""


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        n = simulate(MARKET, folder / "raw", lambda done, total: None, None)
        rows = judged(folder)
        assert len(rows) == n - users_and_items(folder), "a row was lost"
        defects = truth(folder / "raw")
        every = rows.merge(defects, on=["file", "line"], how="left")
        every[["defect", "expected"]] = every[["defect", "expected"]].fillna("clean")
        print(f"{len(every):,} rows, {len(defects):,} defects; every row has exactly one verdict\n")
        print("| defect | rows | recall | precision |\n|---|---|---|---|")
        every["class"] = every["verdict"].where(every["verdict"] == "duplicate", "")
        for name, pattern in REASONS.items():
            every.loc[every["reason"].fillna("").str.contains(pattern), "class"] = name
        for defect, group in every[every["defect"] != "clean"].groupby("defect"):
            recall = (group["verdict"] == group["expected"]).mean()
            classes = KINDS.get(str(defect), ())
            alike = [d for d, c in KINDS.items() if set(c) & set(classes)]
            said = every[every["class"].isin(classes)]
            precision = f"{said['defect'].isin(alike).mean():.4f}" if len(said) else "kept"
            print(f"| {defect} | {len(group):,} | {recall:.4f} | {precision} |")
        good = every[every["defect"] == "clean"]
        print(f"\n{(good['verdict'] != 'clean').sum()} of {len(good):,} good rows are not kept")
        curve(every[every["file"].str.startswith("engagements/")])


def judged(folder: Path) -> pd.DataFrame:
    """Every row of every log with its verdict."""
    spark = start_session(SparkConfig(), folder / "scratch")
    mapping = read_mapping(REPOSITORY / "infra/sources/market.toml")
    if mapping.money is None:
        raise SystemExit("the market's mapping has no money")
    context = Context(UserKey(b"a key for the bench alone"), mapping.money, mapping.text)
    parts = []
    for name in STREAMS:
        source = next(s for s in mapping.sources if s.name == name)
        (feed,) = source.tables
        files = raw_files(source, folder / "raw")
        rows = verdicts(
            landed(spark, replace(source, max_undecodable_share=1.0), files),
            [(source, feed)],
            lambda s, feed=feed: rules_of(clean_table_named(feed.table), context),  # type: ignore[misc]
            [f.landed_on for f in files if f.landed_on],
            DEDUP_DAYS,
            mapping.bots.get(feed.table),
        )
        user = "user_key" if "user_key" in rows.columns else "null as user_key"
        parts.append(
            rows.selectExpr("file", "line", "landed_on", user, "reason", "verdict").toPandas()
        )
    return pd.concat(parts, ignore_index=True)


def users_and_items(folder: Path) -> int:
    """Rows of the logs that have no dirt."""
    return sum(
        len(gzip.decompress(path.read_bytes()).splitlines()) - 1
        for name in ("users", "items")
        for path in (folder / "raw" / name).glob("*.gz")
    )


def truth(raw: Path) -> pd.DataFrame:
    rows = []
    for path in sorted((raw / "truth/defects").glob("*.csv.gz")):
        day = path.name.removesuffix(".csv.gz")
        names = {f.parent.name: f"{f.parent.name}/{f.name}" for f in raw.glob(f"*/{day}.*")}
        with gzip.open(path, "rt") as stream:
            rows += [
                (names[r["source"]], int(r["line"]), r["defect"], r["expected"])
                for r in csv.DictReader(stream)
            ]
    return pd.DataFrame(rows, columns=["file", "line", "defect", "expected"])


def curve(engagements: pd.DataFrame) -> None:
    """Precision and recall of the bots' rows over the limit."""
    valid = engagements[
        engagements["reason"].isna() | engagements["reason"].fillna("").str.contains("a bot")
    ]
    per_day = valid.groupby(["user_key", "landed_on"])["line"].transform("count")
    bots = valid["defect"] == "bot"
    print("\n| bots: rows a day beyond | precision | recall |\n|---|---|---|")
    for limit in LIMITS:
        caught = per_day > limit
        precision = bots[caught].mean() if caught.any() else float("nan")
        print(f"| {limit} | {precision:.4f} | {caught[bots].mean():.4f} |")


if __name__ == "__main__":
    main()
