"""Canaries, clocks, origins and housekeeping, on the home that the tests of flows share."""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from contracts.content import content_hash
from contracts.content_tables import CONTENT_SCORES
from contracts.errors import BusyError, UsageError
from contracts.source_tables.posts import POSTS
from contracts.surfaces import SURFACES
from contracts.tables import EXAMPLES, LANDED, USER_SCORES, USER_STATE
from flows.cli.main import app
from flows.engine.run import Run
from flows.housekeeping import housekeeping
from flows.lake import maintenance
from flows.lake.lake import Lake
from flows.monitor.leakage import canary
from flows.monitor.list_leakage import list_canary
from flows.nightly import nightly
from flows.release.duckdb_views import query
from flows.retention.housekeeping import run_housekeeping
from flows.settings import read_settings
from flows.state.schema import RUNS, open_database
from flows.state.writer_lock import writing
from flows.storage.parquet_files import read_rows
from tests.bench.contents import contents, untrue_receipts
from tests.flows.first_night import NIGHT

pytestmark = pytest.mark.usefixtures("first")
CUT = NIGHT - timedelta(days=24)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def test_a_scored_text_is_explained_by_its_hash_and_by_the_id_of_its_post(home: Path) -> None:
    lake = Lake(home / "lake")
    scored = {
        row["content_hash"]: row
        for file in lake.files(CONTENT_SCORES)
        for row in read_rows(file.path).to_pylist()
    }
    post = next(
        row
        for file in lake.files(POSTS)
        for row in read_rows(file.path).to_pylist()
        if row["text"] is not None
        and scored.get(content_hash(row["text"]), {}).get("landed_on") == row["landed_on"]
    )
    named = content_hash(post["text"])
    shown = run("explain-content", named, "--format", "json")
    assert shown.exit_code == 0
    words = json.loads(shown.stdout)
    assert [row["word"] for row in words] == post["text"].split()
    assert list(words[0]) == ["word", f"sentiment: {scored[named]['class']}"]
    by_id = run("explain-content", post["post_id"])
    assert f"sentiment: {scored[named]['class']}" in by_id.stdout
    folders = [path for path in (home / "runs").iterdir() if "explain-" in path.name]
    assert not any(list(folder.glob("explain_content*")) for folder in folders)
    with pytest.raises(
        UsageError, match="no scored text is called nothing: expected a content_hash"
    ):
        run("explain-content", "nothing")


@pytest.mark.slow
def test_no_feature_tells_twins_apart_and_no_score(home: Path) -> None:
    comparison = canary(Run(read_settings(), NIGHT), CUT, print)
    assert comparison.problems == []
    assert comparison.n_pairs > 40
    assert comparison.tasks
    comparison.check()


