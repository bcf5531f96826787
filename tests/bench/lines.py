"""What a benchmark prints: one JSON object a line."""

from __future__ import annotations

import json
from typing import Any


def print_line(**line: Any) -> None:
    """Fractions with three digits; at once, so that a long benchmark can be followed."""
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}
    print(json.dumps(rounded), flush=True)
