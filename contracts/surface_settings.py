"""Surfaces with what settings say otherwise of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from contracts.errors import ContractError
from contracts.spec_json import from_plain, to_plain
from contracts.surfaces import SURFACES, Policy, Surface


def configured(
    overrides: Mapping[str, Mapping[str, Any]], surfaces: Sequence[Surface] = SURFACES
) -> tuple[Surface, ...]:
    """The surfaces with what settings say otherwise of them.

    `{"products": {"repeats": True, "worth": {"order": 2.0}, "policy": {"diversity": 0.1}}}`: fields
    of `Surface` and of its `Policy`, and `worth` by event. A value may be its JSON as a text, as in
    the environment: none of them is a text by itself.

    Raises:
        ContractError: a surface, a field or an event is unknown, or a value cannot be; all problems
            are named.
    """
    by_name = {surface.name: surface for surface in surfaces}
    problems = _unknown_names(overrides, tuple(by_name), "surfaces", "surface")
    changed = []
    for surface in surfaces:
        try:
            changed.append(_changed(surface, _parsed(overrides.get(surface.name, {}))))
        except ContractError as error:
            problems.append(str(error))
    if problems:
        raise ContractError("\n".join(problems))
    return tuple(changed)


_CHANGEABLE = (
    "repeats", "horizon_days", "learn_every_days", "max_age_days", "n_items", "sources",
    "max_list_change",
)  # fmt: skip


def _parsed(given: Any) -> Any:
    """The same without values in texts, as far as these are JSON."""
    if isinstance(given, Mapping):
        return {name: _parsed(value) for name, value in given.items()}
    if isinstance(given, str):
        try:
            return json.loads(given)
        except ValueError:
            return given
    return given


def _changed(surface: Surface, given: Any) -> Surface:
    """The surface with what is given of it.

    Raises:
        ContractError: a name is unknown, or a value is not of its field's type or cannot be.
    """
    where = f"surfaces.{surface.name}"
    problems = _unknown_names(given, (*_CHANGEABLE, "worth", "policy"), where, "setting")
    if not isinstance(given, Mapping):
        raise ContractError("\n".join(problems))
    of_policy = tuple(f.name for f in dataclasses.fields(Policy))
    for name, known, what in (
        ("worth", surface.events, "event"),
        ("policy", of_policy, "setting"),
    ):
        problems += _unknown_names(given.get(name, {}), known, f"{where}.{name}", what)
    if problems:
        raise ContractError("\n".join(problems))
    plain = to_plain(surface)
    plain |= {name: given[name] for name in _CHANGEABLE if name in given}
    plain["policy"] |= given.get("policy", {})
    for outcome in plain["outcomes"]:
        outcome["worth"] = given.get("worth", {}).get(outcome["event"], outcome["worth"])
    try:
        return from_plain(Surface, plain)
    except ContractError as error:
        text, *of_fields = str(error).removeprefix(f"surface {surface.name}: ").split("\n")
        lines = [line.strip() for line in of_fields] or [text]
        raise ContractError("\n".join(f"{where}: {line}" for line in lines)) from None


def _unknown_names(given: object, known: Sequence[str], where: str, what: str) -> list[str]:
    """What is wrong with the names that are given of something, and what was perhaps meant."""
    if not isinstance(given, Mapping):
        return [f"{where}: expected a table of settings, found {given!r}"]
    problems = []
    for name in given:
        if name not in known:
            near = get_close_matches(str(name), known, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            problems.append(
                f"{where}.{name}: no such {what}, expected one of {', '.join(known)}{meant}"
            )
    return problems
