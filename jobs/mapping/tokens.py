"""What an expression of Spark SQL is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?\*/|\s+                               # skipped
    |(?P<string>[rR]'[^']*'|[rR]"[^"]*"|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<name>`(?:[^`]|``)*`)
    |(?P<number>\d[\w.]*)
    |(?P<word>[^\W\d]\w*)
    |(?P<sign>\|\||<>|!=|<=|>=|.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    at: int = field(default=0, compare=False)
    """Where it begins."""

    @property
    def end(self) -> int:
        return self.at + len(self.text)


def tokens(text: str) -> tuple[Token, ...]:
    """Its words, names in backticks, strings, numbers and signs; comments and blanks left out."""
    return tuple(
        Token(match.lastgroup, match.group(), match.start())
        for match in _TOKEN.finditer(text)
        if match.lastgroup is not None
    )
