"""`python -m contracts` writes docs/tables.md and the tables of the README from declarations."""

from __future__ import annotations

import json
from pathlib import Path

from contracts.lookups import LOOKUP_SETTINGS, USE_SETTINGS
from contracts.mapping import FORMATS, SOURCE_SETTINGS, TABLE_SETTINGS, USER_SETTINGS, Setting
from contracts.sources import FIELDS
from contracts.tables import RELEASED_TABLES, TABLES


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
        ("the table users", USER_SETTINGS),
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


READ_ME = {"settings": settings_page, "fields": fields_page}
"""Tables of the README, which stand between comments of these names."""


def with_tables(read_me: str) -> str:
    """The README with its tables as they are declared now."""
    for name, page in READ_ME.items():
        start, end = f"<!-- {name}: written by make docs -->", f"<!-- end of {name} -->"
        head, _, rest = read_me.partition(start)
        read_me = f"{head}{start}\n\n{page()}\n\n{end}{rest.partition(end)[2]}"
    return read_me


def main() -> None:
    """Write the pages into the folder where it is called."""
    Path("docs/tables.md").write_text(tables_page())
    read_me = Path("README.md")
    read_me.write_text(with_tables(read_me.read_text()))


if __name__ == "__main__":
    main()
