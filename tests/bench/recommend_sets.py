"""Data sets of `make bench-recommend`: their raw logs, mappings and cuts, and homes that hold them.

A set's home is landed and cleaned once, by a backfill after the last window; lists of each cut come
from a backfill, which sees what was known before it and nothing else.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import ContractError, UsageError
from contracts.surface_settings import configured
from contracts.surfaces import SURFACES, Surface
from flows.cli.main import DEMO_DAYS, DEMO_KEY, DEMO_SEED, DEMO_START, DEMO_USERS
from jobs.market.files import simulate
from jobs.market.traits import Market
from models.ranking.metrics import Array
from tests.conftest import REAL_DATA, REPOSITORY

SOURCES_FOLDER = REPOSITORY / "infra/sources"
SETTLE_DAYS = 2
DEMO_END = DEMO_START + timedelta(days=DEMO_DAYS)
QUARTERS = tuple(date(2008 + n // 4, 3 * (n % 4) + 1, 1) for n in range(9))
HELD_OUT, HELD_OUT_SEED = 0.2, 0
"""Share of the unordered pairs of users who trust each other, one way or both, that are held out."""
EDGES_FROM = date(2000, 5, 30)
"""When the edges that are not held out are said to hold: the day of the first rating."""
EDGES_CUT = date(2011, 4, 30)
"""After everything in Ciao."""
EDGES_DAYS = 10
"""Days over which they land: more than 500 of a user on one are a bot's."""
_MAIN = "from flows.cli.main import main; main()"


@dataclass(frozen=True)
class RecommendSet:
    """Raw logs, and what is measured on them."""

    data: str
    """What its lines are called."""
    surfaces: tuple[str, ...]
    cuts: tuple[date, ...]
    mapping: str
    """Of `infra/sources`."""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What surfaces do otherwise than declared."""
    repeats: tuple[bool, ...] = (False,)
    """Of products: with what users had, or without."""
    is_pooled: bool = False
    """Whether the users of all cuts make one figure."""
    has_time: bool = True
    """Whether it is known when what is looked for happened; else a part of it is held out."""
    seed: int | None = None
    """Of a simulated market."""

    def raw(self, folder: Path) -> Path | None:
        """The folder of the raw logs, which may be written below `folder`; None: they are not
        there."""
        if self.seed is None:
            logs = REAL_DATA / self.mapping
            return logs if logs.is_dir() else None
        logs = folder / "raw"
        if not (logs / "SIMULATED").exists():
            simulate(self.market, logs, lambda done, total: None)
        return logs

    @property
    def market(self) -> Market:
        """The simulated one.

        Raises:
            ContractError: the data are real.
        """
        if self.seed is None:
            raise ContractError(f"{self.data} is not simulated")
        return Market(DEMO_USERS, DEMO_START, DEMO_DAYS, self.seed)

    def landed_before(self, cuts: Sequence[date]) -> date:
        """The day before which everything lands that the figures of the cuts need: their horizons
        and days for late rows, as far as a simulated market goes."""
        horizon = max(self.surface(name).horizon_days for name in self.surfaces)
        day = max(cuts) + timedelta(days=horizon + SETTLE_DAYS)
        return day if self.seed is None else min(day, DEMO_END)

    def surface(self, name: str, repeats: bool | None = None) -> Surface:
        """A surface as it is measured on this set."""
        changed = configured(self.settings(repeats))
        return next(surface for surface in changed if surface.name == name)

    def settings(self, repeats: bool | None = None) -> dict[str, dict[str, Any]]:
        """`surfaces` of the settings of a run."""
        given = {name: dict(values) for name, values in self.overrides.items()}
        if repeats is not None:
            given.setdefault("products", {})["repeats"] = repeats
        return given


def simulated(data: str, seed: int) -> RecommendSet:
    """The demo's market, or another like it."""
    cut = DEMO_END - timedelta(days=max(s.horizon_days for s in SURFACES))
    return RecommendSet(data, tuple(s.name for s in SURFACES), (cut,), "market", seed=seed)


