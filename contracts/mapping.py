"""What a mapping may say: each key once, with what it may hold and what it does.

A new setting of a source is a row of `SOURCE_SETTINGS` and a field of
`jobs.mapping.sources.Source`. Those of clean tables stand in `contracts/table_settings.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.sources import NULL_VALUES
from contracts.values import (
    EPOCHS,
    ISO,
    is_encoding,
    is_expression,
    is_filled_table,
    is_flag,
    is_names,
    is_one_of,
    is_path,
    is_quote,
    is_scale,
    is_separator,
    is_share,
    is_table,
    is_text,
    is_texts,
    is_time_formats,
    is_whole,
    is_zone,
    shown,
)

FORMATS = ("csv", "jsonl", "json", "parquet", "xlsx")


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


STARS_SCALE = Setting(
    "stars_scale",
    "Of `reviews`: the least and the most that may be given, such as `[0, 10]`. 1 to 5 stars are "
    "made of it, evenly and rounded half up; fractions are allowed.",
    "two whole numbers, the lower one first, such as [0, 10]",
    is_scale,
    cleaning=True,
)

MAPPING_SETTINGS = (
    Setting("name", "What the data is called; a home belongs to one.", "a text", is_text),
    Setting("money", "The reporting currency and rates.", "a table [money]", is_table),
    Setting("text", "How texts are normalised.", "a table [text]", is_table),
    Setting("bots", "Rows of a user a day that make a bot.", "a table [bots]", is_table),
    Setting(
        "lookups",
        "Small files whose rows are joined to raw rows by key.",
        "at least one [lookups.NAME]",
        is_filled_table,
    ),
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
    Setting(
        "digits",
        "Decimal digits of its minor unit; without it those of ISO 4217.",
        "0 to 4",
        is_whole(0, 4),
    ),
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
        "Path under the raw folder; `{day}` stands for YYYY-MM-DD, `*` for anything in one name, "
        "but what begins with a dot and marks of Spark such as `_SUCCESS`.",
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
        "lookups",
        "Lookups that its tables' expressions may name, each with the expression that gives the "
        'key: `{ campaigns = "campaign_no" }`.',
        'a table of expressions such as { campaigns = "campaign_no" }',
        is_filled_table,
        (),
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
        f"a list of {ISO}, {', '.join(EPOCHS)} and patterns with y, M and d, offsets as X or Z and "
        'no days of the week, such as ["dd.MM.yyyy HH:mm"]',
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
        "Texts of cells, and of elements of `each`, that mean that there is no value, blanks "
        "around them aside.",
        'a list of texts such as ["", "NULL"]',
        is_texts,
        NULL_VALUES,
        landing=True,
        cleaning=True,
    ),
    Setting(
        "missing_key",
        'For a key of `columns`, or of elements of `each`, that no row of a file has: `"stop"`, or '
        '`"null"` if it may be left out.',
        "one of stop, null",
        is_one_of("stop", "null"),
        "stop",
        formats=("jsonl", "json", "parquet"),
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
