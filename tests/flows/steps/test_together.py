from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import BusyError, ContractError, NightjarError
from flows.lifecycle.errors import ForeignError
from flows.steps import runner


class Ended:
    """A future that has ended."""

    def __init__(self, problem: Exception | None):
        self._problem = problem
        self._final_state = "Ended"

    def result(self) -> None:
        if self._problem is not None:
            raise self._problem


def test_all_sources_that_cannot_be_landed_are_named_not_the_first_alone() -> None:
    problems: list[Any] = [
        ContractError("source a cannot be landed:\n  a.csv: no column x; its header has y"),
        None,
        ContractError("source b cannot be landed:\n  b.csv: the gzip stream is truncated"),
    ]
    with pytest.raises(NightjarError) as error:
        runner.together(Ended(problem) for problem in problems)
    assert str(error.value) == (
        "source a cannot be landed:\n  a.csv: no column x; its header has y\n"
        "source b cannot be landed:\n  b.csv: the gzip stream is truncated"
    )


AWAY = ForeignError("the database does not answer", is_expected=False, may_pass=True)


def test_once_something_around_us_is_away_no_more_is_begun_and_it_is_said_once() -> None:
    begun: list[int] = []

    def ended(n: int) -> Any:
        begun.append(n)
        return Ended(AWAY if n else None)

    with pytest.raises(NightjarError) as error:
        runner.together(ended(n) for n in range(9))
    assert error.value is AWAY
    assert begun[-1] in (runner.CONCURRENT - 1, runner.CONCURRENT)  # whichever ended first


def test_a_table_that_is_busy_keeps_no_other_from_being_brought_up_to_date() -> None:
    busy = BusyError("orders: somebody else has written these days at the same time")
    begun: list[int] = []

    def ended(n: int) -> Any:
        begun.append(n)
        return Ended(busy if n == 0 else None)

    with pytest.raises(BusyError):
        runner.together(ended(n) for n in range(9))
    assert begun == [*range(9)]


def test_what_several_fail_with_is_said_once() -> None:
    same = [ContractError("Spark's Java process does not answer") for _ in range(9)]
    with pytest.raises(NightjarError) as error:
        runner.together(Ended(problem) for problem in same)  # type: ignore[misc]
    assert str(error.value) == "Spark's Java process does not answer"
