"""What a mapping may say: each key once, with what it may hold and what it does.

A new setting of a source is a row of `SOURCE_SETTINGS` and a field of `jobs.sources.Source`.
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from contracts.sources import NULL_VALUES

FORMATS = ("csv", "jsonl", "json", "parquet", "xlsx")
MAX_ATTRIBUTES = 16
MAX_ATTRIBUTE_LENGTH = 64
"""Characters: what is longer is no category."""
MAX_SHOWN = 60
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True)
class Setting:
    """A key of a mapping."""

    name: str
    doc: str
    expected: str
    """What it may hold, as a message says it: `one character`."""
    fits: Callable[[Any], bool]
    """Whether a value, of any type that TOML has, is one."""
    default: Any = None
    """None: nothing stands in for it."""
    required: bool = False
    formats: tuple[str, ...] = FORMATS
    """Formats of raw files that it is for."""
    landing: bool = False
    """Whether landed rows depend on it: a change reads the raw files again."""
    cleaning: bool = False
    """Whether clean rows depend on it: a change judges landed rows again."""


def checked(
    spec: Mapping[str, Any], settings: Sequence[Setting], at: str, problems: list[str]
) -> dict[str, Any]:
    """The settings of `spec` that are right; what is wrong with others is added to `problems`."""
    known = {setting.name: setting for setting in settings}
    problems += [
        f"{at}{key}: unknown; expected one of {', '.join(sorted(known))}"
        for key in spec
        if key not in known
    ]
    right = {}
    for setting in settings:
        if setting.name not in spec:
            if setting.required:
                problems.append(f"{at}{setting.name}: missing; expected {setting.expected}")
        elif setting.fits(spec[setting.name]):
            right[setting.name] = spec[setting.name]
        else:
            problems.append(
                f"{at}{setting.name}: expected {setting.expected}, "
                f"found {shown(spec[setting.name])}"
            )
    return right


def shown(value: Any) -> str:
    """A value as a message shows it, however long it is."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        return "a very large number"
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


# What a value may be


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
        and not set("[]{}#") & set(name)
        and all(len(run) in _PATTERN_LETTERS.get(run[0], ()) for run in runs)
        and letters >= {"y", "M", "d"}
        and ("h" in letters) == ("a" in letters)
    )


def has_zone(pattern: str) -> bool:
    """Whether times that are written so say their offset or zone."""
    return bool(set("XxZzVO") & set(_unquoted(pattern)))


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

STARS_SCALE = Setting(
    "stars_scale",
    "Of `reviews`: the least and the most that may be given, such as `[0, 10]`. 1 to 5 stars are "
    "made of it, evenly and rounded half up; fractions are allowed.",
    "two whole numbers, the lower one first, such as [0, 10]",
    is_scale,
    cleaning=True,
)

SOURCE_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

MAPPING_SETTINGS = (
    Setting("name", "What the data is called; a home belongs to one.", "a text", is_text),
    Setting("money", "The reporting currency and rates.", "a table [money]", is_table),
    Setting("text", "How texts are normalised.", "a table [text]", is_table),
    Setting("bots", "Rows of a user a day that make a bot.", "a table [bots]", is_table),
    Setting(
        "sources",
        "The kinds of raw files.",
        "at least one [sources.NAME]",
        is_filled_table,
        required=True,
    ),
)

MONEY_SETTINGS = (
    Setting(
        "reporting_currency",
        "All amounts come out in its minor units.",
        'an ISO code such as "EUR"',
        is_text,
        required=True,
    ),
    Setting("digits", "Decimal digits of its minor unit.", "0 to 4", is_whole(0, 4), 2),
    Setting(
        "rates",
        "What one unit of each other currency is worth.",
        'a table such as { USD = "0.92" }',
        is_table,
    ),
)

