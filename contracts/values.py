"""What a value of a mapping may be, of any type that TOML has."""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Callable
from typing import Any
from zoneinfo import available_timezones

SOURCE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
MAX_ATTRIBUTES = 16
MAX_ATTRIBUTE_LENGTH = 64
"""Characters: what is longer is no category."""
MAX_SHOWN = 60
"""Characters of a wrong value that a message shows."""


def shown(value: Any) -> str:
    """A value as a message shows it, however long it is."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        return "a very large number"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def masked(text: str, width: int = 40) -> str:
    """Every letter as `a`, every digit as `9`: the shape of a value without what it says."""
    shape = re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", text[: width + 1]))
    shape = "".join(sign if sign.isprintable() else "?" for sign in shape)
    return shape if len(shape) <= width else shape[: width - 1] + "…"


def is_text(value: Any) -> bool:
    """Printable, and not blank."""
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def is_expression(value: Any) -> bool:
    """May have line breaks."""
    return isinstance(value, str) and bool(value.strip())


def is_table(value: Any) -> bool:
    return isinstance(value, dict)


def is_filled_table(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_whole(least: int, most: int) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return fits


def is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(0 <= value <= 1)


def is_one_of(*options: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in options


def is_separator(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 20 and not set(value) & set('"\r\n\0')


def is_quote(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 2 and value not in ("\r", "\n", "\0")


def is_texts(value: Any) -> bool:
    """A list of texts, empty ones among them."""
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def is_names(value: Any) -> bool:
    """A list of one name or more, of any characters."""
    return isinstance(value, list) and bool(value) and all(is_expression(name) for name in value)


def is_encoding(value: Any) -> bool:
    """One that gives texts as they are: not such as `unicode_escape`, which turns line ends into
    letters, or `hex`, which is none."""
    try:
        name = codecs.lookup(value).name
        "".encode(name)
    except (LookupError, TypeError, ValueError):
        return False
    return (
        name.replace("-", "_") not in _NO_ENCODINGS
        and codecs.getincrementaldecoder(name) is not None
    )


_NO_ENCODINGS = ("idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "utf_7")


def is_zone(value: Any) -> bool:
    return isinstance(value, str) and value in _zones()


@functools.cache
def _zones() -> set[str]:
    """Looking for them reads hundreds of files."""
    return available_timezones()


def is_time_formats(value: Any) -> bool:
    """A list of names of formats and patterns, each once."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(name, str) and is_time_format(name) for name in value)
        and len(set(value)) == len(value)
    )


def is_time_format(name: str) -> bool:
    """A name, or a pattern that says at least year, month and day."""
    if name == ISO or name in EPOCHS:
        return True
    runs = [match.group() for match in re.finditer(r"([A-Za-z])\1*", _unquoted(name))]
    letters = {run[0] for run in runs}
    return (
        name.count("'") % 2 == 0
        and _offset_of_all(name) in (None, 0)
        and not set("[]{}#") & set(name)
        and all(len(run) in _PATTERN_LETTERS.get(run[0], ()) for run in runs)
        and letters >= {"y", "M", "d"}
        and ("h" in letters) == ("a" in letters)
    )


def has_zone(pattern: str) -> bool:
    """Whether times that are written so say their offset or zone; a `'Z'` in quotes says UTC, and
    so does `+00:00`."""
    is_utc = re.search(r"'[^']*(?<![A-Za-z])(?:Z|UTC|GMT)'$", pattern) is not None
    is_utc = is_utc or _offset_of_all(pattern) == 0
    return is_utc or bool(set("XxZzVO") & set(_unquoted(pattern)))


def _offset_of_all(pattern: str) -> int | None:
    """The digits of an offset that stands at a pattern's end as it is, so that all times have the
    same; None if none does."""
    offset = re.search(r"[+-](\d{1,2})(?::?(\d{2}))?'?$", pattern)
    return None if offset is None else int(offset[1] + (offset[2] or "00"))


def _unquoted(pattern: str) -> str:
    return re.sub(r"'[^']*'", " ", pattern)


def is_scale(value: Any) -> bool:
    """Two whole numbers, the lower one first."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(is_whole(-1_000_000, 1_000_000)(end) for end in value)
        and value[0] < value[1]
    )


def is_path(value: Any) -> bool:
    """Relative, and under its root: `..` and `**` lead out of it or anywhere."""
    if not is_text(value) or "\\" in value or value.startswith("/") or value.count("{day}") > 1:
        return False
    return all(part not in ("", ".", "..") and "**" not in part for part in value.split("/"))


def is_file(value: Any) -> bool:
    """A path that names one file."""
    return is_path(value) and "*" not in value and "{day}" not in value


def is_one_or_more(value: Any) -> bool:
    """A text, or a list of texts, none of them blank."""
    return is_expression(value) or is_names(value)


def is_rules(value: Any) -> bool:
    """A list of tables with `reason` and `when`."""
    return isinstance(value, list) and all(
        is_table(rule)
        and set(rule) == {"reason", "when"}
        and is_text(rule["reason"])
        and is_expression(rule["when"])
        for rule in value
    )


def is_attributes(value: Any) -> bool:
    """A table of expressions by name."""
    return (
        is_filled_table(value)
        and len(value) <= MAX_ATTRIBUTES
        and all(SOURCE_NAME.fullmatch(n) and is_expression(text) for n, text in value.items())
    )


ISO = "iso"
EPOCHS = ("epoch_seconds", "epoch_millis", "epoch_micros")
"""Names that `time_format` knows besides patterns."""
_PATTERN_LETTERS = {
    "y": (1, 2, 4), "M": (1, 2, 3, 4), "d": (1, 2), "H": (1, 2), "h": (1, 2), "m": (1, 2),
    "s": (1, 2), "S": range(1, 10), "a": (1,), "X": range(1, 6), "x": range(1, 6),
    "Z": range(1, 6), "V": (2,),
}  # fmt: skip
"""Letters that a pattern may use, and how often in a row: those of Spark that say when it was."""
