"""How much is left of what was ordered once some of it is undone."""

from __future__ import annotations

from collections.abc import Iterable


def units_left(steps: Iterable[int]) -> list[int]:
    """Units left of each step: units ordered are above 0, units undone below it, in order of time.

    All units that a user has of an item are a stack: an order lies on top of those before it, and
    undoing takes from the top, down to the ground; what it has beyond that undoes nothing. Of steps
    that undo, nothing is left.
    """
    left: list[int] = []
    stack: list[int] = []
    for at, units in enumerate(steps):
        left.append(max(units, 0))
        if units > 0:
            stack.append(at)
        undone = max(-units, 0)
        while undone and stack:
            taken = min(undone, left[stack[-1]])
            left[stack[-1]] -= taken
            undone -= taken
            if not left[stack[-1]]:
                stack.pop()
    return left