ONLINE_RETAIL = RecommendSet(
    "online_retail",
    ("products",),
    (date(2011, 9, 1), date(2011, 11, 1)),
    "online_retail",
    repeats=(False, True),
)
CIAO_PRODUCTS = RecommendSet(
    "ciao",
    ("products",),
    (*QUARTERS, date(2010, 7, 1)),
    "ciao",
    {"products": {"horizon_days": 90, "learn_every_days": 90}},
    is_pooled=True,
)
"""Every quarter from 2008-01 to 2010-01, and 2010-07."""
CIAO_PEOPLE = RecommendSet("ciao", ("people",), (EDGES_CUT,), "ciao", has_time=False)
SETS: Mapping[str, tuple[RecommendSet, ...]] = {
    "online_retail": (ONLINE_RETAIL,),
    "ciao": (CIAO_PRODUCTS, CIAO_PEOPLE),
    "market": (simulated("market", DEMO_SEED),),
    "other_market": (simulated("other_market", 23),),
}


def sets_of(data: str, surfaces: Sequence[str] | None) -> tuple[RecommendSet, ...]:
    """What is measured on `SETS`, or a market of another seed (`market:SEED`): all surfaces, or
    some.

    Raises:
        UsageError: the data are none of these, or have no such surface.
    """
    kind, _, seed = data.partition(":")
    if kind == "market" and seed.isdecimal():
        known: tuple[RecommendSet, ...] = (simulated(data, int(seed)),)
    elif data in SETS:
        known = SETS[data]
    else:
        raise UsageError(f"--data {data}: expected market:SEED or some of {', '.join(SETS)}")
    if surfaces is None:
        return known
    chosen = (replace(of, surfaces=tuple(s for s in of.surfaces if s in surfaces)) for of in known)
    return tuple(of for of in chosen if of.surfaces)


def check_cuts(of: RecommendSet, cuts: Sequence[date]) -> None:
    """Refuse figures by time of edges that have none.

    Raises:
        UsageError: cuts are given for them.
    """
    if cuts and not of.has_time:
        raise UsageError(
            f"--cuts: who follows whom in {of.data} has no time, so there is no before and after "
            "of a day; leave out --cuts, and pairs of users that were held out are looked for"
        )


@dataclass(frozen=True)
class BenchHome:
    """A home of a set, and how to run the pipeline on it."""

    of: RecommendSet
    folder: Path
    raw: Path
    mapping: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def land(self, after: date, repeats: bool | None) -> None:
        """Land and clean everything that happened before a day."""
        self.run("backfill", "--start", str(after), "--end", str(after), repeats=repeats)

    def lists(self, cut: date, repeats: bool | None, ranking: Mapping[str, Any]) -> None:
        """Recommend as of a cut."""
        words = ("--start", str(cut), "--end", str(cut), "--stages", "recommendations")
        self.run("backfill", *words, repeats=repeats, ranking=ranking)

    def run(
        self, *words: str, repeats: bool | None = None, ranking: Mapping[str, Any] | None = None
    ) -> None:
        """A command of `nightjar`, which ends the benchmark where it fails."""
        settings = {
            "NIGHTJAR_KEY": DEMO_KEY,
            "NIGHTJAR_SURFACES": json.dumps(self.of.settings(repeats)),
            "NIGHTJAR_RANKING": json.dumps(dict(ranking or {})),
            "PYTHONPATH": str(REPOSITORY),
        }
        others = {k: v for k, v in os.environ.items() if not k.startswith("NIGHTJAR_")}
        log = self.folder / f"{'lists' if 'recommendations' in words else 'landing'}.log"
        with log.open("wb") as output:
            done = subprocess.run(
                [sys.executable, "-c", _MAIN, *words, "--source", str(self.mapping), "--raw",
                 str(self.raw), "--home", str(self.home)],
                env=others | settings, cwd=self.folder, stdout=output, stderr=subprocess.STDOUT,
                check=False,
            )  # fmt: skip
        if done.returncode:
            sys.exit(f"nightjar {' '.join(words)} failed: see {log}")


