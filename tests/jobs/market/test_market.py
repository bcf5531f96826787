from __future__ import annotations

import gzip
import hashlib
import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from contracts.days import example_days
from contracts.errors import ContractError
from jobs.market.events import P_CANCELLED
from jobs.market.files import Simulation, simulate
from jobs.market.traits import BLOCK, COMMUNITY, Dirt, Market, block
from jobs.market.truth import truth_of
from tests.jobs.market.market_outcomes import outcomes

SMALL = Market(users=200, start=date(2025, 1, 1), days=12, seed=4)


def silent(done: int, total: int) -> None:
    pass


def hashes(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*.gz")
    }


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    n = simulate(SMALL, tmp_path / "a", silent)
    assert n == simulate(SMALL, tmp_path / "b", silent)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    simulate(Market(200, date(2025, 1, 1), 12, 5), tmp_path / "c", silent)
    assert hashes(tmp_path / "a") != hashes(tmp_path / "c")


def test_a_day_can_be_written_without_those_before_it(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "all", silent)
    Simulation(SMALL, tmp_path / "one").write_day(9)
    alone = hashes(tmp_path / "one")
    assert alone
    assert {n: h for n, h in hashes(tmp_path / "all").items() if n in alone} == alone


def test_a_longer_market_begins_as_the_shorter_one(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "short", silent)
    simulate(Market(200, date(2025, 1, 1), 14, 4), tmp_path / "long", silent)
    short, long = hashes(tmp_path / "short"), hashes(tmp_path / "long")
    assert {name: long[name] for name in short} == short


def test_blocks_bound_the_memory_and_ids_do_not_meet(tmp_path: Path) -> None:
    market = Market(BLOCK + 200, date(2025, 1, 1), 3)
    Simulation(market, tmp_path).write_day(2)
    with gzip.open(tmp_path / "engagements/2025-01-03.jsonl.gz", "rb") as stream:
        rows = []
        for line in stream:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue  # broken on purpose
    users_by_id: dict[str, set[str]] = {}
    bytes_of = {row["id"]: row for row in rows}
    assert len(bytes_of) > 100
    for row in rows:
        users_by_id.setdefault(row["id"], set()).add(row["user"])
    assert all(len(users) == 1 for users in users_by_id.values())
    numbers = {int(row["user"][1:]) for row in rows if row["user"]}
    assert {n // BLOCK for n in numbers} == {0, 1}  # every block is there


def test_the_truth_is_told_as_of_the_days_that_models_learn_from(tmp_path: Path) -> None:
    market = Market(users=20, start=date(2025, 1, 1), days=61, seed=4)
    night, first = date(2025, 3, 3), date(2025, 1, 1)
    simulate(market, tmp_path, silent)
    midnights = {path.stem.removeprefix("as_of=") for path in (tmp_path / "truth").glob("as_of=*")}
    learnt = example_days(night, first, 14, 24, 28)
    assert len(learnt) == 3
    assert {str(night), *map(str, learnt)} <= midnights
    assert len(midnights) == 6  # the night, and each midnight of the grid


def test_the_truth_is_what_then_happens() -> None:
    """Each probability and expectation of the closed form, against 3,000 users' real outcomes."""
    market, day = Market(3000, date(2025, 1, 1), 300, 5), 180
    users = block(market, 0)
    truth = truth_of(market, users, day)
    seen = outcomes(market, users, day)
    known = np.array([int(user[1:]) for user in truth["user_id"]])
    truth["spend_30d"] = truth["spend_30d"] / (1 - P_CANCELLED)  # outcomes leave nothing out
    names = set(truth) & set(seen)
    assert len(names) >= 17 + 11 + 2 - 2  # twelve interests, three sentiments; spend is not twice
    for name in sorted(names):
        expected, real = truth[name], seen[name][known]
        asked = ~np.isnan(real)
        expected, real = expected[asked], real[asked]
        error = real.std() / np.sqrt(len(real))
        assert abs(expected.mean() - real.mean()) < 4 * error, name
        if "sentiment" in name or "interests" in name:
            continue  # their metric is the mean over classes
        high = real > (np.median(real) if name == "next_rating_90d" else 0)
        assert 0.65 < roc_auc_score(high, expected) < 0.9, name


def test_friends_are_alike() -> None:
    market = Market(2000, date(2025, 1, 1), 10, 1)
    users = block(market, 0)
    groups = np.arange(2000) // COMMUNITY
    buys = np.log(users.rate("order"))
    means = np.array([buys[groups == g].mean() for g in range(50)])
    assert means.std() > 2 * buys.std() / np.sqrt(COMMUNITY)


def test_dirt_beyond_reason_is_refused() -> None:
    with pytest.raises(ContractError, match=r"dirt late: expected 0 to 0.1, found 0.5"):
        Dirt(late=0.5)


def test_a_market_without_users_is_refused() -> None:
    with pytest.raises(ContractError, match="found 0 users and 5 days"):
        Market(0, date(2025, 1, 1), 5)
