"""Tasks that are not fit to be published: what scores, page and alert say of them, and how a night ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.specs import ScoreDay
from contracts.tables import NO_MODEL
from contracts.tasks import TASKS
from flows.engine.accounting import Work
from flows.engine.alerts import NOT_TRACKED
from flows.engine.run_context import RunContext
from flows.learning.fingerprints import score_fingerprint
from flows.release.duckdb_views import query
from flows.state.receipts import Fingerprint
from flows.steps import publish, scoring, tasks
from flows.steps.candidate import Candidate, write_table
from flows.steps.process_stages import update_for
from tests.flows.steps.simulated_scores import (
    FIRST,
    SETS,
    USERS,
    NightOf,
    SimulatedNight,
    statuses,
    trained,
)


@pytest.fixture
def days_to_score(night_of: NightOf, monkeypatch: pytest.MonkeyPatch) -> list[ScoreDay]:
    """The days that scoring is asked for. It answers with model `m1`, which itself withholds
    `churn_28d`, or as `unfit` every task."""
    days: list[ScoreDay] = []
    settings = night_of(0, SETS[-1]).settings

    def run_models(spec: Any, folder: Path, say: Any, weights_key: Any) -> dict[str, Any]:
        (day,) = spec.days
        days.append(day)
        night = SimulatedNight(settings, day.as_of, "made-scores")
        known = [t for t in TASKS if t.name in ("purchase_7d", "churn_28d", "view_7d")]
        own = {"m1": ["churn_28d"], "unfit": [t.name for t in known]}.get(day.model, [])
        held = dict(day.withheld) | dict.fromkeys(own, "it loses to the constant")
        by_rate = day.failed_tasks == "base_rate"
        rates = [t for t in known if t.name in held and by_rate]
        learnt = [t for t in known if t.name not in held and day.model is not None]
        path = night.write_scores(learnt, rates).files[0]
        scored = {"tasks": [t.name for t in learnt], "base_rates": [t.name for t in rates]}
        about = {"rows": len(USERS), "path": path, "paths": [path], "model_id": day.model}
        return {"days": [about | scored | {"withheld": held if day.model else {}}]}

    monkeypatch.setattr(scoring, "run_models", run_models)
    return days


def gated(night: SimulatedNight, report: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The night from its gate to its end: what scoring said, and what is shown."""
    night.commit_data()
    fingerprint = Fingerprint("code", "config", "inputs")
    night.note(
        Work("train", {night.as_of: fingerprint}, 1, 1, 0.1, 1), {night.as_of: report}, print
    )
    update = update_for(night.days, "score", {"score": [night.as_of]}, tasks.gate.fn(night, report))
    scores = write_table.fn(night, update, scoring.SCORING)
    candidate, scored = Candidate((scores,)), dict(scores.outputs)
    audited = publish.audit.fn(night, candidate, [night.as_of])
    release = publish.publish.fn(night, candidate, [night.as_of])
    return scored, tasks.report.fn(night, report, scored, audited, release)


def judging(context: RunContext, failed_tasks: Any) -> RunContext:
    """The same, where what is published of tasks that failed is set so."""
    settings = context.settings.model_copy(update={"failed_tasks": failed_tasks})
    return replace(context, settings=settings)


def fingerprint_of(night: SimulatedNight) -> Fingerprint:
    return score_fingerprint(night.context, night.state, "m1", FIRST)


def methods(night: SimulatedNight) -> dict[str, Any]:
    """Where analysts read that the newest scores come from."""
    names = ("purchase_7d", "churn_28d", "view_7d")
    columns = ", ".join(f"any_value(method_{n}), count(score_{n}{_SUFFIX[n]})" for n in names)
    row = query(night.settings.home_folder.analysts_file, f"SELECT {columns} FROM newest_scores")
    return {n: row[1][0][2 * i : 2 * i + 2] for i, n in enumerate(names)}


_SUFFIX = {"purchase_7d": "", "churn_28d": "", "view_7d": "_expected"}


