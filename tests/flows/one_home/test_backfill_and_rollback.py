"""Plans, backfills, rollbacks and what else concerns the past, on a tiny market."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.errors import ContractError, UsageError
from contracts.tables import USER_FEATURES, USER_SCORES
from flows import backfill as past
from flows.backfill import EngineName, Mode, Stage, backfill
from flows.cli.main import app
from flows.engine import spark_stages
from flows.lake.lake import Lake
from flows.nightly import nightly
from flows.release.duckdb_views import query
from flows.release.releases import Releases
from flows.rollback import rollback
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from tests.flows.first_night import NIGHT

pytestmark = pytest.mark.usefixtures("first")
FIRST, LAST = NIGHT - timedelta(days=22), NIGHT - timedelta(days=19)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def plan_of(home: Path, *words: str) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(run("plan", *words, "--format", "json").stdout)
    return plan


def span(first: date = FIRST, last: date = LAST) -> tuple[str, ...]:
    return ("--start", str(first), "--end", str(last))


def todo(plan: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(d["stage"], d["day"], d["reason"]) for d in plan["days"] if not d["reuse"]}


def released(home: Path) -> Any:
    return Releases(open_database(f"sqlite:///{home}/nightjar.db"))


def digests(home: Path, stage: str, table: str) -> dict[date, str]:
    receipts = Receipts(open_database(f"sqlite:///{home}/nightjar.db"))
    return {
        day: receipts.get(stage, day).outputs[table]["digest"]  # type: ignore[union-attr]
        for day in receipts.days(stage)
    }


@pytest.fixture
def features_of_the_past(home: Path) -> None:
    """A backfill of the range has run."""
    backfill(FIRST, LAST, mode=Mode.run)


@pytest.fixture
def scores_of_the_past(home: Path) -> None:
    """The range's first day is scored."""
    backfill(FIRST, FIRST, stages=[Stage.score], mode=Mode.run)


def test_a_plan_says_what_why_and_at_what_cost_and_a_backfill_runs_it(home: Path) -> None:
    before = plan_of(home, *span())
    days = [str(FIRST + timedelta(days=n)) for n in range(4)]
    assert todo(before) == {
        *(("item_features", day, "never computed") for day in days),
        *(("user_features", day, "never computed") for day in days),
        ("user_state", days[0], "never computed"),
    }
    costs = {d["stage"]: d["rows"] for d in before["days"] if not d["reuse"]}
    assert costs["user_features"] > 50
    assert plan_of(home, *span())["token"] == before["token"]
    shown = run("plan", *span()).stdout
    assert f"{FIRST} to {LAST}" in shown
    assert f"--plan {before['token']}" in shown

    was = released(home).current()
    done = backfill(FIRST, LAST, plan=before["token"], mode=Mode.run)
    assert done["recomputed"] == 9
    current = released(home).current()
    assert current.days == tuple(FIRST + timedelta(days=n) for n in range(4))
    assert (current.as_of, current.model_id) == (was.as_of, was.model_id)
    assert current.replaces == was.release_id
    midnights = query(
        home / "nightjar.duckdb", "SELECT DISTINCT as_of FROM user_features ORDER BY 1"
    )
    assert {FIRST, LAST} <= {row[0] for row in midnights[1]}

    assert todo(plan_of(home, *span())) == set()
    again = backfill(FIRST, LAST, plan=before["token"], mode=Mode.run)
    assert again["recomputed"] == 0
    assert again["release_id"] == done["release_id"]


def test_a_plan_of_the_night_sees_other_training(home: Path, monkeypatch) -> None:
    day = str(released(home).current().as_of)
    before = todo(plan_of(home, "--as-of", day))
    assert not {"train", "score"} & {stage for stage, _, _ in before}
    monkeypatch.setenv("NIGHTJAR_TRAIN__NETWORK__WIDTH", "8")
    assert todo(plan_of(home, "--as-of", day)) - before == {
        ("train", day, "configuration changed"),
        ("score", day, "cascaded from train"),
    }


@pytest.mark.slow
def test_one_pass_and_per_day_make_the_same_rows_and_a_sample_is_compared(home: Path) -> None:
    first, last = NIGHT - timedelta(days=13), NIGHT - timedelta(days=12)
    backfill(first, last, mode=Mode.run)
    one_pass = digests(home, "user_features", USER_FEATURES.name)
    receipts = Receipts(open_database(f"sqlite:///{home}/nightjar.db"))
    output = receipts.get("user_features", last).outputs[USER_FEATURES.name]  # type: ignore[union-attr]
    assert output["engine"] == "one-pass"
    assert output["equal_to_per_day"] == str(first + timedelta(days=1))
    done = backfill(first, last, engine=EngineName.per_day, force=True, mode=Mode.run)
    assert done["recomputed"] == 2 + 2 + 1  # items, features, and the states that were not there
    assert digests(home, "user_features", USER_FEATURES.name) == one_pass