@pytest.mark.slow
def test_lists_made_again_without_later_rows_and_with_later_items_are_the_same_to_the_bit(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTJAR_RANKING__LEARN_DAYS", "1")
    canaries = list_canary(Run(read_settings(), NIGHT), CUT, print)
    assert canaries is not None
    assert canaries.problems == []
    assert set(canaries.n_listed) == {surface.name for surface in SURFACES}
    assert min(canaries.n_listed.values()) > 1000


@pytest.mark.slow
def test_settings_are_searched_on_the_lakes_examples(home: Path, monkeypatch) -> None:
    settings = {"OPTIMISER__MAX_EPOCHS": "1", "NETWORK__WIDTH": "32", "NETWORK__DEPTH": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(f"NIGHTJAR_TRAIN__{name}", value)
    done = run("tune", "--minutes", "10", "--trials", "1")
    assert done.exit_code == 0, done.output
    assert "1 trials; validation loss over the constant's: best" in done.output
    assert (home / "tune.db").exists()


@pytest.mark.slow
def test_a_rows_origin_is_told_and_made_again(home: Path) -> None:
    _, rows = query(
        home / "nightjar.duckdb",
        f"SELECT user_key FROM user_features WHERE as_of = DATE '{NIGHT}' "
        "ORDER BY n_following DESC, user_key LIMIT 1",
    )
    who = rows[0][0]
    shown = run("explain", who, "--as-of", str(NIGHT))
    assert shown.exit_code == 0, shown.output
    for part in (
        who,
        "examples snapshot",
        "what moved each score most",
        "git commit",
        "user_scores",
        "orders",
        ".csv.gz",
        "every feature and score matches",
    ):
        assert part in shown.output
    with pytest.raises(UsageError, match="has no scores of that user"):
        run("explain", "nobody", "--as-of", str(NIGHT))


@pytest.mark.slow
def test_a_row_that_is_not_what_it_was_made_of_is_found_out(home: Path, monkeypatch) -> None:
    from flows.monitor import lineage as module

    night = Run(read_settings(), NIGHT)
    who = query(home / "nightjar.duckdb", "SELECT min(user_key) FROM newest_scores")[1][0][0]
    real = module._row

    def tampered(*words: Any) -> Any:
        row = real(*words)
        return row and (row | {"n_events_all": -1} if "n_events_all" in row else row)

    monkeypatch.setattr(module, "_row", tampered)
    explanation = module.explain(night, who, NIGHT, print)
    assert [m.split(":")[0] for m in explanation.mismatches] == ["feature n_events_all"]


@pytest.mark.slow
def test_two_clocks_are_compared(home: Path) -> None:
    days = query(home / "nightjar.duckdb", "SELECT DISTINCT as_of FROM labels ORDER BY 1")[1]
    shown = run("late-data-cost", "--as-of", str(days[0][0]), "--format", "json")
    rows = json.loads(shown.output[shown.output.index("[\n") :])
    assert {"churn_28d"} <= {row["task"] for row in rows}
    for row in rows:
        assert row["difference"] == pytest.approx(row["AUC as now"] - row["AUC as was"], abs=2e-4)
    with pytest.raises(UsageError, match="there are no features as of 2024-01-01"):
        run("late-data-cost", "--as-of", "2024-01-01")


def test_late_rows_are_listed_by_arrival_and_by_user(home: Path) -> None:
    ledger = json.loads(run("late-data", "--format", "json").output)
    assert ledger[0]["n_users"] > 0
    one = json.loads(run("late-data", "--day", ledger[0]["landed_on"], "--format", "json").output)
    assert len(one) == min(50, len({(r["user_key"], r["day"]) for r in one}))


@pytest.mark.slow
def test_housekeeping_keeps_every_row_and_what_releases_need(home: Path, monkeypatch) -> None:
    monkeypatch.setenv("NIGHTJAR_KEEP_SNAPSHOT_DAYS", "0")
    monkeypatch.setenv("NIGHTJAR_KEEP_SNAPSHOTS", "1")
    monkeypatch.setenv("NIGHTJAR_KEEP_FILES_HOURS", "0")
    monkeypatch.setenv("NIGHTJAR_COMPACT_AFTER_DAYS", "31")
    engine = open_database(f"sqlite:///{home}/nightjar.db")
    with engine.connect() as connection:  # only what our own runs left is removed
        run_id = connection.execute(select(RUNS.c.run_id)).scalars().first()
    stray = home / f"lake/files/{run_id}/stray.parquet"
    foreign = home / "lake/files/nobody/stray.parquet"
    stray.parent.mkdir(parents=True, exist_ok=True)
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"somebody's")
    stray.write_bytes(b"left behind")
    before = contents(home)
    lake = Lake(home / "lake")
    n_before = {t: len(lake.table(t).snapshots()) for t in (LANDED, EXAMPLES)}
    dry = run("housekeeping", "--dry-run").output
    assert "unreferenced files" in dry
    assert stray.exists()
    time.sleep(1)
    with (
        writing(engine, "night", "the night of today"),
        pytest.raises(BusyError, match="the night of today"),
    ):
        run_housekeeping(read_settings(), False, datetime.now(UTC), print)
    assert stray.exists()
    cleaned = run_housekeeping(read_settings(), False, datetime.now(UTC), print)
    assert not stray.exists()
    assert foreign.exists()
    shutil.rmtree(foreign.parent)
    assert sum(map(len, cleaned.snapshots.values())) > 0
    assert contents(home) == before
    assert untrue_receipts(home) == []
    lake = Lake(home / "lake")
    assert len(lake.table(LANDED).snapshots()) < n_before[LANDED]
    receipts = Run(read_settings(), NIGHT).receipts
    snapshot = max(
        int(r.outputs["examples_snapshot"])
        for d in receipts.days("train")
        if (r := receipts.get("train", d))
    )
    assert lake.table(EXAMPLES).snapshot_by_id(snapshot) is not None
    assert query(home / "nightjar.duckdb", "SELECT count(*) > 0 FROM newest_scores")[1] == [(True,)]
    assert nightly(NIGHT)["recomputed"] == 0
    again = run_housekeeping(read_settings(), True, datetime.now(UTC), print)
    assert again.months == {t: [] for t in maintenance.COMPACTED}


def test_old_states_go_and_their_receipts_with_them(home: Path, monkeypatch) -> None:
    monkeypatch.setenv("NIGHTJAR_KEEP_STATE_DAYS", "1")
    night = Run(read_settings(), NIGHT)
    days = night.receipts.days("user_state")
    gone = {what: n for what, n, _ in housekeeping()}
    kept = Run(read_settings(), NIGHT).receipts.days("user_state")
    assert kept == tuple(d for d in days if d in days[-3:] or (days[-1] - d).days <= 1)
    assert gone.get("days of user_state", "0") == str(len(days) - len(kept))
    assert untrue_receipts(home) == []
    assert os.path.exists(home / "nightjar.duckdb")
    assert len(Lake(home / "lake").files(USER_STATE)) >= len(kept)
    assert Lake(home / "lake").files(USER_SCORES)
