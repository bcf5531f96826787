"""`python -m contracts` writes docs/tables.md and tables of other pages from declarations."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from contracts import train_config
from contracts.lookups import LOOKUP_SETTINGS, USE_SETTINGS
from contracts.mapping import FORMATS, SOURCE_SETTINGS, Setting
from contracts.sources import FIELDS
from contracts.table_settings import ATTRIBUTE_SETTINGS, TABLE_SETTINGS
from contracts.tables import RELEASED_TABLES, TABLES
from contracts.train_config import MAIN, PATHS, TrainConfig


def tables_page() -> str:
    """The page, as Markdown."""
    lines = [
        "# Tables",
        "",
        "Written by `make docs` from `contracts/`; a test fails if it is out of date.",
        "Analysts read "
        + ", ".join(f"[{t.name}](#{t.name})" for t in RELEASED_TABLES)
        + "; the others are the pipeline's own.",
        "",
    ]
    for table in TABLES:
        lines += [
            f"## {table.name}",
            "",
            table.doc,
            "",
            f"One row per {', '.join(f'`{name}`' for name in table.grain)}; replaced by whole "
            f"days of `{table.day}`.",
            "",
            "| column | type | may be null | what it says |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{c.name}` | {c.type} | {'yes' if c.nullable else ''} | {c.doc} |"
            for c in table.columns
        ]
        lines.append("")
    return "\n".join(lines)


def settings_page() -> str:
    """What a mapping may say of a source and of a table that it feeds, for the README."""
    lines = ["| setting | of | without it | what it does |", "|---|---|---|---|"]
    for of, settings in (
        ("a source", SOURCE_SETTINGS),
        ("a table", TABLE_SETTINGS),
        ("a table", ATTRIBUTE_SETTINGS),
        ("a lookup", LOOKUP_SETTINGS),
        ("a source's lookup", USE_SETTINGS),
    ):
        lines += [f"| `{s.name}` | {of}{_only(s)} | {_without(s)} | {s.doc} |" for s in settings]
    return "\n".join(lines)


def _only(setting: Setting) -> str:
    *others, last = setting.formats
    named = f"{', '.join(others)} and {last}" if others else last
    return "" if setting.formats == FORMATS else f", {named}"


def _without(setting: Setting) -> str:
    if setting.default is None or setting.default == ():
        return "an error" if setting.required else ""
    if isinstance(setting.default, bool):
        return f"`{str(setting.default).lower()}`"
    return f"`{json.dumps(setting.default)}`"


def fields_page() -> str:
    """What a mapping may say, as the Markdown table of the README."""
    lines = ["| table | field | what it is | without it |", "|---|---|---|---|"]
    for table, fields in FIELDS.items():
        for f in fields:
            without = (
                "an error"
                if f.required and f.default is None
                else f"`{f.default}`"
                if f.default is not None
                else "null"
            )
            lines.append(f"| {table} | `{f.name}` | {f.doc} | {without} |")
    return "\n".join(lines)


def training_page(names: Iterable[str]) -> str:
    """Settings of training, as a Markdown table."""
    defaults, sentences = TrainConfig().flat, _sentences()
    lines = ["| setting | default | what it does |", "|---|---|---|"]
    for name in names:
        default = defaults[name]
        shown = "none" if default is None else f"`{json.dumps(default).strip(chr(34))}`"
        lines.append(f"| `train.{PATHS[name]}` | {shown} | {sentences[name]} |")
    return "\n".join(lines)


def _sentences() -> dict[str, str]:
    """What stands below each setting of training where it is declared."""
    sentences = {}
    for group in ast.parse(inspect.getsource(train_config)).body:
        if isinstance(group, ast.ClassDef):
            for field, below in itertools.pairwise(group.body):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    text = _text_of(below)
                    if text is not None:
                        sentences[field.target.id] = " ".join(text.split())
    return sentences


def _text_of(statement: ast.stmt) -> str | None:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return str(value.value) if isinstance(value, ast.Constant) else None


PAGES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README.md": {
        "training": lambda: training_page(MAIN),
        "settings": settings_page,
        "fields": fields_page,
    },
    "docs/model.md": {
        "training": lambda: training_page([*MAIN, *(n for n in PATHS if n not in MAIN)]),
    },
}
"""Tables of pages, which stand between comments of these names."""


def with_tables(path: str, text: str) -> str:
    """A page with its tables as they are declared now."""
    for name, page in PAGES[path].items():
        start, end = f"<!-- {name}: written by make docs -->", f"<!-- end of {name} -->"
        head, _, rest = text.partition(start)
        text = f"{head}{start}\n\n{page()}\n\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    """Write the pages into the folder where it is called."""
    Path("docs/tables.md").write_text(tables_page())
    for path in PAGES:
        page = Path(path)
        page.write_text(with_tables(path, page.read_text()))


if __name__ == "__main__":
    main()
