"""`python -m contracts` prints docs/tables.md: every table, from its declaration."""

from __future__ import annotations

from contracts.sources import FIELDS
from contracts.tables import PUBLISHED, TABLES


def tables_page() -> str:
    """The page, as Markdown."""
    lines = [
        "# Tables",
        "",
        "Written by `make docs` from `contracts/`; a test fails if it is out of date.",
        "Analysts read "
        + ", ".join(f"[{t.name}](#{t.name})" for t in PUBLISHED)
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


if __name__ == "__main__":
    print(tables_page(), end="")
