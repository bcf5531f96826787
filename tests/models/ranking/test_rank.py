"""Lists of a market whose answer is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.spec_json import encode
from contracts.specs import RankDay
from contracts.surfaces import Outcome
from models.artifact.model import DamagedArtifact
from models.ranking import rank as ranking
from models.ranking.artifact import load_rankers, ranker_id
from models.ranking.rank import rank_days
from tests.conftest import REPOSITORY
from tests.models.ranking.small_market import (
    CONFIG,
    DAY,
    PRODUCTS,
    USERS,
    answers,
    elsewhere,
    rank_day,
    spec_of,
)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> RankDay:
    """Ranked already."""
    day = rank_day(tmp_path_factory.mktemp("market"))
    rank_days(spec_of(day))
    return day


def lists_of(*paths: str) -> list[dict[str, Any]]:
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def report_of(day: RankDay) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(Path(day.folder, "report.json").read_text())["products"]
    return report


def test_what_no_list_says_alone_is_learnt_from_past_days(day: RankDay) -> None:
    rows = lists_of(day.path)
    first = [sorted(row["item_ids"][:3]) for row in rows]
    assert [row["user_key"] for row in rows] == USERS
    assert sum(found == expected for found, expected in zip(first, answers(DAY), strict=True)) > 190
    report = report_of(day)
    assert report["order_by"] in ("lambdarank", "mixture")
    assert report["gain"]["low"] > 0.3


def test_probabilities_add_up_to_what_happens(day: RankDay) -> None:
    rows = lists_of(day.path)
    # Each user buys two of the three items in both lists and likes the other.
    assert sum(sum(row["p_order"]) for row in rows) / len(rows) == pytest.approx(2, abs=0.2)
    assert sum(sum(row["p_like"]) for row in rows) / len(rows) == pytest.approx(1, abs=0.2)
    assert all(row["p_review"] == [] for row in rows), "nobody wrote a review"
    first = rows[0]
    expected = [1.0 * o + 0.05 * k for o, k in zip(first["p_order"], first["p_like"], strict=True)]
    assert first["values"] == pytest.approx(expected, rel=1e-5)


def test_the_same_again_to_the_bit_in_other_files_and_shards(
    day: RankDay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "SHARD_USERS", 64)
    again = rank_day(tmp_path, n_files=3)
    again = replace(again, inputs=replace(again.inputs, histories=again.inputs.histories[::-1]))
    report = rank_days(spec_of(again))["days"][0]
    assert len(report["paths"]) == 4
    assert report["rows"] == len(USERS)
    assert lists_of(*report["paths"]) == lists_of(day.path)


def test_what_outcomes_are_worth_reorders_without_training(day: RankDay, tmp_path: Path) -> None:
    ranker = load_rankers(Path(day.folder))["products"]
    worth = {"order": 0.0, "like": 1.0}
    likes = replace(
        PRODUCTS,
        outcomes=tuple(
            Outcome(o.event, worth.get(o.event, 0.0), o.is_goal) for o in PRODUCTS.outcomes
        ),
    )
    for_likes = elsewhere(day, tmp_path)
    Path(for_likes.folder).mkdir()
    for path in Path(day.folder).iterdir():
        Path(for_likes.folder, path.name).write_bytes(path.read_bytes())
    rank_days(spec_of(for_likes, likes))
    first = lists_of(for_likes.path)[0]
    assert first["values"] == pytest.approx(first["p_like"])
    assert first["ranker_id"] == ranker_id(ranker) == lists_of(day.path)[0]["ranker_id"]


def test_with_too_few_users_the_best_list_ranks(day: RankDay, tmp_path: Path) -> None:
    few = elsewhere(day, tmp_path)
    report = rank_days(spec_of(few, config=replace(CONFIG, min_learn_users=500)))
    surface = report["days"][0]["surfaces"]["products"]
    assert surface["order_by"] == "source"
    assert surface["why"].endswith(
        "users with a goal to learn from and to judge by, 500 are needed"
    )
    row = lists_of(few.path)[0]
    assert row["p_order"] == []
    assert row["values"][:3] == pytest.approx([1, 1 / 2, 1 / 3])
    best = max(surface["ndcg10"], key=lambda name: surface["ndcg10"][name]["mean"])
    assert surface["best_list"] == best
    assert row["ranker_id"] == surface["ranker_id"] == f"source:{best}"


def test_a_killed_ranking_goes_on_with_the_shards_that_are_there(
    day: RankDay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "SHARD_USERS", 64)
    killed = elsewhere(day, tmp_path)
    whole = rank_days(spec_of(killed))["days"][0]
    expected = lists_of(*whole["paths"])
    scratch = Path(killed.scratch)
    (scratch / f"{DAY}-2-products.parquet").unlink()
    monkeypatch.setattr(ranking, "fit_surface", _must_not_run)
    times = {path: path.stat().st_mtime_ns for path in scratch.glob("*.parquet")}
    assert lists_of(*rank_days(spec_of(killed))["days"][0]["paths"]) == expected
    assert times.items() <= {p: p.stat().st_mtime_ns for p in scratch.glob("*.parquet")}.items()


def test_three_processes_give_the_lists_of_one_to_the_bit(
    day: RankDay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "SHARD_USERS", 64)
    several = elsewhere(day, tmp_path)
    (report,) = rank_days(spec_of(several, config=replace(CONFIG, processes=3)))["days"]
    assert (len(report["paths"]), report["rows"]) == (4, len(USERS))
    assert lists_of(*report["paths"]) == lists_of(day.path)


@pytest.mark.slow
def test_two_ranks_give_the_lists_of_one_to_the_bit(day: RankDay, tmp_path: Path) -> None:
    """Each with two processes."""
    several = elsewhere(day, tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import models.ranking.rank\nmodels.ranking.rank.SHARD_USERS = 64\n"
    )
    spec = spec_of(several)
    spec = replace(spec, config=replace(spec.config, processes=2))
    (tmp_path / "spec.json").write_text(encode(spec))
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    words = ("-m", "models", "rank", f"{tmp_path}/spec.json", f"{tmp_path}/report")
    done = subprocess.run(
        [sys.executable, *torchrun, *words],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (report,) = json.loads((tmp_path / "report").read_text())["days"]
    assert (len(report["paths"]), report["rows"]) == (4, len(USERS))
    assert lists_of(*report["paths"]) == lists_of(day.path)


def _must_not_run(*_: Any) -> Any:
    raise AssertionError("fitted again")


def test_a_champion_that_orders_as_well_gives_way(day: RankDay, tmp_path: Path) -> None:
    again = elsewhere(day, tmp_path, champion=day.folder)
    report = rank_days(spec_of(again))["days"][0]["surfaces"]["products"]
    held_out = "users held out, 30 are needed to judge the champion"
    assert report["why"].endswith(held_out) or report["gain_on_champion"]["mean"] == 0


def test_a_damaged_ranker_is_not_used(day: RankDay, tmp_path: Path) -> None:
    for path in Path(day.folder).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    trees = tmp_path / "products-trees.txt"
    trees.write_text(trees.read_text().replace("leaf_value=", "leaf_value=0", 1))
    with pytest.raises(DamagedArtifact) as error:
        load_rankers(tmp_path)
    assert str(error.value) == (
        f"{trees}: the ranker is damaged: it is not what was saved; fit it anew"
    )
    about = tmp_path / "ranker.json"
    about.write_text(about.read_text().replace("popular_10d", "popular_30d"))
    with pytest.raises(DamagedArtifact, match="ranker.json: the ranker is damaged"):
        load_rankers(tmp_path)
    about.unlink()
    with pytest.raises(Exception, match="no ranker is there: ranker.json is missing"):
        load_rankers(tmp_path)
