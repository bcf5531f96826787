"""The gate: which model is published, and with which tasks."""

from __future__ import annotations

import math

import pytest

from models.evaluation.gate import (
    Comparison,
    Evidence,
    Rank,
    decide,
    decide_first,
    decide_next,
    relative_change,
)

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
        "there was no champion to compare with",
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
    verdict = decide({"a": BETTER}, 0.01, 200, constant, {"a": GOOD}, ["a", "b"])
    assert verdict.decision == "promote"  # that b loses may be chance
    assert set(verdict.withheld) == {"b", "c"}
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


def test_the_champion_is_judged_again_by_the_same_rule() -> None:
    """Of its tasks a, b and c it is fit for a alone; that the challenger is worse than it for b,
    and not fit for c either, says nothing against the challenger."""
    champion = Evidence({"a": BETTER, "b": LOSES, "c": BETTER}, {"c": UPSIDE_DOWN})
    challenger = Evidence({"a": BETTER, "b": BETTER, "c": WORSE}, {"a": GOOD})
    unfit = {
        "b": "it loses to the constant: loss +1.0% (-1.0% to +3.0%)",
        "c": "it ranks users worse than chance: AUC 0.445 (0.410 to 0.480)",
    }
    reasons = tuple(
        f"the champion's {n} is not published any more: {why}" for n, why in unfit.items()
    )
    against = {"a": BETTER, "b": WORSE, "c": WORSE}
    better = decide_next(challenger, champion, against, "abc", 0.01, 200)
    assert (better.decision, better.champion_withheld) == ("promote", unfit)
    assert better.reasons == (
        "mean loss against the champion -20.00% over 1 task",
        "c is not published: it loses to the constant: loss +20.0% (+10.0% to +30.0%)",
        *reasons,
    )
    worse = decide_next(challenger, champion, against | {"a": WORSE}, "abc", 0.01, 200)
    assert (worse.decision, worse.champion_withheld) == ("keep", unfit)
    assert worse.reasons[-2:] == reasons


def test_a_champion_that_is_fit_for_nothing_is_none() -> None:
    champion = Evidence({"a": LOSES}, {})
    verdict = decide_next(Evidence({"a": BETTER}, {}), champion, {"a": WORSE}, "a", 0.01, 200)
    assert (verdict.decision, set(verdict.champion_withheld)) == ("promote", {"a"})
    assert verdict.reasons[:2] == (
        "no task of the champion is fit to be published",
        "1 of 1 task is fit to be published",
    )
    neither = decide_next(Evidence({"a": LOSES}, {}), champion, {"a": BETTER}, "a", 0.01, 200)
    assert (neither.decision, set(neither.champion_withheld)) == ("stop", {"a"})
    nothing = decide_next(Evidence({"a": BETTER}, {}), Evidence(), {}, "", 0.01, 200)
    assert (nothing.decision, nothing.champion_withheld) == ("promote", {})


def test_what_the_champion_cannot_be_judged_of_stands() -> None:
    """The test days of b are some that the champion has seen."""
    champion = Evidence({"a": LOSES}, {})
    challenger = Evidence({"a": BETTER, "b": WORSE}, {})
    verdict = decide_next(challenger, champion, {"a": BETTER}, "ab", 0.01, 200)
    assert (verdict.decision, set(verdict.champion_withheld)) == ("keep", {"a"})
    assert verdict.reasons[0] == (
        "no task has 200 test rows later than every day that either model used"
    )


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_worse_than_any_and_never_promoted(loss: float) -> None:
    """Whatever its interval says: that is of the resamples in which it happens not to occur."""
    for broken in (
        Comparison(900, loss, 0.5, -0.3, -0.1),
        Comparison(900, loss, 0.5, math.nan, math.nan),
    ):
        first = decide_first({"a": BETTER, "b": broken}, {"b": GOOD})
        assert first.withheld == {"b": "it loses to the constant: loss is not a finite number"}
        assert decide_first({"b": broken}, {}).decision == "stop"
        alone = decide({"b": broken}, 0.01, 200)
        assert alone.decision == "keep"
        assert alone.reasons == (
            "mean loss against the champion is not a finite number over 1 task",
            "b is worse: loss is not a finite number",
        )
        among = decide({"a": BETTER, "b": broken}, 0.01, 200, {"a": BETTER, "b": broken}, {})
        assert (among.decision, set(among.withheld)) == ("keep", {"b"})
        published = decide({"a": BETTER}, 0.01, 200, {"a": BETTER, "b": broken}, {}, ["a", "b"])
        assert published.decision == "ask"
        assert published.reasons[1] == (
            "b would no longer be published: it loses to the constant: loss is not a finite number"
        )
    other = Comparison(900, 0.5, loss, math.nan, math.nan)
    assert decide({"a": other}, 0.01, 200).decision == "promote"  # the champion's is the broken one


def test_changes_that_cancel_out_to_no_number_promote_nothing() -> None:
    """Of two tasks whose other loss is 0, one rose and one fell: their mean is no number."""
    zero = {"a": Comparison(900, 0.1, 0.0, -0.1, 0.1), "b": Comparison(900, -0.1, 0.0, -0.1, 0.1)}
    verdict = decide(zero, 0.2, 200)
    assert (verdict.decision, verdict.reasons) == (
        "keep", ("mean loss against the champion is not a finite number over 2 tasks",)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (0.6, 0.5, 0.2),
        (-0.3, -0.5, 0.4),  # a negative loss that rises is worse
        (-0.7, -0.5, -0.4),
        (0.1, 0.0, math.inf),
        (0.0, 0.0, 0.0),
        (math.nan, 0.5, math.inf),
        (math.nan, math.nan, math.inf),
        (0.5, math.inf, -1.0),
    ],
)
def test_a_loss_that_rises_is_worse_whatever_its_sign(ours, theirs, expected) -> None:
    assert relative_change(ours, theirs) == pytest.approx(expected)
