"""What `python -m models` can be asked for."""

from __future__ import annotations

import inspect
import pkgutil
import typing

import pytest

from contracts.specs import Spec
from models.__main__ import COMMANDS


def test_every_spec_has_a_command() -> None:
    assert {command.spec for command in COMMANDS.values()} == set(Spec.__subclasses__())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_a_function_of_its_spec_and_its_secrets(name: str) -> None:
    command = COMMANDS[name]
    function = pkgutil.resolve_name(command.function)
    first, *others = inspect.signature(function).parameters
    assert typing.get_type_hints(function)[first] is command.spec
    assert set(others) == set(command.secrets)