def home_of(of: RecommendSet, folder: Path) -> BenchHome | None:
    """Where a set's home is below a folder; None where the raw logs are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = of.raw(folder)
    if raw is None:
        return None
    mapping = SOURCES_FOLDER / f"{of.mapping}.toml"
    if of.mapping == "online_retail":
        mapping = _written(folder, retail_mapping(mapping.read_text()))
    elif not of.has_time:
        mapping = _written(folder, edges_mapping(mapping.read_text()))
        raw = without_held_out(raw, folder / "raw")
    return BenchHome(of, folder, raw, mapping)


def retail_mapping(text: str) -> str:
    """Online Retail's mapping with what peers leave out: lines without a customer, cancellations,
    quantities and prices that are not above 0, codes that are not five digits and letters."""
    goods = "not (StockCode rlike '^[0-9]{5}' or lower(StockCode) rlike '^(gift_|dcgs)')"
    kept = (
        "coalesce(StockCode rlike '^[0-9]{5}[A-Za-z]*$' and InvoiceNo not like 'C%' and "
        "CustomerID <> '' and try_cast(Quantity as bigint) > 0 and try_cast(UnitPrice as double) > "
        "0, false)"
    )
    users = "[sources.invoices.tables.users]\nuser_id = \"regexp_replace(CustomerID, '[.]0$', '')\""
    text = _replaced(text, goods, f"not {kept}", 2)
    reject = f'reject = [{{ reason = "not goods", when = "not {kept}" }}]'
    return _replaced(text, users, f"{users}\n{reject}", 1)


def edges_mapping(text: str) -> str:
    """Ciao's mapping with edges that hold from before the first rating."""
    landed = f"date_add(date'{EDGES_FROM}', pmod(try_cast(trustee as int), {EDGES_DAYS}))"
    head, edges = text.split("[sources.trust]\n")
    edges = _replaced(edges, "landed_on = \"date'2011-04-12'\"", f'landed_on = "{landed}"', 1)
    edges = _replaced(edges, "valid_from = \"'2011-04-12'\"", f"valid_from = \"'{EDGES_FROM}'\"", 1)
    return f"{head}[sources.trust]\n{edges}"


def _replaced(text: str, old: str, new: str, times: int) -> str:
    if text.count(old) != times:
        raise UsageError(
            f"the mapping that the bench derives its own from has changed: expected {old} "
            f"{times} times, found {text.count(old)}"
        )
    return text.replace(old, new)


def _written(folder: Path, text: str) -> Path:
    path = folder / "mapping.toml"
    path.write_text(text)
    return path


def edges_of(raw: Path) -> Array:
    """(n, 2) who trusts whom, each once and in order; numbers of the raw logs."""
    with gzip.open(raw / "trust.csv.gz", "rt") as lines:
        rows = [(int(row["trustor"]), int(row["trustee"])) for row in csv.DictReader(lines)]
    edges = np.unique(np.array(rows), axis=0)
    return edges[edges[:, 0] != edges[:, 1]]


def held_out(edges: Array) -> Array:
    """(n,) whether each edge is held out: of a fifth of the unordered pairs all there are."""
    pairs, of = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    order = np.random.default_rng(HELD_OUT_SEED).permutation(len(pairs))
    is_out = np.zeros(len(pairs), dtype=bool)
    is_out[order[: round(HELD_OUT * len(pairs))]] = True
    chosen: Array = is_out[of.ravel()]
    return chosen


def without_held_out(raw: Path, folder: Path) -> Path:
    """A folder of the raw logs without the edges that are held out."""
    folder.mkdir(exist_ok=True)
    ratings, trust = folder / "ratings.csv.gz", folder / "trust.csv.gz"
    if not ratings.exists():
        ratings.symlink_to(raw / "ratings.csv.gz")
    edges = edges_of(raw)
    kept = "".join(f"{one},{other}\n" for one, other in edges[~held_out(edges)])
    trust.write_bytes(gzip.compress(f"trustor,trustee\n{kept}".encode(), mtime=0))
    return folder
