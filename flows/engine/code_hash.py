"""The fingerprint of code: of a module's definitions, and of every definition that they reach.

Names, places, comments, docstrings and layout do not count, so that renaming and moving recompute
nothing; see docs/decisions/code-fingerprints.md.
"""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.errors import ContractError
from contracts.hashes import text_hash
from contracts.source_table import content
from flows.engine.definitions import Imported, Module, Statement, read_module

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("contracts", "jobs", "models")
DECLARATIONS = (
    "contracts.clean_tables",
    "contracts.errors",
    "contracts.tables",
    "contracts.table",
    "contracts.tile_tables",
)
SOURCE_TABLES = "contracts.source_tables."
"""Not followed, and nor are the modules of source tables: what a stage needs of them is in its
tables' own fingerprint, and in what its job says is declared."""
BY_VALUE = ("contracts.measures", "contracts.sources")
"""Modules that collect what source tables declare: what they name counts by its value, without
prose, and not by how it comes about."""

_parsing = threading.Lock()
"""Python 3.11 counts the depth of a tree per process: parsing in two threads at once fails when
the collector hands over between them."""


def code_fingerprint(names: Iterable[str]) -> str:
    """A hash of definitions, of all that those name, directly or not, and of what importing their
    modules executes.

    Args:
        names: dotted names: of definitions, or of modules, for all that they define.
    """
    return _fingerprint(tuple(names))


@functools.lru_cache(None)
def _fingerprint(names: tuple[str, ...]) -> str:
    with _parsing:
        return text_hash("\n".join(sorted(set(_hashes(_reached(map(_named, names)))))))


def reached(names: Iterable[str]) -> set[str]:
    """The dotted names of the definitions that count."""
    with _parsing:
        edges = _reached(map(_named, names))
        return {f"{s.module}.{name}" for s in edges for name in s.defines}


def name_of(function: Callable[..., Any]) -> str:
    """The dotted name of a function at the top level of its module, or of what it was made in."""
    return f"{function.__module__}.{function.__qualname__.partition('.')[0]}"


@dataclass(frozen=True)
class Meant:
    """What a name stands for."""

    label: str
    """Which of several names that one statement defines; the name itself of a declaration."""
    statements: tuple[Statement, ...]


Edges = dict[Statement, tuple[Meant, ...]]
"""Statements to what stands in each of their places."""


def _named(name: str) -> Imported:
    """What a dotted name stands for.

    Raises:
        ContractError: nothing of ours.
    """
    module, _, inside = name.rpartition(".")
    if _is_ours(name):
        return Imported(name, None)
    if _is_ours(module) and any(inside in s.defines for s in _module(module).statements):
        return Imported(module, inside)
    raise ContractError(f"{name} is neither a module of ours nor defined in one")


def _reached(roots: Iterable[Imported]) -> Edges:
    roots = tuple(roots)
    todo = [s for name in _loaded(what.module for what in roots) for s in _module(name).does]
    todo += [s for what in roots for s in _meant(what).statements]
    edges: Edges = {}
    while todo:
        statement = todo.pop()
        if statement in edges:
            continue
        edges[statement] = tuple(_meant(what) for what in statement.refers_to)
        todo += [s for meant in edges[statement] for s in meant.statements]
    return edges


def _loaded(modules: Iterable[str]) -> Iterator[str]:
    """The modules, and those that importing them imports."""
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name not in seen and not _is_declaration(name):
            seen.add(name)
            yield name
            todo += _module(name).loads


def _meant(what: Imported) -> Meant:
    """What a name of a module stands for; all of the module where that cannot be told."""
    if _is_declaration(what.module):
        return Meant(what.name or what.module, ())
    module = _module(what.module)
    if what.module in BY_VALUE and what.name is not None and what.name not in module.imports:
        value = getattr(importlib.import_module(what.module), what.name)
        if not callable(value):
            return Meant(text_hash(json.dumps(content(value))), ())
    if what.name is not None and what.name in module.imports:
        return _meant(module.imports[what.name])
    defining = tuple(s for s in module.statements if what.name in s.defines)
    places = ",".join(str(s.defines.index(what.name)) for s in defining if what.name)
    return Meant(places, defining or module.statements)


def _is_declaration(module: str) -> bool:
    return module in DECLARATIONS or module.startswith(SOURCE_TABLES)


def _hashes(edges: Edges) -> list[str]:
    """A hash per statement, of its own text and, as deep as it goes, of what it reaches.

    Refined until no two statements that differ are alike (Weisfeiler and Leman 1968), since
    definitions may name each other in circles.
    """
    own = {statement: text_hash(statement.text) for statement in edges}
    hashes = own
    while True:
        refined = {
            statement: text_hash(
                own[statement]
                + "".join(
                    f";{meant.label}:{','.join(hashes[s] for s in meant.statements)}"
                    for meant in meanings
                )
            )
            for statement, meanings in edges.items()
        }
        if len(set(refined.values())) == len(set(hashes.values())):
            return list(refined.values())
        hashes = refined


@functools.lru_cache(None)
def _module(name: str) -> Module:
    path = _path(name)
    return read_module(name, path.read_text(encoding="utf-8"), _is_ours)


def clear_cache() -> None:
    """Read modules again, which may have changed."""
    _module.cache_clear()
    _fingerprint.cache_clear()


def _path(module: str) -> Path:
    folder = ROOT / module.replace(".", "/")
    return folder / "__init__.py" if folder.is_dir() else folder.with_name(f"{folder.name}.py")


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in PACKAGES and _path(module).is_file()


@functools.lru_cache
def git_commit() -> str | None:
    """The commit that runs, `+` behind it if files differ from it; None outside a checkout."""
    if not (ROOT / ".git").exists():  # it may lie within a checkout of something else
        return None
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()
