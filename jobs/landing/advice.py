"""Which setting would read a text file, where another one did not."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Sequence

from jobs.mapping.columns import is_among
from jobs.mapping.sources import Source

_SEPARATORS = {
    ",": "commas",
    ";": "semicolons",
    "\t": "tabs",
    "|": "bars",
    "::": "double colons",
    ":": "colons",
    "whitespace": "blanks",
}
"""Those that files have, most likely ones first."""
_IN_PROSE = (":", "whitespace")
"""What times and words have between them."""

MAX_LENGTH = 20_000
"""Characters of a line that is looked into."""


def encoding_advice(problem: str, source: Source) -> str:
    """What may read a row of which the source's encoding does not."""
    if source.format not in ("csv", "jsonl", "json") or problem != f"not valid {source.encoding}":
        return ""
    given = codecs.lookup(source.encoding).name
    other = "latin-1" if given == codecs.lookup("windows-1252").name else "windows-1252"
    return f'; encoding = "{other}" may read it'


def separator_of_header(text: str, source: Source) -> str | None:
    """The separator between whose cells columns of the mapping stand, and what reads it."""
    return _advice(text, source, _SEPARATORS, lambda cells: is_among(source.columns, cells))


def separator_of_row(text: str, source: Source, width: int) -> str | None:
    """The separator by which a line has as many cells as it should, and what reads it."""
    likely = [separator for separator in _SEPARATORS if separator not in _IN_PROSE]
    return _advice(text, source, likely, lambda cells: len(cells) == width > 1)


def declared_separator(text: str) -> str | None:
    """What a first line says to Excel, and to nobody else, about what stands between cells."""
    match = re.fullmatch(r'"?sep=(.)"?', text.strip(" \r"), re.IGNORECASE)
    return None if match is None else match[1]


def _advice(
    text: str,
    source: Source,
    separators: Iterable[str],
    fits: Callable[[Sequence[str]], bool],
) -> str | None:
    for one in separators:
        if one != source.separator and fits(_cells(text[:MAX_LENGTH], one, source)):
            named = _SEPARATORS[one]
            return f"seems to have {named} between cells; separator = {json.dumps(one)} reads it"
    return None


def _cells(text: str, separator: str, source: Source) -> list[str]:
    """About what a line says: a separator within quotes ends no cell."""
    between = r"[ \t]+" if separator == "whitespace" else re.escape(separator)
    parts, cells, is_open = re.split(f"({between})", text.strip()), [""], False
    for i, part in enumerate(parts):
        if i % 2 and not is_open:
            cells.append("")
        else:
            cells[-1] += part
            is_open ^= bool(source.quote) and part.count(source.quote) % 2 == 1
    return [cell.strip().strip(source.quote or None).strip() for cell in cells]
