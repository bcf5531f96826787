"""The gate: which model is published, and with which tasks."""

from __future__ import annotations

from models.gate import Comparison, Rank, decide, decide_first

BETTER, WORSE = Comparison(900, 0.4, 0.5, -0.3, -0.1), Comparison(900, 0.6, 0.5, 0.1, 0.3)


LOSES = Comparison(900, 0.505, 0.5, -0.01, 0.03)


UPSIDE_DOWN, GOOD = Rank(0.445, 0.41, 0.48), Rank(0.7, 0.65, 0.75)


def test_a_first_model_is_published_with_those_tasks_that_are_fit() -> None:
    ranks = {"a": GOOD, "b": GOOD, "c": UPSIDE_DOWN, "d": Rank(0.48, 0.44, 0.52)}
    verdict = decide_first({"a": BETTER, "b": LOSES, "c": BETTER, "d": BETTER}, ranks)
    assert verdict.decision == "promote"
    assert verdict.withheld == {
        "b": "it loses to the constant: loss +1.0% (-1.0% to +3.0%)",
        "c": "it ranks users worse than chance: AUC 0.445 (0.410 to 0.480)",
    }
    assert verdict.reasons == (
        "there is no champion yet",
        "2 of 4 tasks are fit to be published",
        *(f"{name} is not published: {why}" for name, why in verdict.withheld.items()),
    )


def test_a_first_model_without_a_task_that_is_fit_is_none() -> None:
    verdict = decide_first({"a": LOSES}, {})
    assert verdict.decision == "stop"
    assert verdict.reasons[0] == "no task is fit to be published"
    assert decide_first({}, {}).decision == "stop"


def test_a_task_that_is_not_fit_is_not_published_whoever_wins() -> None:
    constant = {"a": BETTER, "b": LOSES, "c": WORSE}
    told = decide({"a": BETTER}, 0.01, 200, constant, {"a": GOOD}, ["a", "b"])
    assert told.decision == "promote"  # that b loses may be chance
    assert set(told.withheld) == {"b", "c"}
    asks = decide({"a": BETTER}, 0.01, 200, constant, {}, ["a", "c"])
    assert asks.decision == "ask"
    assert asks.reasons[1] == (
        "c would no longer be published: it loses to the constant: loss +20.0% (+10.0% to +30.0%)"
    )
    ranked = decide({"a": BETTER}, 0.01, 200, {"a": BETTER}, {"a": UPSIDE_DOWN}, ["a"])
    assert (ranked.decision, set(ranked.withheld)) == ("keep", {"a"})


def test_a_challenger_that_is_worse_somewhere_is_kept_out_or_asked_about() -> None:
    assert decide({"a": BETTER}, 0.01, 200).decision == "promote"
    asks = decide({"a": BETTER, "b": WORSE, "c": BETTER}, 0.01, 200)
    assert asks.decision == "ask"
    assert asks.reasons[1] == "b is worse: loss +20.0% (+10.0% to +30.0%)"
    assert decide({"b": WORSE}, 0.01, 200).decision == "keep"
    few = decide({"a": Comparison(10, 0.1, 0.5, -0.9, -0.8)}, 0.01, 200)
    assert few.decision == "keep"
    assert few.reasons[0].startswith("no task has 200 test rows")
