"""Pages of documentation name files that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PAGES = (
    "README.md",
    *(str(path.relative_to(REPOSITORY)) for path in sorted((REPOSITORY / "docs").rglob("*.md"))),
)
FOLDERS = "contracts|jobs|models|flows|infra|tests|docs"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_files_and_folders_that_there_are(page: str) -> None:
    text = (REPOSITORY / page).read_text()
    named = set(re.findall(rf"`((?:{FOLDERS})/[\w/.]*)`", text))
    beside = {
        f"{folder}/{name}"
        for line in text.splitlines()
        for folder, rest in re.findall(
            rf"`((?:{FOLDERS})(?:/\w+)*)/\w+\.py`((?:, `\w+\.py`)+)", line
        )
        for name in re.findall(r"\w+\.py", rest)
    }
    assert {name for name in named | beside if not (REPOSITORY / name).exists()} == set()


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    folder = (REPOSITORY / page).parent
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", (REPOSITORY / page).read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose)
    broken = {link for link in links if not Path(folder, link).exists()}
    assert broken == set()


@pytest.mark.parametrize("layer", ["jobs", "models", "flows"])
def test_the_readme_lists_every_package_of_a_layer(layer: str) -> None:
    tree = (REPOSITORY / "README.md").read_text().partition("\n## For engineers")[2]
    _, _, below = tree.partition(f"\n{layer}/ ")
    listed = set(re.findall(r"^  (\w+)/ ", below[: re.search(r"^\w", below, re.M).start()], re.M))
    assert listed == {path.parent.name for path in (REPOSITORY / layer).glob("*/__init__.py")}


def literals() -> Iterator[str]:
    """Every text in our code, with … for what is put into it."""
    for layer in ("contracts", "jobs", "models", "flows"):
        for path in (REPOSITORY / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                    yield "".join(map(str, parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_messages_that_operators_look_up_are_those_of_the_code() -> None:
    page = (REPOSITORY / "docs/operations.md").read_text()
    table = page.partition("## At three in the morning")[2].partition("\n## ")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines() if line.startswith("| …")]
    quoted = [text for cell in cells for text in re.findall(r"\*([^*]+)\*", cell)]
    pieces = {piece.strip() for text in quoted for piece in text.split("…") if len(piece) > 10}
    said = list(literals())
    assert len(pieces) > 8
    assert {piece for piece in pieces if not any(piece in text for text in said)} == set()