@pytest.mark.parametrize("how", ["null", "base_rate"])
def test_a_task_that_is_not_fit_is_said_in_table_and_report(
    tmp_path: Path, night_of: NightOf, said: list[str], days_to_score, how: Any
) -> None:
    """The model's own, and one that the next night finds while it keeps the champion."""
    by_name = {task.name: task for task in TASKS}
    learnt = [by_name[name] for name in ("purchase_7d", "churn_28d", "view_7d")]
    instead = "; its base rate stands in" if how == "base_rate" else ""
    nothing: tuple[Any, int] = ("base rate", 3) if how == "base_rate" else (None, 0)
    lines = [
        f"its scores are not fit to be published: it loses to the constant{instead}",
        f"its scores are not fit to be published: it ranks worse, as of 2025-03-02{instead}",
    ]

    first = night_of(0, SETS[-1])
    first.context = judging(first.context, how)
    scored, done = gated(first, trained(tmp_path, learnt, ()))
    assert (days_to_score[0].withheld, scored["tasks"]) == ({}, ["purchase_7d", "view_7d"])
    assert methods(first) == {
        "purchase_7d": ("model", 3), "churn_28d": nothing, "view_7d": ("model", 3),
    }  # fmt: skip
    page = done["report"].read_text()
    assert "<summary>1 task is off</summary>" in page
    assert f"<li>churn_28d: {lines[0]}</li>" in page
    assert done["switched_off"]["churn_28d"] == lines[0]
    assert "<li>purchase_7d: " not in page
    assert "<li>3 users, as of 2025-03-01</li>" in page
    assert "<li>2 tasks by model m1</li>" in page
    more = "<li>everybody's base rate for 1 task more</li>"
    assert (more.replace("'", "&#39;") in page) == (how == "base_rate")

    later = night_of(1, SETS[-1])
    later.context = judging(later.context, how)
    verdict = {"decision": "keep", "against": "the champion", "reasons": ["it is no better"]}
    verdict["champion_withheld"] = {"purchase_7d": "it ranks worse"}
    report = trained(tmp_path, learnt, ()) | {"model_id": "m2", "champion": "m1", "gate": verdict}
    scored, done = gated(later, report)
    held = {"purchase_7d": "it ranks worse, as of 2025-03-02"}
    assert (days_to_score[1].withheld, scored["tasks"]) == (held, ["view_7d"])
    assert methods(later) == {
        "purchase_7d": nothing, "churn_28d": nothing, "view_7d": ("model", 3),
    }  # fmt: skip
    page = done["report"].read_text()
    for name, line in zip(("churn_28d", "purchase_7d"), lines, strict=True):
        assert f"<li>{name}: {line}</li>" in page
        assert done["switched_off"][name] == line
    assert (
        "nightjar.alert.task-withheld: champion m1 is not fit for all that it published, and these "
        "scores are not published any more: purchase_7d: it ranks worse"
    ) in said
    assert fingerprint_of(later) != fingerprint_of(first)


@pytest.mark.parametrize("how", ["null", "base_rate"])
def test_a_night_from_a_gate_that_says_stop_ends(
    tmp_path: Path, night_of: NightOf, said: list[str], days_to_score, how: Any
) -> None:
    night = night_of(0, SETS[-1])
    night.context = judging(night.context, how)
    learnt = [t for t in TASKS if t.name in ("purchase_7d", "churn_28d", "view_7d")]
    verdict = {"decision": "stop", "against": "the constant", "reasons": ["no task is fit"]}
    report = trained(tmp_path, learnt, ()) | {"model_id": "unfit", "gate": verdict}
    scored, done = gated(night, report)
    assert scored["tasks"] == []
    page = done["report"].read_text()
    if how == "null":
        assert set(methods(night).values()) == {(None, 0)}
        assert "gate: nobody is scored, for there is no model: no task is fit" in said
        assert "<li>Nobody is scored: 3 users in the release without a score</li>" in page
    else:
        assert set(methods(night).values()) == {("base rate", 3)}
        assert "gate: only base rates of model unfit are published: no task is fit" in said
        assert (
            "<li>Nobody is scored: 3 users have everybody&#39;s base rate for 3 tasks, from model "
            "unfit</li>"
        ) in page
        why = "its scores are not fit to be published: it loses to the constant"
        assert f"<li>churn_28d: {why}; its base rate stands in</li>" in page
    paths = ["/", f"/users/{USERS[0]}", "/tasks/churn_28d", "/tasks/view_7d"]
    assert statuses(night, paths) == dict.fromkeys(paths, 200)


def test_a_model_that_was_judged_alone_beside_a_champion_is_an_alert(monkeypatch) -> None:
    alerts = []
    monkeypatch.setattr(tasks, "warn", lambda sentence, event: alerts.append((sentence, event)))
    tasks.warn_if_judged_alone({})
    tasks.warn_if_judged_alone({"champion_error": "the champion could not be compared with: why"})
    sentence = "tonight's model was judged alone: the champion could not be compared with: why"
    assert alerts == [(sentence, NOT_TRACKED)]


def test_a_task_that_only_the_model_not_in_use_was_trained_for_is_said_to_have_no_score() -> None:
    report = {
        "tasks": {"churn_28d": {}, "view_7d": {}, "like_7d": {}},
        "skipped": {"purchase_7d": "55 labels in train; min_rows is 100"},
    }
    scored = {"model_id": "m1", "tasks": ["view_7d"], "withheld": {"like_7d": "it is worse"}}
    assert tasks.unscored(report, scored) == {
        "purchase_7d": "55 labels in train; min_rows is 100",
        "churn_28d": "model m1, which scores, was not trained for it",
        "like_7d": "its scores are not fit to be published: it is worse",
    }
    nobody = {"model_id": NO_MODEL, "tasks": [], "withheld": {}}
    unfit = {"like_7d": "it loses to the constant"}
    assert tasks.unscored(report | {"gate": {"withheld": unfit}}, nobody) == {
        **report["skipped"],
        **unfit,
    }
