from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import pytest

from contracts.table import ContractError
from jobs import market
from jobs.market import Items, Market
from jobs.market.files import simulate, write_day

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
    write_day(SMALL, Items.of(SMALL), 9, tmp_path / "one")
    alone = hashes(tmp_path / "one")
    assert alone
    assert {n: h for n, h in hashes(tmp_path / "all").items() if n in alone} == alone


def test_a_longer_market_begins_as_the_shorter_one(tmp_path: Path) -> None:
    simulate(SMALL, tmp_path / "short", silent)
    simulate(Market(200, date(2025, 1, 1), 14, 4), tmp_path / "long", silent)
    short, long = hashes(tmp_path / "short"), hashes(tmp_path / "long")
    assert {name: long[name] for name in short} == short


def test_blocks_bound_the_memory_and_ids_do_not_meet(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(market, "BLOCK", 70)
    simulate(SMALL, tmp_path, silent)
    import gzip
    import json

    with gzip.open(tmp_path / "engagements/2025-01-03.jsonl.gz", "rt") as stream:
        rows = []
        for line in stream:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue  # cut short on purpose
    users_by_id: dict[str, set[str]] = {}
    for row in rows:
        users_by_id.setdefault(row["id"], set()).add(row["user"])
    assert all(len(users) == 1 for users in users_by_id.values())
    numbers = {int(row["user"][1:]) for row in rows if row["user"]}
    assert {n // 70 for n in numbers} == {0, 1, 2}  # every block is there


def test_a_market_without_users_is_refused() -> None:
    with pytest.raises(ContractError, match="found 0 users and 5 days"):
        Market(0, date(2025, 1, 1), 5)
