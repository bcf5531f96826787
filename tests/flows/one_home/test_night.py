"""One whole night on a tiny market, and what must hold after it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from sqlalchemy import update

from contracts.errors import ContractError, UsageError
from contracts.tables import LANDED, USER_FEATURES, USER_SCORES
from flows.cli.main import app
from flows.engine import spark_stages
from flows.engine.accounting import StageReport
from flows.engine.run import Run
from flows.lake.lake import Lake
from flows.learning import gate as gating
from flows.nightly import nightly
from flows.release.duckdb_views import query
from flows.release.releases import Releases
from flows.settings import read_settings
from flows.state.schema import CURRENT, open_database
from flows.steps import prefect_tasks, publish
from flows.steps import tasks as steps
from tests.conftest import REPOSITORY
from tests.flows.first_night import NIGHT, START
from tests.flows.terminal_lines import lines_at_a_terminal


def count(home: Path, sql: str) -> Any:
    return query(home / "nightjar.duckdb", sql)[1][0][0]


def test_the_night_publishes_every_known_user_once(home: Path, first) -> None:
    assert first["recomputed"] > 0
    known = count(
        home, f"SELECT count(DISTINCT user_key) FROM user_features WHERE as_of = DATE '{NIGHT}'"
    )
    assert known > 100
    assert count(home, "SELECT count(*) FROM newest_scores") == known
    assert count(home, "SELECT count(*) FROM newest_scores WHERE score_purchase_7d IS NULL") == 0
    assert count(home, "SELECT count(DISTINCT release_id) FROM newest_scores") == 1
    assert not count(home, "SELECT bool_or(retrospective) FROM user_scores")


def test_nothing_is_lost_and_no_raw_id_leaves_the_clean_stage(home: Path, first) -> None:
    assert (
        count(
            home,
            "SELECT count(*) FROM reconciliation WHERE n_in <> n_clean + n_duplicate "
            "+ n_quarantined + n_erased",
        )
        == 0
    )
    assert count(home, "SELECT sum(n_quarantined)::INT FROM reconciliation") == count(
        home, "SELECT count(*) FROM quarantine"
    )
    raw = sum(len(p.read_bytes()) > 0 for p in (home.parent / "raw").rglob("*.gz"))
    assert raw > 0
    assert count(home, "SELECT count(*) FROM newest_scores WHERE user_key LIKE 'u%'") == 0
    assert count(home, "SELECT min(length(user_key)) FROM newest_scores") == 32


@pytest.mark.parametrize(("page", "least"), [("README.md", 4), ("docs/analysts.md", 10)])
def test_the_pages_queries_run(home: Path, first, page: str, least: int) -> None:
    text = (REPOSITORY / page).read_text()
    statements = [
        s
        for block in re.findall(r"```sql\n(.*?)```", text, flags=re.S)
        for s in re.sub(r"--.*", "", block).split(";")
        if s.strip()
    ]
    assert len(statements) >= least
    for statement in statements:
        names, rows = query(home / "nightjar.duckdb", statement)
        assert names
        # the labels of a day that is scored tonight are not known yet
        # and before the second night there is no day to compare with
        assert rows or "label_" in statement or "AS was" in statement, statement


def test_the_pages_python_runs(home: Path, first) -> None:
    text = (REPOSITORY / "docs/analysts.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert len(blocks) == 2
    for block in blocks:
        variables: dict[str, Any] = {}
        exec(block.replace(".nightjar/", f"{home}/"), variables)
        n, view = (
            (variables["scores"].count_rows(), "user_scores")
            if "paths" in variables
            else (len(variables["frame"]), "newest_scores")
        )
        assert n == count(home, f"SELECT count(*) FROM {view}")
        variables["connection"].close()


def test_the_page_shows_what_was_done(home: Path, first) -> None:
    text = Path(first["report"]).read_text()
    for part in (
        "user_id: missing",
        "purchase_7d",
        "LightGBM",
        first["release_id"],
        "every known user, no other",
        "data:image/png;base64",
    ):
        assert part in text


OURS = re.compile(
    r"\d\d:\d\d:\d\d (  )?(night of|task|content_scores|surface|measured on|land_|clean_|user_|item_|interactions|"
    r"late_|labels|examples|scoreboard|rec_|retrieve|train|gate|score|rank|recommendations|audit|"
    r"publish|published|report|the mapping|nothing had)"
)


def test_a_good_night_says_lines_of_its_own_and_no_library_s(first_night) -> None:
    first_lines = first_night.lines
    assert len(first_lines) > 20
    assert [line for line in first_lines if not OURS.match(line)] == []
    assert [line for line in first_lines if "Finished in state" in line] == []


def test_the_same_night_again_recomputes_nothing_and_finds_the_same(first, first_night) -> None:
    with lines_at_a_terminal() as lines:
        again = nightly(NIGHT)
    assert again["recomputed"] == 0
    assert again["release_id"] == first["release_id"]
    # What is judged again is compared with what it was compared with, and never with itself.
    gate, audited = verdicts = verdicts_of(lines)
    assert verdicts == verdicts_of(first_night.lines)
    assert "there was no champion to compare with" in gate
    assert audited.endswith(" checks passed")


def verdicts_of(lines: list[str]) -> list[str]:
    """What the gate and the audit said."""
    return [line[11:] for line in lines if line[11:].startswith(("gate: ", "audit: "))]


def forget_the_announcement(home: Path) -> None:
    """As a run leaves it that ends between its release and the announcement."""
    engine = open_database(f"sqlite:///{home}/nightjar.db")
    with engine.begin() as connection:
        connection.execute(update(CURRENT).values(announced_at=None))
    engine.dispose()


def test_a_page_that_cannot_be_made_fails_no_night_and_downstream_is_told_before(
    home: Path, first, monkeypatch
) -> None:
    announcements: list[tuple[str, str]] = []

    def broken(*_: object) -> None:
        raise ValueError("cannot draw\na picture")

    monkeypatch.setattr(steps, "report_sections", broken)
    monkeypatch.setattr(
        publish, "announce", lambda release_id, day: announcements.append((release_id, day))
    )
    monkeypatch.setattr(
        prefect_tasks, "alert", lambda event, message: announcements.append((event, message))
    )
    forget_the_announcement(home)
    state = nightly(NIGHT, return_state=True)
    assert state.is_completed()
    done = state.result()
    assert done["release_id"] == first["release_id"]
    assert "report" not in done
    published, (event, message) = announcements
    assert published == (first["release_id"], str(NIGHT))
    assert event == "nightjar.alert.not-reported"
    where, _, _ = message.rpartition(":")  # the line of this very test
    assert where == (
        "the release stands, but the night's page could not be made: unexpected error: ValueError "
        "in tests/flows/one_home/test_night.py"
    )


@pytest.mark.slow
def test_a_night_that_lost_its_end_takes_it_up_and_reaches_the_same_release(home, first) -> None:
    """Scores and release are gone, as after a crash before publishing; the rest is reused."""
    from sqlalchemy import text

    engine = open_database(f"sqlite:///{home}/nightjar.db")
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM receipts WHERE stage IN ('score', 'examples')"))
        connection.execute(text("DELETE FROM releases"))
        connection.execute(text("DELETE FROM current_release"))
    before = query(
        home / "nightjar.duckdb",
        "SELECT * EXCLUDE (release_id) FROM newest_scores ORDER BY user_key",
    )
    (home / "nightjar.duckdb").unlink()
    again = nightly(NIGHT)
    assert 0 < again["recomputed"] <= 20
    assert again["release_id"] == first["release_id"]
    after = query(
        home / "nightjar.duckdb",
        "SELECT * EXCLUDE (release_id) FROM newest_scores ORDER BY user_key",
    )
    assert after == before


@pytest.mark.slow
def test_the_next_night_computes_one_day_and_keeps_the_old_scores(home: Path, first) -> None:
    result = nightly(NIGHT + timedelta(days=1))
    stages = {r.stage: r for r in _receipts(home, result["run_id"])}
    assert {r.day for r in stages.values() if r.stage.startswith("clean_")} == {NIGHT}
    assert count(home, "SELECT count(DISTINCT as_of) FROM user_scores") == 2
    assert count(home, "SELECT min(as_of) = max(as_of) FROM newest_scores")
    released = Lake(home / "lake")
    assert len(released.files(USER_SCORES)) == 2


def _receipts(home: Path, run_id: str) -> Any:
    from flows.state.receipts import Receipts
    from flows.state.schema import open_database

    return Receipts(open_database(f"sqlite:///{home}/nightjar.db")).of_run(run_id)


def test_a_truncated_file_stops_the_night_and_changes_nothing(home: Path, first) -> None:
    raw = home.parent / "cut"
    shutil.copytree(home.parent / "raw", raw)
    path = raw / "orders/2025-03-03.csv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    before = {t.name: Lake(home / "lake").snapshot(t) for t in (USER_FEATURES, USER_SCORES)}
    current = Releases(open_database(f"sqlite:///{home}/nightjar.db")).current()
    assert current is not None
    with pytest.raises(ContractError) as error:
        nightly(NIGHT, raw=raw)
    assert str(error.value) == (
        "source orders cannot be landed:\n  orders/2025-03-03.csv.gz: the gzip stream is truncated"
    )
    assert before == {t.name: Lake(home / "lake").snapshot(t) for t in (USER_FEATURES, USER_SCORES)}
    assert f"Published: release {first['release_id']}" in Path(first["report"]).read_text()
    failed = (home / f"reports/{NIGHT}-failed.html").read_text()
    again = shlex.join(["nightjar", "run", "--as-of", str(NIGHT), "--raw", str(raw)])
    for part in (
        f"Failed: the night of {NIGHT} has published nothing; analysts go on seeing release "
        f"{current.release_id} as of {current.as_of}.",
        f"then run <code>{escape(again)}</code> again: what is finished is kept",
        "orders/2025-03-03.csv.gz: the gzip stream is truncated",
    ):
        assert part in failed


def test_a_missing_day_stops_where_the_mapping_says_so(home: Path, first) -> None:
    raw = home.parent / "gap"
    shutil.copytree(home.parent / "raw", raw)
    for kind in ("orders", "users"):
        (raw / f"{kind}/2025-03-03.csv.gz").unlink()
    with pytest.raises(ContractError) as error:
        nightly(NIGHT, raw=raw)
    assert str(error.value) == (
        "raw files are missing:\n  orders: no file for 1 day: 2025-03-03; if such days are normal, "
        'say missing = "empty" in the mapping'
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": "no.toml"}, "no.toml: no such mapping"),
        ({"raw": "nowhere"}, "nowhere: no such folder of raw files"),
        (
            {"as_of": START},
            "raw files are missing:\n  engagements: its first file landed on 2025-01-01, "
            "not before 2025-01-01",
        ),
    ],
)
def test_parameters_are_checked_before_anything_starts(home, given, message) -> None:
    with pytest.raises(ContractError) as error:
        nightly(**{"as_of": NIGHT, **given})
    assert str(error.value).startswith(message)


def test_without_a_key_a_run_stops_and_says_how_to_make_one(home: Path, monkeypatch) -> None:
    monkeypatch.delenv("NIGHTJAR_KEY")
    with pytest.raises(UsageError, match="nightjar new-key nightjar.key"):
        nightly(NIGHT)


def test_the_command_reads_the_release(home: Path, first) -> None:
    from typer.testing import CliRunner

    runner = CliRunner()
    shown = runner.invoke(app, ["sql", "SELECT 41 + 1 AS n", "--format", "csv"])
    assert shown.stdout.replace("\r", "") == "n\n42\n"
    shown = runner.invoke(app, ["sql", "SELECT 1 AS a, NULL AS b", "--format", "json"])
    assert shown.stdout == '[\n {\n  "a": 1,\n  "b": null\n }\n]\n'
    assert "user_scores" in runner.invoke(app, ["tables"]).stdout
    assert "label_churn_28d" in runner.invoke(app, ["describe", "labels"]).stdout
    assert first["release_id"][:8] in runner.invoke(app, ["releases"]).stdout
    assert os.environ["NIGHTJAR_HOME"] == str(home)


HISTORY = """
[sources.posts]
files = "posts.csv"
format = "csv"
columns = ["id", "user", "time"]
landed_on = "to_date(time)"
[sources.posts.tables.posts]
post_id = "id"
user_id = "user"
occurred_at = "time"
"""


def test_where_a_model_needs_approval_a_night_goes_on_with_the_champion_and_tells_somebody(
    home: Path, first, monkeypatch
) -> None:
    raised: list[str] = []
    monkeypatch.setattr(steps, "alert", lambda event, message, **about: raised.append(message))
    monkeypatch.setattr(steps, "say", lambda line: None)  # there is no run to say it in
    later = Run(read_settings(), NIGHT + timedelta(days=2))
    champion = Releases(later.engine).champion(later.as_of)
    asks = {"model_id": "challenger", "gate": {"decision": "ask", "reasons": ["a is worse"]}}
    assert champion is not None
    assert steps.gate.fn(later, asks) == champion
    assert raised == [
        f"champion {champion} stays until a person approves: a is worse\n"
        "To approve it: nightjar run --as-of 2025-05-15 --accept challenger"
    ]
    with pytest.raises(UsageError, match="accept: the night has trained model .*, not challenger"):
        nightly(NIGHT, accept="challenger")
    warned: list[tuple[str, str]] = []
    monkeypatch.setattr(steps, "warn", lambda problem, event: warned.append((problem, event)))
    gate = {"champion_withheld": {"churn_28d": "it loses to the constant"}}
    unfit = asks | {"champion": champion, "gate": asks["gate"] | gate}
    assert steps.gate.fn(later, unfit) == champion
    assert warned == [
        (
            f"champion {champion} is not fit for all that it published, and these scores are not "
            "published any more: churn_28d: it loses to the constant",
            "nightjar.alert.task-withheld",
        )
    ]
    gating.accept(later.engine, asks, "challenger")
    assert steps.gate.fn(later, unfit) == "challenger"
    assert (len(raised), len(warned)) == (2, 1)


def test_one_file_with_all_history_is_split_into_days(home: Path, tmp_path: Path) -> None:
    """Landed again, it changes the days that changed, and empties those that it lost."""
    (tmp_path / "m.toml").write_text(HISTORY)
    lines = [f"p{i},u{i % 3},2025-01-0{1 + i // 4}T10:00:00" for i in range(20)]

    def night(rows: list[str]) -> tuple[Run, StageReport]:
        (tmp_path / "posts.csv").write_text("\n".join(["id,user,time", *rows]) + "\n")
        settings = read_settings(home=tmp_path / "home", source=tmp_path / "m.toml", raw=tmp_path)
        run = Run(settings, date(2025, 2, 1))
        run.look_at_files()
        return run, spark_stages.land(run, run.mapping.sources[0], print)

    def digests(run: Run) -> dict[date, Any]:
        return run.fingerprints.digests("land_posts", "landed")

    first, _ = night(lines)
    assert len(first.days.landed_days) == 5
    assert night(lines)[1].recomputed == 0
    again, _ = night(lines[:15])  # day 4 lost a line, day 5 all of its lines
    assert len(again.days.landed_days) == 4
    kept = {day for day, digest in digests(again).items() if digests(first).get(day) == digest}
    assert kept == {date(2025, 1, n) for n in (1, 2, 3)}
    assert sum(f.rows for f in again.lake.files(LANDED)) == 15
