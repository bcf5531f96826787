"""What a night's page opens with."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from contracts.tables import NO_MODEL
from flows.learning.fingerprints import NO_TRAINING
from flows.monitor.drop_reasons import DropReason
from flows.release.changes import Changes
from flows.release.releases import Release
from flows.report import summary
from flows.report.cost import CLEANING, READING, TRAINING, Cost
from flows.report.outcome import Outcome, of_night
from flows.report.summary import Part, Summary

NIGHT, BEFORE = date(2025, 3, 2), date(2025, 3, 1)


def release(as_of: date, run_id: str = "tonight", model_id: str = "m1") -> Release:
    return Release(
        f"{as_of:%Y%m%d}-made",
        as_of,
        model_id,
        "f",
        {},
        run_id,
        datetime(2025, 3, 2, 1, tzinfo=UTC),
    )


def trained(**gate: Any) -> dict[str, Any]:
    given = {"decision": "promote", "reasons": ["no days"], "against": "the constant"}
    return {"model_id": "m1", "tasks": {}, "gate": given | {"comparisons": {}} | gate}


def outcome(
    of: Release, before: Release | None, report: dict[str, Any], nights: int = 7, n: int = 0
) -> Outcome:
    return of_night(NIGHT, "tonight", of, before, report, nights, n)


def test_a_night_that_published_says_which_release_and_which_it_replaces() -> None:
    assert outcome(release(NIGHT), release(BEFORE), trained()) == Outcome(
        "Published: release 20250302-made as of 2025-03-02. It replaces 20250301-made, as of "
        "2025-03-01.",
        "nothing to do",
    )


def test_where_something_asks_for_a_look_that_is_what_is_next() -> None:
    found = outcome(release(NIGHT), release(BEFORE), trained(), n=2)
    assert (found.next_step, found.is_good) == ("look at 2 points below", False)


def test_a_first_night_and_one_without_seven_before_it_say_so() -> None:
    first = outcome(release(NIGHT), None, trained(), nights=0)
    assert first.headline == (
        "Published: release 20250302-made as of 2025-03-02. It is the first of this home. There is "
        "no night before to compare it with."
    )
    second = outcome(release(NIGHT), release(BEFORE), trained(), nights=1)
    assert second.headline.endswith(" Only 1 night before to compare it with.")


def test_a_night_that_changed_nothing_published_nothing_new() -> None:
    assert outcome(release(NIGHT, "of before"), release(BEFORE), trained()) == Outcome(
        "Nothing new was published: nothing had changed since release 20250302-made of 2025-03-02 "
        "01:00 UTC, which analysts go on seeing.",
        "nothing to do; what is new must first arrive as raw files, a setting or a mapping",
    )


def test_a_night_without_a_model_says_why_nobody_is_scored() -> None:
    found = outcome(release(NIGHT, model_id=NO_MODEL), None, trained(decision="stop"))
    assert found == Outcome(
        "Published without scores: release 20250302-made as of 2025-03-02 has features and labels, "
        "and nobody is scored, for no days. It is the first of this home.",
        "more days of logs help; the tasks below say what each lacks",
        is_good=False,
    )


def test_a_night_that_was_not_to_train_says_how_there_would_be_scores() -> None:
    gate = trained(decision="stop", reasons=[NO_TRAINING])
    found = outcome(release(NIGHT, model_id=NO_MODEL), None, gate)
    assert found.headline.startswith(
        "Published without scores: release 20250302-made as of 2025-03-02 has features and labels, "
        "and nobody is scored, for nothing was trained: no_train is set."
    )
    assert found.next_step == (
        "run it again without `no_train` for scores, once the logs reach back far enough"
    )


def test_a_night_of_an_earlier_day_leaves_the_newest_day_as_it_was() -> None:
    found = outcome(release(date(2025, 3, 9)), release(BEFORE), trained())
    assert found.headline == (
        "Published: release 20250309-made adds 2025-03-02; the newest day that analysts see stays "
        "2025-03-09. It replaces 20250301-made, as of 2025-03-01."
    )


def test_where_a_model_needs_approval_the_command_that_gives_it_is_next() -> None:
    asks = trained(decision="ask") | {"model_id": "m2"}
    assert outcome(release(NIGHT), release(BEFORE), asks) == Outcome(
        "Published: release 20250302-made as of 2025-03-02. It replaces 20250301-made, as of "
        "2025-03-01. Tonight's model waits for approval; model m1 went on scoring.",
        "`nightjar run --as-of 2025-03-02 --accept m2` approves it",
        is_good=False,
    )


def test_who_is_scored_and_who_has_a_base_rate() -> None:
    assert summary.users(1200, ["churn_28d"], ["spend_30d"], 2, NIGHT, "m1").lines == (
        "1,200 users, as of 2025-03-02",
        "1 task by model m1",
        "everybody's base rate for 1 task more",
        "2 tasks are off",
    )
    nobody = summary.users(3, [], [], 0, NIGHT, NO_MODEL)
    assert nobody.lines == ("Nobody is scored: 3 users in the release without a score",)
    assert nobody.needs_a_look
    rates = summary.users(3, [], ["churn_28d", "spend_30d"], 0, NIGHT, "m1")
    assert rates.lines == (
        "Nobody is scored: 3 users have everybody's base rate for 2 tasks, from model m1",
    )


def test_analysts_are_told_what_came_what_went_and_how_many_rows() -> None:
    changes = Changes(
        "20250301-made",
        BEFORE,
        columns_added=("user_features.n_views_1d",),
        columns_gone=("labels.label_old",),
        tasks_added=("churn_28d",),
        tasks_withheld=("spend_30d",),
        redefined=("user_features",),
        rows={"labels": (10, 10), "user_features": (0, 7), "user_scores": (100, 98)},
    )
    part = summary.for_analysts(changes)
    assert part.title == "New for analysts since 2025-03-01"
    assert part.lines == (
        "columns added: user_features.n_views_1d",
        "columns gone: labels.label_old",
        "tasks newly published: churn_28d",
        "tasks withheld now: spend_30d",
        "computed by other code: user_features",
        "rows: user_scores -2, user_features +7",
    )
    assert part.needs_a_look  # a query that reads labels.label_old breaks


def test_a_release_that_only_has_newer_rows_needs_no_look() -> None:
    part = summary.for_analysts(Changes("r", BEFORE, rows={"user_scores": (1, 2)}))
    assert part.lines == ("Same tables, columns, tasks and definitions", "rows: user_scores +1")
    assert not part.needs_a_look
    unknown = summary.for_analysts(Changes("r", BEFORE, not_known=("tasks", "definitions")))
    assert unknown.lines == (
        "Same tables",
        "not known of the release before: its tasks and definitions",
        "rows of the release before are not kept, so not compared",
    )
    assert summary.for_analysts(None).lines == ("The first release: all of it is new",)


def test_a_night_that_published_nothing_new_changes_nothing_for_analysts() -> None:
    assert summary.nothing_new(release(NIGHT, "of before")) == Part(
        "New for analysts", ("Nothing since release 20250302-made, as of 2025-03-02",), "changes"
    )


def test_tasks_are_counted_beside_champion_constant_and_twin_with_their_names() -> None:
    def gain(low: float, high: float) -> dict[str, Any]:
        return {"gain_over_twin": {"gain": 0.0, "low": low, "high": high}}

    report = trained(
        against="the champion",
        comparisons={
            "a": {"low": -0.2, "high": -0.1},  # a loss: below the champion's is better
            "b": {"low": 0.1, "high": 0.2},
            "c": {"low": -0.1, "high": 0.1},
        },
        withheld={"c": "it loses to the constant"},
    ) | {"tasks": {"a": gain(0.1, 0.2), "b": gain(-0.2, -0.1), "c": gain(-1.0, 1.0)}}
    part = summary.tasks(report, "m1")
    assert part.lines == (
        "beside the champion: 1 better (a), 1 worse (b), 1 alike",
        "better than the constant and than chance: 2 of 3, not c",
        "beside LightGBM: 1 ahead (a), 1 behind (b), 1 alike",
    )
    assert summary.tasks(report, "m0").lines[0] == "tonight's model is not in use (gate: promote)"
    assert summary.tasks(trained(), "m0").lines == ("Nothing was trained tonight; model m0 scores",)


def test_alerts_come_before_findings_and_long_ones_are_cut() -> None:
    part = summary.alerts(["churn is off\nTo approve it: …"], [*"abcd", "word " * 40])
    assert part.lines == ("1 alert, 5 findings", "churn is off", "a", "b", "c", "and 2 more below")
    assert summary.alerts([], ["a"]).lines == ("no alert, 1 finding", "a")
    assert summary.alerts([], ["word " * 40]).lines[1] == "word " * 24 + "word …"
    assert not summary.alerts([], []).needs_a_look


def dropped_for(reason: str, tonight: int, shares: tuple[float, ...]) -> DropReason:
    return DropReason("shop", "orders", reason, tonight, 1000, shares, 99, "", NIGHT)


@pytest.mark.parametrize(
    ("tonight", "shares", "is_beyond"),
    [
        (19, (0.0, 0.01, 0.002), False),  # at most 10 of 1,000 before: chance goes up to 19
        (20, (0.0, 0.01, 0.002), True),
        (3, (0.0, 0.0, 0.0), False),  # a new reason of three rows is no news
        (4, (0.0, 0.0, 0.0), True),
        (500, (0.0, 0.0), False),  # two days do not say what is usual
    ],
)
def test_a_reason_is_beyond_the_usual_by_more_than_chance(
    tonight: int, shares: tuple[float, ...], is_beyond: bool
) -> None:
    assert dropped_for("price: no number", tonight, shares).is_beyond_usual == is_beyond


def test_what_was_dropped_beyond_the_usual_is_named_with_both_counts() -> None:
    usual = dropped_for("user_id: missing", 5, (0.004, 0.005, 0.006))
    jump = dropped_for("price: no number", 200, (0.001, 0.002, 0.003))
    part = summary.dropped([jump, usual])
    assert part.lines == (
        "205 rows dropped tonight, for 2 reasons",
        "orders, price: no number: 200, usually 2",
    )
    assert part.needs_a_look
    assert summary.dropped([usual]).lines[1] == "None of it beyond the usual"
    assert summary.dropped([]).lines == ("No row was dropped tonight",)


def test_on_a_first_night_nobody_knows_what_is_usual() -> None:
    assert summary.dropped([dropped_for("price: no number", 7, ())]).lines == (
        "7 rows dropped tonight, for 1 reason",
        "What is usual is known after 3 days",
        "most often orders, price: no number: 7",
    )


def test_time_stands_beside_the_median_of_the_nights_before() -> None:
    tonight = Cost(NIGHT, 100.0, {READING: 5.0, CLEANING: 30.0, TRAINING: 60.0})
    before = [Cost(BEFORE, n, {TRAINING: n / 2}) for n in (50.0, 80.0, 900.0)]
    part = summary.time(tonight, before, 20_000)
    assert part.title == "Time, beside 3 nights before"
    assert part.lines == (
        "in all 100 s, usually 80 s, 200 rows read per second",
        "reading raw files 5 s, usually none",
        "cleaning 30 s, usually none",
        "training 60 s, usually 40 s",
    )
    reused = summary.time(Cost(NIGHT, 9.0, {CLEANING: 9.0}), before, 20_000)
    assert reused.lines[1:] == ("cleaning 9 s, usually none", "training reused, usually 40 s")
    assert summary.time(Cost(NIGHT, 9.0, {}), [], 20_000).lines == ("in all 9 s",)  # all reused


def test_of_steps_side_by_side_the_time_says_that_each_counts() -> None:
    cost = Cost(NIGHT, 30.0, {READING: 20.0, CLEANING: 15.0})
    assert summary.time(cost, [], 60).lines == (
        "in all 30 s, 2 rows read per second; steps ran side by side, and count each",
        "reading raw files 20 s",
        "cleaning 15 s",
    )


def test_a_terminal_has_a_line_for_each_part() -> None:
    shown = Summary(Outcome("Published.", "nothing to do"), (Part("Time", ("a.", "b"), "time"),))
    assert shown.lines == ("Published.", "Next: nothing to do.", "Time: a; b")
