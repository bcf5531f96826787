"""The fingerprint of code: of a module and of every module of ours that it imports.

Comments, docstrings and layout do not count; see docs/decisions/code-fingerprints.md.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("contracts", "jobs", "models")
DECLARATIONS = ("contracts.clean_tables", "contracts.tables", "contracts.table")
"""Not followed: what a stage needs of them is in its tables' own fingerprint."""

_parsing = threading.Lock()
"""Python 3.11 counts the depth of a tree per process: parsing in two threads at once fails when
the collector hands over between them."""


def code_fingerprint(modules: Iterable[str]) -> str:
    """A hash of the modules and of what they import, directly or not."""
    seen: dict[str, str] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in seen or name in DECLARATIONS:
            continue
        seen[name], imported = _module(name)
        todo += imported
    return _short("".join(f"{name}:{seen[name]}\n" for name in sorted(seen)))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    text = (ROOT / (name.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    with _parsing:
        tree = ast.parse(text)
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            imported += [m for m in (node.module, *below) if _ours(m)]
        elif isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names if _ours(alias.name)]
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_doc(body[0]):
            node.body = body[1:]  # type: ignore[attr-defined]
    return _short(ast.dump(tree)), tuple(imported)


def _ours(module: str) -> bool:
    path = ROOT / (module.replace(".", "/") + ".py")
    return module.split(".")[0] in PACKAGES and path.is_file()


def _is_doc(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@functools.lru_cache
def git_commit() -> str | None:
    """The commit that runs, `+` behind it if files differ from it; None outside a checkout."""
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
