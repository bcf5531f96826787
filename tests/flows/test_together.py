from __future__ import annotations

from typing import Any

import pytest

from contracts.table import ContractError
from flows import parts


class Ended:
    """A future that has ended."""

    def __init__(self, problem: Exception | None):
        self._problem = problem

    def result(self) -> None:
        if self._problem is not None:
            raise self._problem


def test_all_sources_that_cannot_be_landed_are_named_not_the_first_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parts, "wait", lambda futures: None)
    problems: list[Any] = [
        ContractError("source a cannot be landed:\n  a.csv: no column x; its header has y"),
        None,
        ContractError("source b cannot be landed:\n  b.csv: the gzip stream is truncated"),
    ]
    with pytest.raises(ContractError) as error:
        parts.together(Ended(problem) for problem in problems)
    assert str(error.value) == (
        "source a cannot be landed:\n  a.csv: no column x; its header has y\n"
        "source b cannot be landed:\n  b.csv: the gzip stream is truncated"
    )
