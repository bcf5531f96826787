"""Settings of how a file is read, judged beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.mapping import Setting
from contracts.values import shown


def check_reading(
    given: Mapping[str, Any], settings: Sequence[Setting], at: str, problems: list[str]
) -> None:
    """Add to `problems` what settings make of one another, and columns that cannot be named."""
    separator, quote = given.get("separator", ","), given.get("quote", '"')
    if quote and quote in separator:
        problems.append(f"{at}quote: {shown(quote)} is in the separator {shown(separator)} too")
    problems += [
        f"{at}{setting.name}: only for format {' or '.join(setting.formats)}"
        for setting in settings
        if setting.name in given and given.get("format", setting.formats[0]) not in setting.formats
    ]
    twice = _said_twice(given.get("columns", ()))
    if twice:
        problems.append(
            f"{at}columns: {', '.join(twice)}: expressions cannot tell them apart, for case does "
            "not count"
        )


def _said_twice(columns: Sequence[str]) -> list[str]:
    folded = [column.lower() for column in columns]
    return [column for column in columns if folded.count(column.lower()) > 1]
