"""The wheel, where there is no checkout."""

from __future__ import annotations

import email
import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

SOURCES = ("contracts", "jobs", "models", "flows", "infra")
EVERYTHING = "nightjar[content,serve,spark,train,tune]"
LOADS_WHAT_IS_DEPLOYED = """
import sys
from prefect.flows import load_flow_from_entrypoint
for entrypoint in sys.argv[1:]:
    # True would load a flow of Prefect's own in the place of one whose module cannot be imported.
    print(load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False).name)
"""


def build(folder: Path, **environment: str) -> Path:
    """A wheel of a copy of our code, without network."""
    copy = folder / "source"
    for name in SOURCES:
        shutil.copytree(
            REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(REPOSITORY / name, copy / name)
    run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation",
         "--disable-pip-version-check", "-w", str(folder / "wheels"), str(copy)],
        folder, os.environ | environment,
    )  # fmt: skip
    shutil.rmtree(copy)
    (wheel,) = (folder / "wheels").glob("*.whl")
    return wheel


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def empty(wheel: Path, tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """Programs of an environment that has the wheel and the libraries of this one, and what the
    shell of somebody elsewhere holds."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(
        [sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], folder, {**os.environ}
    )
    programs = folder / "env" / "bin"
    run(
        [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--no-deps",
         "--no-index", "--disable-pip-version-check", str(wheel)],
        folder, {**os.environ},
    )  # fmt: skip
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    libraries = Path(str(importlib.metadata.distribution("prefect").locate_file("")))
    (site / "libraries.pth").write_text(f"{libraries}\n")
    environment = {
        name: value for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith(("NIGHTJAR_", "PREFECT_", "MLFLOW_"))
    }  # fmt: skip
    return programs, environment | {
        "NIGHTJAR_HOME": str(folder / "home"), "NIGHTJAR_KEY": "a key of at least 16",
    }  # fmt: skip


def test_a_wheel_requires_everything_and_one_for_images_nothing(
    wheel: Path, tmp_path: Path
) -> None:
    slim = build(tmp_path, NIGHTJAR_SLIM="1")
    by_itself = {
        path.name: [r for r in metadata(path).get_all("Requires-Dist", []) if "extra ==" not in r]
        for path in (wheel, slim)
    }
    version = metadata(wheel)["Version"]
    assert by_itself == {
        f"nightjar-{version}-py3-none-any.whl": [EVERYTHING],
        f"nightjar-{version}+slim-py3-none-any.whl": [],
    }
    extras = metadata(wheel).get_all("Provides-Extra")
    assert extras == metadata(slim).get_all("Provides-Extra")
    assert {"spark", "connect", "train", "tune", "serve"} <= set(extras or ())


def test_the_wheel_holds_every_file_that_the_code_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    expected = {
        str(path.relative_to(REPOSITORY))
        for name in SOURCES
        for path in (REPOSITORY / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected - held == set()
    assert {name for name in held if name.startswith("tests/")} == set()


def test_the_command_runs_in_another_folder(empty, tmp_path: Path) -> None:
    programs, environment = empty
    nightjar = str(programs / "nightjar")
    assert "simulate" in run([nightjar, "--help"], tmp_path, environment)
    assert "all there" in " ".join(run([nightjar, "doctor"], tmp_path, environment).split())
    printed = run(
        [nightjar, "simulate", "--users", "20", "--days", "3", "--out", "raw"],
        tmp_path,
        environment,
    )
    (mapping,) = programs.parent.glob("lib/python*/site-packages/infra/sources/market.toml")
    assert f"nightjar run --source {mapping} --raw raw" in " ".join(printed.split())
    assert {"orders", "users", "truth"} <= {path.name for path in (tmp_path / "raw").iterdir()}


def test_what_is_deployed_comes_from_the_wheel(empty, tmp_path: Path) -> None:
    programs, environment = empty
    deployments = yaml.safe_load((REPOSITORY / "infra/prefect.yaml").read_text())["deployments"]
    names = run(
        [str(programs / "python"), "-c", LOADS_WHAT_IS_DEPLOYED,
         *(deployment["entrypoint"] for deployment in deployments)],
        tmp_path, environment | {"PREFECT_HOME": str(tmp_path / "prefect")},
    )  # fmt: skip
    assert names.split() == [deployment["name"] for deployment in deployments]
