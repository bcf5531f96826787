"""What people enter in a form, or another program sends: looked at again, in words for a person.

Prefect checks a form only in part; what it lets through would fail late, or with a stack.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from contracts.days import parse_day
from contracts.errors import UsageError

Choice = TypeVar("Choice", bound=StrEnum)


def as_day(given: object, name: str) -> date:
    """A day.

    Raises:
        UsageError: it is anything else; the message says what to enter.
    """
    return given if isinstance(given, date) else parse_day(str(given or ""), name)


def as_choice(given: object, choices: type[Choice], name: str) -> Choice:
    """One of `choices`.

    Raises:
        UsageError: it is none of them; the message lists them.
    """
    try:
        return choices(str(given))
    except ValueError:
        listed = " or ".join(choice.value for choice in choices)
        raise UsageError(f"{name}: expected {listed}, found {given!r}") from None


def as_choices(given: object, choices: type[Choice], name: str) -> list[Choice]:
    """Some of `choices`, at least one, each once.

    Raises:
        UsageError: it is no list, an empty one, or one with something else in it.
    """
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        listed = ", ".join(choice.value for choice in choices)
        raise UsageError(f"{name}: expected some of {listed}, found {given!r}")
    return list(dict.fromkeys(as_choice(one, choices, name) for one in given))


def as_text(given: object, name: str) -> str | None:
    """A line of text without blanks around it; None where nothing was entered.

    Raises:
        UsageError: it is no text.
    """
    if given is None:
        return None
    if not isinstance(given, str):
        raise UsageError(f"{name}: expected text, found {given!r}")
    return given.strip() or None


def as_path(given: object) -> Path | None:
    """A path; None where nothing was entered."""
    return Path(str(given)) if given else None


def command_of(name: str, options: Mapping[str, object]) -> str:
    """The command that asks for something once more.

    Args:
        name: of the command, such as `run`.
        options: by name, in order; one that is None or False is left out, of one that is True
            there is the name alone.
    """
    words = ["nightjar", name]
    for option, value in options.items():
        if value is not None and value is not False:
            words += [f"--{option}"] if value is True else [f"--{option}", str(value)]
    return shlex.join(words)


def as_flag(given: object, name: str) -> bool:
    """True or false.

    Raises:
        UsageError: it is neither.
    """
    if not isinstance(given, bool):
        raise UsageError(f"{name}: expected true or false, found {given!r}")
    return given
