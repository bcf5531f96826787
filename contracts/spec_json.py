"""Specs as JSON: one encoder and one decoder for every frozen dataclass that crosses to a process.

Dates are written as texts, tuples as arrays, nested dataclasses as objects. What is read must be
what was declared, to the field.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from contracts.errors import ContractError

S = TypeVar("S")
_SCALARS: dict[Any, tuple[type, ...]] = {
    str: (str,),
    bool: (bool,),
    int: (int,),
    float: (int, float),
}
"""Types in JSON that hold a value of a type."""


def encode(spec: Any) -> str:
    """A spec as the text that `decode` reads."""
    return json.dumps(to_plain(spec), indent=1)


def to_plain(value: Any) -> Any:
    """A value in what JSON has: dataclasses and mappings as objects, tuples as lists, dates as
    texts.

    Raises:
        ContractError: it holds anything else.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ContractError(f"a spec holds {type(value).__name__}, which JSON cannot say: {value!r}")


def decode(type_: type[S], text: str) -> S:
    """The spec that `encode` has written.

    Raises:
        ContractError: `text` is not JSON, lacks a field or holds another one, or a value is not of
            its field's type; every problem is named by its path.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise ContractError(f"{type_.__name__} is not JSON: {error}") from None
    return from_plain(type_, raw)


def from_plain(type_: type[S], raw: Any) -> S:
    """What `to_plain` has made of a dataclass.

    Raises:
        ContractError: see `decode`.
    """
    problems: list[str] = []
    value = _read(type_, raw, "", problems)
    if problems:
        raise ContractError("\n".join([f"{type_.__name__} breaks its contract:", *problems]))
    return typing.cast(S, value)


def _read(type_: Any, raw: Any, path: str, problems: list[str]) -> Any:
    """The value of `raw` as `type_`; where it is none, a line is added to `problems`."""
    origin = get_origin(type_)
    if is_dataclass(type_):
        return _read_dataclass(type_, raw, path, problems)
    if origin in (Union, types.UnionType):
        if raw is None and type(None) in get_args(type_):
            return None
        (inner,) = (t for t in get_args(type_) if t is not type(None))
        return _read(inner, raw, path, problems)
    if origin is tuple and isinstance(raw, list):
        return _read_tuple(type_, raw, path, problems)
    if origin in (Mapping, dict) and isinstance(raw, dict):
        _, inner = get_args(type_)
        return {key: _read(inner, item, _at(path, key), problems) for key, item in raw.items()}
    if origin is Literal and raw in get_args(type_):
        return raw
    if type_ is date and isinstance(raw, str):
        try:
            return date.fromisoformat(raw)
        except ValueError:
            pass
    if type(raw) in _SCALARS.get(type_, ()):
        return type_(raw)
    problems.append(f"  {path or 'all of it'}: expected {_name(type_)}, found {raw!r}")
    return None


def _read_tuple(type_: Any, raw: list[Any], path: str, problems: list[str]) -> Any:
    """A tuple of any length, `tuple[X, ...]`, or of a type per place."""
    inner = get_args(type_)
    if len(inner) == 2 and inner[1] is Ellipsis:
        inner = (inner[0],) * len(raw)
    if len(inner) != len(raw):
        problems.append(f"  {path}: expected {len(inner)} values, found {len(raw)}")
        return None
    return tuple(
        _read(t, item, f"{path}[{i}]", problems)
        for i, (t, item) in enumerate(zip(inner, raw, strict=True))
    )


def _read_dataclass(type_: Any, raw: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(raw, dict):
        problems.append(f"  {path or 'all of it'}: expected an object, found {raw!r}")
        return None
    declared = _declared(type_)
    before = len(problems)
    problems += [f"  {_at(path, name)}: no such field" for name in raw if name not in declared]
    values = {}
    for name, (inner, field) in declared.items():
        if name in raw:
            values[name] = _read(inner, raw[name], _at(path, name), problems)
        elif field.default is MISSING and field.default_factory is MISSING:
            problems.append(f"  {_at(path, name)}: expected {_name(inner)}, found nothing")
    return type_(**values) if len(problems) == before else None


@functools.cache
def _declared(type_: Any) -> dict[str, tuple[Any, Field[Any]]]:
    """Fields by name, each with its resolved type."""
    hints = typing.get_type_hints(type_)
    return {f.name: (hints[f.name], f) for f in fields(type_)}


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _name(type_: Any) -> str:
    """A type in words."""
    if get_origin(type_) is Literal:
        return "one of " + ", ".join(map(str, get_args(type_)))
    if get_origin(type_) is tuple:
        return "a list"
    if is_dataclass(type_) or get_origin(type_) in (Mapping, dict):
        return "an object"
    return str(getattr(type_, "__name__", type_))
