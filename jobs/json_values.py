"""JSON values: read strictly, and given as texts that say what the file says."""

from __future__ import annotations

import json
from typing import Any


class UndecodableError(ValueError):
    """It is well formed but ambiguous."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise UndecodableError("a JSON key is there twice")
    return made


def _no_constant(name: str) -> None:
    raise UndecodableError(f"{name} is no JSON value")


class Number(str):
    """A number as the file writes it: 2.50 stays 2.50, and 17 digits stay 17."""

    __slots__ = ()


scan = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_no_constant
).scan_once  # type: ignore[attr-defined]
"""The value that begins at a place of a text, and where it ends."""


def as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json(value)


def _json(value: Any) -> str:
    """What an object or array of a row says, as JSON with its numbers as they were written.

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
