"""What can be wrong with what a surface declares: a line for each problem, with what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

MAX_ITEMS = 1000
"""Items of a list, at most: ten times as many as a source gives a user."""
MAX_HORIZON_DAYS = 365
"""Days until it is known how a list did, at most."""
MAX_WORTH = 1e9
"""What an outcome is worth, at most: sums of several stay exact enough to order by."""

_UNLIMITED: Mapping[str, int] = {}


def unknown(field_name: str, names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names that are none of those that are known."""
    return [
        f"{field_name}: expected one of {', '.join(known)}, found {name}"
        for name in names
        if name not in known
    ]


def repeated(field_name: str, names: Sequence[str]) -> list[str]:
    """Names that stand there more than once."""
    twice = [name for name, n in Counter(names).items() if n > 1]
    return [f"{field_name}: {name} is named more than once" for name in twice]


def out_of_bounds(
    numbers: Mapping[str, int | None], most: Mapping[str, int] = _UNLIMITED, or_none: str = ""
) -> list[str]:
    """Numbers below 1, or above the most that they may be; None is neither. `or_none` is what is
    said of it."""
    problems = []
    for name, number in numbers.items():
        limit = most.get(name)
        if number is not None and not 1 <= number <= (number if limit is None else limit):
            expected = "1 or more" if limit is None else f"1 to {limit}"
            problems.append(f"{name}: expected {expected}{or_none}, found {number}")
    return problems


def not_below_one(shares: Mapping[str, float]) -> list[str]:
    """Numbers that are not from 0 to below 1."""
    return [
        f"{name}: expected 0 to below 1, found {share}"
        for name, share in shares.items()
        if not 0 <= share < 1
    ]


def not_a_worth(worth: float) -> list[str]:
    """What is wrong with what an outcome is worth."""
    if 0 <= worth <= MAX_WORTH:
        return []
    return [f"worth: expected 0 to {MAX_WORTH:,.0f}, found {worth}"]


def worthless(worth_of_events: Mapping[str, float]) -> list[str]:
    """Whether nothing is worth anything: then no item has a value above another's."""
    if not worth_of_events or any(worth_of_events.values()):
        return []
    return [f"worth: expected above 0 for one of {', '.join(worth_of_events)}, found 0 for all"]
