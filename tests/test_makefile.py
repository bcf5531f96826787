"""What `make` can do."""

from __future__ import annotations

import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PROGRAMS = sorted((REPOSITORY / "tests/bench").glob("[a-z]*.py"))


def test_each_program_that_measures_or_tries_something_is_named_where_its_user_looks() -> None:
    places = ("Makefile", "README.md", *sorted(REPOSITORY.glob("docs/*.md")))
    pages = "\n".join((REPOSITORY / place).read_text(encoding="utf-8") for place in places)
    programs = [
        f"tests.bench.{path.stem}"
        for path in sorted((REPOSITORY / "tests/bench").glob("*.py"))
        if path.stem != "__main__" and "__main__" in path.read_text()
    ]
    assert len(programs) > 10
    assert [name for name in programs if f"python -m {name}" not in pages] == []


@pytest.mark.filterwarnings("ignore:.*AnyType:UserWarning")  # MLflow's, of its own model
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_each_program_finds_all_that_it_imports(path: Path) -> None:
    import_module(f"tests.bench.{path.stem}")


def test_make_lists_each_target_with_what_it_does() -> None:
    listed = subprocess.run(
        ["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = [line.split()[1] for line in listed]
    makefile = (REPOSITORY / "Makefile").read_text()
    phony = makefile.partition(".PHONY:")[2].partition("\n")[0].split()
    assert sorted(names) == sorted(phony)
    assert len({line.index(line.split(maxsplit=2)[2]) for line in listed}) == 1
