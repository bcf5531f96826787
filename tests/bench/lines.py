"""What a benchmark prints: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def print_line(**line: Any) -> None:
    """Fractions with three digits; at once, so that a long benchmark can be followed."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}
    print(json.dumps(rounded), flush=True)


def print_figures(line: Mapping[str, Any]) -> None:
    """Metrics of models, whose differences are small: fractions with five significant digits."""
    print(json.dumps({name: _rounded(value) for name, value in line.items()}), flush=True)


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, in columns as wide as their widest cell."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]

    def text(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return "\n".join([text(head), text(["-" * width for width in widths]), *map(text, rows)])


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
