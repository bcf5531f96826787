"""Variables of the environment that are almost a setting's."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

PREFIX = "NIGHTJAR_"
LIKENESS = 0.85
"""How alike two names are, of 1, before one is taken for the other (`difflib`)."""


def misspelt_variables(environment: Iterable[str], settings: Iterable[str]) -> list[str]:
    """What to write instead of each such variable: a limit whose variable is not read would stay at
    its default. Names that are like no setting's are somebody else's."""
    known = [f"{PREFIX}{name}".upper() for name in settings]
    lines = []
    for name in sorted(environment):
        setting, nested, rest = name.partition("__")
        if setting.startswith(PREFIX) and setting not in known:
            close = get_close_matches(setting, known, n=1, cutoff=LIKENESS)
            lines += [f"  {name}: expected {near}{nested}{rest}, perhaps" for near in close]
    return lines