SOURCE_SETTINGS = (
    Setting(
        "files",
        "Path under the raw folder; `{day}` stands for YYYY-MM-DD, `*` for anything in one name.",
        "a path under the raw folder such as orders/{day}.csv, without .. or **",
        is_path,
        required=True,
    ),
    Setting(
        "format",
        "`csv`, `jsonl` (a JSON object per line), `json` (an array of objects), `parquet` or "
        "`xlsx` (Excel).",
        f"one of {', '.join(FORMATS)}",
        is_one_of(*FORMATS),
        required=True,
        landing=True,
    ),
    Setting(
        "columns",
        "Raw columns that expressions may name; all arrive as texts.",
        'a list of names such as ["id", "time"]',
        is_names,
        required=True,
        landing=True,
        cleaning=True,
    ),
    Setting(
        "tables",
        "The clean tables that it fills.",
        "at least one [sources.NAME.tables.TABLE]",
        is_filled_table,
        required=True,
    ),
    Setting(
        "missing",
        'For files with `{day}`: whether a day without a file is `"empty"` or a reason to '
        '`"stop"`.',
        "one of empty, stop",
        is_one_of("empty", "stop"),
        "stop",
    ),
    Setting(
        "lands_after_days",
        "For files with `{day}`: how many days after its name's a file arrives.",
        "0 to 365",
        is_whole(0, 365),
        0,
        landing=True,
    ),
    Setting(
        "landed_on",
        "For files without `{day}`: an expression that says on which day a row landed.",
        'a Spark SQL expression such as "to_date(time)"',
        is_expression,
        landing=True,
    ),
    Setting(
        "timezone",
        "Zone of times that carry no offset; without it they are UTC.",
        "a time zone such as Europe/Berlin",
        is_zone,
        cleaning=True,
    ),
    Setting(
        "time_format",
        "How times are written, tried in order: `iso`, `epoch_seconds`, `epoch_millis`, "
        "`epoch_micros`, or patterns such as `dd.MM.yyyy HH:mm`.",
        f"a list of {ISO}, {', '.join(EPOCHS)} and patterns with y, M and d, such as "
        '["dd.MM.yyyy HH:mm"]',
        is_time_formats,
        (ISO,),
        cleaning=True,
    ),
    Setting(
        "decimal",
        "What stands before the decimals of numbers: `.` or `,`; without it a point, and no "
        "currency signs.",
        'one of ".", ","',
        is_one_of(".", ","),
        cleaning=True,
    ),
    Setting(
        "thousands",
        "What groups the digits of numbers.",
        """one of ".", ",", " ", "'", "_\"""",
        is_one_of(".", ",", " ", "'", "_"),
        cleaning=True,
    ),
    STARS_SCALE,
    Setting(
        "encoding",
        "How text files are encoded: any of Python's text encodings, such as `latin-1`, "
        "`windows-1252`, `utf-16`.",
        "a text encoding such as latin-1 or utf-16",
        is_encoding,
        "utf-8",
        formats=("csv", "jsonl", "json"),
        landing=True,
    ),
    Setting(
        "separator",
        "What stands between cells: any text, such as `::`, or `whitespace` for runs of blanks.",
        'a text such as ";" or "::" without quotes and line ends, or "whitespace"',
        is_separator,
        ",",
        formats=("csv",),
        landing=True,
    ),
    Setting(
        "quote",
        "What stands around cells that hold separators; empty where a quote is a character like "
        "others.",
        "one character, or nothing",
        is_quote,
        '"',
        formats=("csv",),
        landing=True,
    ),
    Setting(
        "header",
        "Whether the first line names the columns; without one, `columns` names all in order.",
        "true or false",
        is_flag,
        True,
        formats=("csv", "xlsx"),
        landing=True,
    ),
    Setting(
        "multiline",
        "Whether quoted cells may hold line breaks.",
        "true or false",
        is_flag,
        False,
        formats=("csv",),
        landing=True,
    ),
    Setting(
        "sheet",
        "The sheet that is read; needed where a workbook has several.",
        "a sheet's name",
        is_text,
        formats=("xlsx",),
        landing=True,
    ),
    Setting(
        "null_values",
        "Texts of cells that mean that there is no value, blanks around them aside.",
        'a list of texts such as ["", "NULL"]',
        is_texts,
        NULL_VALUES,
        landing=True,
    ),
    Setting(
        "missing_key",
        'For a key of `columns` that no row of a file has: `"stop"`, or `"null"` if it may be '
        "left out.",
        "one of stop, null",
        is_one_of("stop", "null"),
        "stop",
        formats=("jsonl", "json"),
        landing=True,
    ),
    Setting(
        "max_undecodable_share",
        "The run stops when more than 10 rows of a file, and more than this share, are "
        "undecodable.",
        "0 to 1",
        is_share,
        0.01,
        landing=True,
    ),
)

TABLE_SETTINGS = (
    Setting(
        "where",
        "An expression: rows for which it is false are not meant for the table.",
        "a Spark SQL expression in quotes",
        is_expression,
        cleaning=True,
    ),
    Setting(
        "reject",
        "Rules of the mapping's own: rows for which `when` holds are quarantined as `reason`.",
        'a list such as [{ reason = "a test", when = "user = \'test\'" }]',
        is_rules,
        cleaning=True,
    ),
)

USER_SETTINGS = (
    Setting(
        "attributes",
        f"Of `users`: up to {MAX_ATTRIBUTES} further attributes, an expression each, such as "
        '`{ income = "band", segment = "lower(seg)" }`. They are categories: values of up to '
        f"{MAX_ATTRIBUTE_LENGTH} characters.",
        'a table of expressions such as { income = "band" }, with names of lower-case letters, '
        f"digits and underscores, at most {MAX_ATTRIBUTES}",
        is_attributes,
        cleaning=True,
    ),
)
"""What only the table `users` may say."""


def table_settings(table: str) -> tuple[Setting, ...]:
    """What may be said of a clean table besides its fields."""
    own = {"users": USER_SETTINGS, "reviews": (STARS_SCALE,)}
    return (*TABLE_SETTINGS, *own.get(table, ()))