@pytest.mark.slow
def test_engines_that_differ_stop_a_backfill(home: Path, monkeypatch) -> None:
    real = spark_stages.run_job

    def wrong(*words: Any, **named: Any) -> Any:
        result = real(*words, **named)
        if words[1].name == "user_features" and words[-1] == "per-day":
            for day, written in result.written["user_features"].items():
                object.__setattr__(written, "digest", f"other {day}")
        return result

    monkeypatch.setattr(spark_stages, "run_job", wrong)
    first, last = FIRST + timedelta(days=4), FIRST + timedelta(days=5)
    snapshot = Lake(home / "lake").snapshot(USER_FEATURES)
    with pytest.raises(ContractError) as error:
        backfill(first, last, mode=Mode.run)
    assert str(error.value).startswith(
        f"user_features: nothing was committed, because engines differ:\n  {last}: one pass gave "
    )
    assert Lake(home / "lake").snapshot(USER_FEATURES) == snapshot


@pytest.mark.slow
def test_a_corrected_file_rebuilds_what_depends_on_it_and_a_plan_that_moved_is_refused(
    home: Path, features_of_the_past: None, monkeypatch, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(home.parent / "raw", raw)
    monkeypatch.setenv("NIGHTJAR_RAW", str(raw))
    planned = plan_of(home, *span())
    assert todo(planned) == set()
    import gzip

    path = raw / f"orders/{FIRST + timedelta(days=1)}.csv.gz"

    def append(line: str) -> None:
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + line.encode() + b"\n"))

    last = gzip.decompress(path.read_bytes()).decode().splitlines()[-1]
    append(last)
    moved = todo(plan_of(home, *span()))
    corrected = str(FIRST + timedelta(days=1))
    assert ("land_orders", corrected, "input moved") in moved
    assert ("clean_orders", corrected, "cascaded from land_orders") in moved
    assert ("user_features", str(LAST), "cascaded from user_days_orders") in moved
    assert ("user_features", str(FIRST), "cascaded from user_days_orders") not in moved
    with pytest.raises(ContractError) as error:
        backfill(FIRST, LAST, plan=planned["token"], mode=Mode.run)
    assert str(error.value).startswith(
        "this is not what was planned; look at a new plan:\n"
        f"  land_orders {corrected}: moved\n"
        f"  land_orders {corrected}: input moved, which the plan did not have\n"
        f"  clean_orders {corrected}: cascaded from land_orders, which the plan did not have\n"
    )

    def days_of(done: dict[str, Any]) -> dict[str, list[date]]:
        receipts = Receipts(open_database(f"sqlite:///{home}/nightjar.db")).of_run(done["run_id"])
        return {r.stage: sorted(x.day for x in receipts if x.stage == r.stage) for r in receipts}

    # The line was there already: cleaning counts a duplicate, and there the change ends.
    day = date.fromisoformat(corrected)
    days = days_of(backfill(FIRST, LAST, mode=Mode.run))
    assert days["clean_orders"] == [day + timedelta(n) for n in range(8)]
    assert not {"user_days_orders", "user_state", "user_features"} & days.keys()
    append(last.replace("l", "another-l", 1))
    days = days_of(backfill(FIRST, LAST, mode=Mode.run))
    assert days["user_days_orders"] == [day]
    assert days["user_features"] == [day + timedelta(n) for n in (1, 2)]
    monkeypatch.undo()


@pytest.mark.slow
def test_scores_of_the_past_are_marked_and_the_newest_day_stays(home: Path) -> None:
    done = backfill(FIRST, FIRST, stages=[Stage.score], mode=Mode.run)
    rows = query(
        home / "nightjar.duckdb",
        "SELECT as_of, bool_and(retrospective), count(*) FROM user_scores GROUP BY 1 ORDER BY 1",
    )[1]
    assert [r[0] for r in rows if r[1]] == [FIRST]
    assert (NIGHT, False) in [(r[0], r[1]) for r in rows]
    current = released(home).current()
    assert current.release_id == done["release_id"]
    assert query(home / "nightjar.duckdb", "SELECT DISTINCT as_of FROM newest_scores")[1] == [
        (current.as_of,)
    ]
    # A day of history was replaced meanwhile, so that files of several layouts are read together.
    ((user,),) = query(
        home / "nightjar.duckdb", f"SELECT min(user_key) FROM user_scores WHERE as_of = '{FIRST}'"
    )[1]
    explained = run("explain", user, "--as-of", str(FIRST))
    assert explained.exit_code == 0, explained.output


