"""Whatever tables somebody maps, a night ends: audit, publish, page, pages, terminal."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.clean_tables import CLEAN_TABLES
from contracts.tables import (
    NO_MODEL,
    QUARANTINE,
    RECONCILIATION,
    USER_FEATURES,
    USER_SCORES,
)
from contracts.tasks import enabled_tasks
from contracts.training import untrained
from flows.release import duckdb_views
from flows.release.audit import raise_if_failed
from flows.release.releases import Release, now
from flows.release.score_audits import audit_scores
from flows.steps import tasks
from tests.flows.steps.simulated_scores import (
    FIRST,
    SETS,
    USERS,
    NightOf,
    check_shown,
    end,
    finish_nights,
    outcome_of,
    sets_by_outcome,
    show_files,
    statuses,
    trained,
    trained_tasks,
    whole,
)


def test_what_follows_from_the_511_sets_of_tables_is_64_things(night_of: NightOf) -> None:
    """Whether users, posts and follows are mapped changes no task and no reason: only counts."""
    known = sets_by_outcome()
    assert (len(SETS), len(known)) == (511, 64)
    assert sum(map(len, known.values())) == 511
    assert {f.tasks for f in known} == {
        tuple(task.name for task in enabled_tasks(whole(tables))) for tables in SETS
    }
    for like, sets in known.items():
        told_apart = {tables - {"users", "posts", "follows"} for tables in sets}
        assert len(told_apart) == 1
        for tables in sets:
            assert outcome_of(night_of(0, tables)) == like, sorted(tables)


@pytest.mark.parametrize("n_things", [8, pytest.param(64, marks=pytest.mark.slow)])
def test_whatever_is_mapped_can_be_shown(
    tmp_path: Path, night_of: NightOf, monkeypatch, said: list[str], n_things: int
) -> None:
    """Audit, page with its findings, and terminal, for a set of each of the 64 things that follow,
    or of some of them."""
    monkeypatch.setattr(
        duckdb_views, "_comment", lambda *arguments: None
    )  # takes longer than all the rest
    night_of(0, SETS[-1]).commit_data()
    features = night_of(0, SETS[-1]).write_features()
    chosen = random.Random(5).sample(list(sets_by_outcome().values()), n_things)
    for n, sets in enumerate(chosen):
        night = night_of(0, random.Random(n).choice(sets))
        learnt = trained_tasks(night, n)
        scores = night.write_scores(learnt)
        counts, dropped = (
            night.write(table, rows)
            for table, rows in ((RECONCILIATION, night.counts()), (QUARANTINE, night.dropped()))
        )
        files = {USER_SCORES: scores, USER_FEATURES: features, RECONCILIATION: counts}
        show_files(night, files | {QUARANTINE: dropped})
        names = [task.name for task in learnt]
        audited = audit_scores(scores.files, features.files, FIRST, names)
        raise_if_failed(audited)
        done = tasks.report.fn(
            night,
            trained(tmp_path, learnt, [task for task in night.context.tasks if task not in learnt]),
            {"model_id": "m1", "tasks": names, "rows": len(USERS)},
            audited,
            Release("made", FIRST, "m1", "f", {}, "run", now()),
        )
        check_shown(night, done, learnt)


@pytest.mark.slow
def test_whatever_is_mapped_ends_a_night(
    tmp_path: Path, night_of: NightOf, monkeypatch, said: list[str]
) -> None:
    """With all that publishes, and the analysts' pages. Of the 64 things that may follow a sample
    of eight; `make bench-mappings` does it with all 511 sets."""
    chosen = random.Random(7).sample(list(sets_by_outcome().values()), 8)
    sets = [random.Random(n).choice(alike) for n, alike in enumerate(chosen)]
    finish_nights(tmp_path, night_of, monkeypatch, sets)


def test_a_night_without_a_model_can_be_shown(
    tmp_path: Path, night_of: NightOf, monkeypatch, said: list[str]
) -> None:
    night = night_of(0, frozenset({"items"}))
    scores, features = night.write_scores(()), night.write_features()
    said_of_ids = {"null_like_ids": ["item_id 3 ? unknown"]}
    counts = night.write(RECONCILIATION, [row | said_of_ids for row in night.counts()])
    files = {USER_SCORES: scores, USER_FEATURES: features, RECONCILIATION: counts}
    show_files(night, files)
    report = untrained(
        {task.name: "too few days" for task in night.context.tasks}, "no days", str(tmp_path)
    )
    scored = {"model_id": NO_MODEL, "tasks": [], "rows": len(USERS)}
    release = Release("made", FIRST, NO_MODEL, "f", {}, night.run_id, now())
    night.commit_data()
    done = tasks.report.fn(night, report, scored, (), release)
    check_shown(night, done, ())
    page = done["report"].read_text()
    assert "items from source_of_items: 3 rows have the item_id" in page
    assert (
        "<p><strong>Published without scores: release made as of 2025-03-01 has features and "
        "labels, and nobody is scored, for no days. It is the first of this home.</strong></p>"
    ) in page
    assert "<li>Nobody is scored: 3 users in the release without a score</li>" in page
    assert "Nothing was trained tonight." in page
    for line in (
        "products is off: no source for orders or reviews",
        "ads is off: no source for engagements",
        "posts is off: no source for posts, engagements",
        "people is off: no source for follows",
    ):
        assert f"<li>{line}</li>" in page
    assert statuses(night, ["/"]) == {"/": 200}
    again = tasks.report.fn(night, report, scored, (), replace(release, run_id="an earlier run"))
    assert "<li>Nothing since release made, as of 2025-03-01</li>" in again["report"].read_text()


@pytest.mark.slow
def test_tasks_may_come_and_go_from_release_to_release(
    tmp_path: Path, night_of: NightOf, said: list[str]
) -> None:
    """The same with all that publishes: each night is compared with the one before it."""
    every = frozenset(table.name for table in CLEAN_TABLES)
    for n, tables in enumerate(({"items"}, every, {"items", "reviews"})):
        night = night_of(n, frozenset(tables))
        if n:
            night.users = [f"{k:032x}" for k in range(60)]  # enough for drift to say something
        done = end(night, night.context.tasks, tmp_path)
        check_shown(night, done, night.context.tasks)
        page = done["report"].read_text()
        assert ('<details id="drift">' in page) == (n == 2)  # the first two are too few users
        assert (
            "is distributed differently" not in page
        )  # what is not scored any more has not drifted
        paths = ["/", f"/users/{USERS[0]}", "/tasks/interests_30d"]
        assert statuses(night, paths) == dict.fromkeys(paths, 200)
