"""What a benchmark prints: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def print_line(**line: Any) -> None:
    """Fractions with three digits; at once, so that a long benchmark can be followed."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}
    print(json.dumps(rounded), flush=True)


def print_figures(line: Mapping[str, Any]) -> None:
    """Metrics of models, whose differences are small: fractions with five significant digits."""
    print(json.dumps({name: _rounded(value) for name, value in line.items()}), flush=True)


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