@pytest.mark.slow
def test_days_scored_one_after_the_other_are_all_reused_together(home: Path) -> None:
    days = [FIRST + timedelta(days=n) for n in (1, 2)]
    for day in days:
        backfill(day, day, stages=[Stage.score], mode=Mode.run)
    before = released(home).current()
    again = backfill(days[0], days[1], stages=[Stage.score], mode=Mode.run)
    assert again["recomputed"] == 0
    assert again["release_id"] == before.release_id


@pytest.mark.slow
def test_scores_that_wait_apart_are_made_together(
    home: Path, scores_of_the_past: None, monkeypatch
) -> None:
    """Scores of a run that failed its audit are on a branch, which a later one does not build on."""
    days = [FIRST + timedelta(days=n) for n in (0, 3)]

    def fail(*_: object) -> None:
        raise ContractError("the audit fails")

    with monkeypatch.context() as patch:
        patch.setattr(past.publish, "audit", fail)
        with pytest.raises(ContractError, match="the audit fails"):
            backfill(days[1], days[1], stages=[Stage.score], mode=Mode.run)
    other = FIRST - timedelta(days=1)
    backfill(other, other, stages=[Stage.score], mode=Mode.run)
    published = released(home).current()
    forced = backfill(other, other, stages=[Stage.score], force=True, mode=Mode.run)
    assert forced["recomputed"] == 3  # items, features, scores: none of them another
    assert forced["release_id"] == published.release_id
    assert released(home).current().replaces == published.replaces
    done = backfill(days[0], days[1], stages=[Stage.score], mode=Mode.run)
    assert done["recomputed"] == 1
    scored = query(home / "nightjar.duckdb", "SELECT DISTINCT as_of FROM user_scores")[1]
    assert {(day,) for day in (*days, other)} <= set(scored)


@pytest.mark.slow
def test_a_rollback_goes_back_one_release_and_its_days_are_to_be_made_again(home: Path) -> None:
    before = released(home).current()
    day = FIRST - timedelta(days=3)
    backfill(day, day, mode=Mode.run)
    newest = released(home).current()
    shown = run("diff", before.release_id, newest.release_id).stdout
    assert "churn_28d" in shown
    assert "100.0%" in shown  # the same scores, so every top decile is kept

    page = home / f"reports/backfill-{day}-to-{day}.html"
    assert f"Published: release {newest.release_id} brings user_features of 1 day" in (
        page.read_text()
    )
    done = rollback()
    assert (done["withdrawn"], done["current"]) == (newest.release_id, before.release_id)
    assert f"Rolled back: release {newest.release_id}" in page.read_text()
    assert f"Published: release {newest.release_id}" not in page.read_text()
    assert query(home / "nightjar.duckdb", "SELECT release_id FROM release")[1] == [
        (before.release_id,)
    ]
    assert Lake(home / "lake").snapshot(USER_SCORES) == before.snapshots[USER_SCORES.name]
    assert "withdrawn" in run("releases").stdout
    moved = todo(plan_of(home, *span(day, day)))
    assert ("user_features", str(day), "rolled back") in moved
    assert not [row for row in moved if row[0].startswith(("land", "clean"))]
    again = backfill(day, day, mode=Mode.run)
    assert again["release_id"] == newest.release_id  # nothing had changed, so it is the same
    assert f"Published: release {newest.release_id}" in page.read_text()
    assert released(home).current().withdrawn_at is None


def test_what_came_late_is_in_the_ledger(home: Path) -> None:
    names, rows = query(home / "nightjar.duckdb", "SELECT * FROM late_ledger ORDER BY landed_on")
    assert names == [
        "landed_on", "n_events", "n_users", "first_day", "last_day", "max_days_late", "n_scores",
    ]  # fmt: skip
    assert rows
    assert all(first < landed for landed, _, _, first, *_ in rows)
    stale = query(
        home / "nightjar.duckdb",
        "SELECT count(*) FROM stale_scores WHERE NOT (day < as_of AND landed_on >= as_of)",
    )[1]
    assert stale == [(0,)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("plan", "--start", "2025-01-01"), "a plan is of a range"),
        (("plan", *span(LAST, FIRST)), "a backfill must not end"),
        (("backfill", *span(), "--stages", "scores"), "--stages scores: expected some of"),
        (("backfill", *span(), "--engine", "fast"), "--engine fast: expected one-pass or per-day"),
        (("diff", "19700101", "2025"), "19700101: no release of that name"),
    ],
)
def test_wrong_calls_are_told(home: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(*words)


def test_a_plan_of_another_call_or_none_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="no such plan in this home"):
        backfill(FIRST, LAST, plan="nothing", mode=Mode.run)
    token = plan_of(home, *span(FIRST, FIRST))["token"]
    with pytest.raises(UsageError, match="is of another call: command: backfill, start: "):
        backfill(FIRST, LAST, plan=token, mode=Mode.run)
    with pytest.raises(UsageError, match="is of another call"):
        nightly(NIGHT, plan=token)
