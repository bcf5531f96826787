"""JSON values: read strictly, and given as texts that say what the file says."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DIGITS = 38
"""Of a whole number that is written out where the file has an exponent: `1e400` stays as it is."""
NUMBER_PARTS = r"^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?0*[0-9]{1,3}))?$"
"""A number's sign, digits, decimals and exponent. One with a longer exponent is written out by
nobody."""

_parts = re.compile(NUMBER_PARTS).match


class UndecodableError(ValueError):
    """It is well formed but ambiguous."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise UndecodableError("a JSON key is there twice")
    return members


def _no_constant(name: str) -> None:
    raise UndecodableError(f"{name} is no JSON value")


class Number(str):
    """A number, digit by digit: 2.50 stays 2.50, and 17 digits stay 17. One that is whole is
    written as a whole number: an id is `123.0` where the column it comes from has a null."""

    __slots__ = ()


def as_whole(text: str) -> str:
    """A number, written as a whole one if it is whole, exactly; else as it is."""
    if "e" in text or "E" in text:
        return _without_exponent(text)
    bare = text.rstrip("0") if "." in text else f"{text}."
    if bare[-1] != ".":
        return text
    return "0" if bare == "-0." else bare[:-1]


def _without_exponent(text: str) -> str:
    parts = _parts(text)
    if parts is None:
        return text
    sign, digits, decimals, exponent = parts.groups("")
    decimals = decimals.rstrip("0")
    digits, scale = digits + decimals, int(exponent) - len(decimals)
    if scale < 0 and digits[scale:].strip("0"):
        return text
    digits = (digits[:scale] if scale < 0 else digits + "0" * scale).lstrip("0")
    if len(digits) > MAX_DIGITS:
        return text
    return sign + digits if digits else "0"


def _number(text: str) -> Number:
    return Number(as_whole(text))


def _int(text: str) -> Number:
    return Number("0" if text == "-0" else text)


scan = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number, parse_int=_int, parse_constant=_no_constant
).scan_once  # type: ignore[attr-defined]
"""The value that begins at a place of a text, and where it ends."""


def as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json(value)


def _json(value: Any) -> str:
    """What an object or array of a row says, as JSON with the digits of its numbers.

    Raises:
        RecursionError: it is nested some hundreds deep.
    """
    if isinstance(value, dict):
        inner = [f"{json.dumps(key, ensure_ascii=False)}: {_json(v)}" for key, v in value.items()]
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, list):
        return "[" + ", ".join([_json(v) for v in value]) + "]"
    if type(value) is Number:
        return value
    return json.dumps(value, ensure_ascii=False)


def reach(record: dict[str, Any], column: str) -> tuple[Any, bool]:
    """What stands under a key, or under a path of keys, and whether the key is there."""
    if column in record:
        return record[column], True
    value: Any = record
    for key in column.split("."):
        if not isinstance(value, dict) or key not in value:
            return None, False
        value = value[key]
    return value, True
