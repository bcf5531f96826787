"""Settings of how a file is read, judged beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.mapping import SOURCE_SETTINGS, Setting
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
    twice = _repeated(given.get("columns", ()))
    if twice:
        problems.append(
            f"{at}columns: {', '.join(twice)}: expressions cannot tell them apart, for case does "
            "not count"
        )


def check_source(given: Mapping[str, Any], at: str, problems: list[str]) -> None:
    """Refuse settings of a source that its other settings make pointless, and ask for those that
    they make necessary."""
    if "files" in given:
        daily = "{day}" in given["files"]
        if daily and "landed_on" in given:
            problems.append(f"{at}landed_on: the {{day}} in files says it already")
        if not daily and "landed_on" not in given:
            problems.append(
                f"{at}landed_on: files has no {{day}}, so an expression must say on which "
                'day a row landed, such as "to_date(time)"'
            )
        problems += [
            f"{at}{key}: only for files with {{day}}"
            for key in ("missing", "lands_after_days")
            if key in given and not daily
        ]
    if given.get("thousands") is not None and given["thousands"] == given.get("decimal", "."):
        problems.append(
            f"{at}thousands: {given['thousands']!r} stands before the decimals already; "
            "say decimal as well"
        )
    check_reading(given, SOURCE_SETTINGS, at, problems)


def _repeated(columns: Sequence[str]) -> list[str]:
    folded = [column.lower() for column in columns]
    return [column for column in columns if folded.count(column.lower()) > 1]
