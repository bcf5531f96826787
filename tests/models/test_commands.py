"""What `python -m models` can be asked for."""

from __future__ import annotations

import inspect
import json
import pkgutil
import sys
import typing
from importlib import import_module
from pathlib import Path

import pytest

from contracts.specs import Spec
from models.__main__ import COMMANDS

models = import_module("models.__main__")


def test_every_spec_has_a_command() -> None:
    assert {command.spec for command in COMMANDS.values()} == set(Spec.__subclasses__())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_a_function_of_its_spec_and_its_secrets(name: str) -> None:
    command = COMMANDS[name]
    function = pkgutil.resolve_name(command.function)
    first, *others = inspect.signature(function).parameters
    assert typing.get_type_hints(function)[first] is command.spec
    assert set(others) == set(command.secrets)


def test_a_process_that_would_do_a_share_unseen_reports_it(tmp_path: Path, monkeypatch) -> None:
    spec, report = tmp_path / "score.spec.json", tmp_path / "score.report.json"
    spec.write_text(json.dumps({"processes": 1, "days": []}))
    monkeypatch.setattr(sys, "argv", ["models", "score", str(spec), str(report)])
    monkeypatch.setattr(models, "die_with_parent", lambda parent: None)
    monkeypatch.setattr(models.encryption, "use", lambda key: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert models.main() == 1
    assert json.loads(report.read_text()) == {
        "error": "WORLD_SIZE is 2, but score_processes is 1: each process would do its share of "
        "the work and the others' would be lost. Start it without torchrun, with score_processes = "
        "2 for as many processes",
        "is_call": False,
    }
    monkeypatch.delenv("WORLD_SIZE")
    assert models.main() == 0
    assert json.loads(report.read_text()) == {"days": []}
