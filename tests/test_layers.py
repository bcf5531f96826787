"""The layers: who may import whom."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FORBIDDEN = {
    "contracts": {"jobs", "models", "flows"},
    "jobs": {
        "models",
        "flows",
        "torch",
        "pytorch_lightning",
        "prefect",
        "pyiceberg",
        "mlflow",
        "sqlalchemy",
        "duckdb",
    },
    "models": {"jobs", "flows", "pyspark", "prefect", "pyiceberg", "sqlalchemy", "duckdb"},
    "flows": {"models", "torch", "pytorch_lightning", "lightgbm"},
}
ENVIRONMENT_READERS = {
    "models/distributed.py",
    "flows/settings.py",
    "flows/cli/main.py",
    "flows/cli/terminal.py",
    "flows/lifecycle/child_processes.py",
    "flows/server/up.py",
    "flows/cli/doctor.py",
    "flows/engine/model_process.py",
    "jobs/spark/session.py",
    "jobs/__main__.py",
    "models/__main__.py",
}

ROOMS = {
    "flows": (
        "storage", "database_address", "settings", "lifecycle", "state", "lake", "release", "engine", "learning",
        "monitor", "mapping_check", "planning", "report", "steps", "retention", "top",
        "server", "cli",
    ),
    "jobs": (
        "values", "mapping", "spark", "landing", "cleaning", "features", "candidates", "one_pass",
        "market", "top",
    ),
    "models": (
        "distributed", "progress", "pieces", "data", "network", "trees", "artifact", "training", "evaluation",
        "retrieval", "ranking", "content",
        "top",
    ),
}  # fmt: skip
"""Packages of each layer, and modules that belong below them, from the ground up; `top` are the
other modules at its top."""


@cache
def modules(layer: str) -> list[Path]:
    return sorted((REPOSITORY / layer).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_a_layer_imports_only_what_lies_below_it(layer: str) -> None:
    wrong = {str(p.relative_to(REPOSITORY)): imported(p) & FORBIDDEN[layer] for p in modules(layer)}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_contracts_use_the_standard_library_only() -> None:
    outside = {
        str(p.relative_to(REPOSITORY)): imported(p) - set(sys.stdlib_module_names) - {"contracts"}
        for p in modules("contracts")
    }
    assert {path: names for path, names in outside.items() if names} == {}


def test_flows_and_tasks_are_declared_by_decorators_of_our_own() -> None:
    """Prefect's own would give it the text of every error, and with it values of the data."""
    declared = {
        str(path.relative_to(REPOSITORY))
        for path in modules("flows")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("prefect")
        and {alias.name for alias in node.names} & {"flow", "task"}
    }
    assert declared == set()


def test_only_the_edges_read_the_environment() -> None:
    readers = {
        str(p.relative_to(REPOSITORY))
        for layer in FORBIDDEN
        for p in modules(layer)
        for node in ast.walk(ast.parse(p.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert readers == ENVIRONMENT_READERS


def test_nothing_below_flows_asks_what_time_it_is() -> None:
    asked = {
        f"{p.relative_to(REPOSITORY)}:{node.lineno}"
        for layer in ("contracts", "jobs", "models")
        for p in modules(layer)
        for node in ast.walk(ast.parse(p.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "today", "utcnow", "current_date", "current_timestamp")
    }
    assert asked == set()


def test_modules_stay_short_enough_to_read() -> None:
    long = {
        str(p.relative_to(REPOSITORY)): n
        for layer in FORBIDDEN
        for p in modules(layer)
        if (n := len(p.read_text().splitlines())) > 400
    }
    assert long == {}


def test_packages_hold_one_sentence_so_that_names_come_from_where_they_are_defined() -> None:
    for layer in FORBIDDEN:
        for path in (REPOSITORY / layer).rglob("__init__.py"):
            (only,) = ast.parse(path.read_text()).body
            assert isinstance(only, ast.Expr), path
            assert len(str(ast.literal_eval(only.value)).splitlines()) == 1, path


def test_nothing_in_the_pipeline_reads_the_truth() -> None:
    """The simulator writes `truth/`; benchmarks and tests compare with it, and nobody else."""
    allowed = {"jobs/market/files.py", "jobs/market/truth.py"}
    named = {
        str(path.relative_to(REPOSITORY))
        for layer in ("contracts", "jobs", "models", "flows")
        for path in modules(layer)
        if any(
            isinstance(node, ast.Constant) and re.search(r"(^|/)truth(/|$)", str(node.value))
            for node in ast.walk(ast.parse(path.read_text()))
        )
    }
    assert named <= allowed
    for mapping in (REPOSITORY / "infra/sources").glob("*.toml"):
        assert "truth" not in mapping.read_text()


def test_one_factory_makes_the_connections_of_duckdb() -> None:
    makers = {
        str(path.relative_to(REPOSITORY))
        for path in modules("flows")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "connect"
        if isinstance(node.value, ast.Name) and node.value.id == "duckdb"
    }
    assert makers == {"flows/storage/duckdb_connections.py"}


def room(module: str) -> str:
    """The package of a layer that a module is in, or that it makes up alone."""
    layer, _, inside = module.partition(".")
    first = inside.split(".")[0]
    return first if first in ROOMS[layer] else "top"


def imports_within(layer: str, path: Path) -> set[str]:
    """Modules of the same layer that a module imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & {module_name(other) for other in modules(layer)}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)


@pytest.mark.parametrize("layer", ROOMS)
def test_a_package_imports_only_those_before_it(layer: str) -> None:
    upwards = set()
    for path in modules(layer):
        here = module_name(path)
        for other in imports_within(layer, path):
            if ROOMS[layer].index(room(other)) > ROOMS[layer].index(room(here)):
                upwards.add(f"{here} -> {other}")
    assert upwards == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    imports = {
        module_name(path): imports_within(layer, path) for layer in ROOMS for path in modules(layer)
    }
    TopologicalSorter(imports).prepare()  # names the circle if there is one


@pytest.mark.parametrize("layer", ROOMS)
def test_every_package_has_its_place(layer: str) -> None:
    packages = {path.parent.name for path in (REPOSITORY / layer).glob("*/__init__.py")}
    assert packages == {name for name in ROOMS[layer] if (REPOSITORY / layer / name).is_dir()}
