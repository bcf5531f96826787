"""Expressions of a mapping: what they may say, and how a cell that they cannot be computed of costs
its own row instead of the run.

ANSI mode is on, so that a wrong number never becomes a silent null: a cast of a bad cell, a
division by zero, a place past the end of an array raise. A mapping's expressions are therefore
computed under a function that catches what its argument raises, and gives null: Spark has it for
single functions (`try_cast`, `try_divide`), and `try_to_binary` catches whatever stands inside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from contracts.errors import UsageError
from jobs.mapping.clock_words import CLOCK_WORD, clock_word_read, typed_clock_word
from jobs.mapping.columns import nearest
from jobs.mapping.text_expressions import cannot_fail, texts_of
from jobs.mapping.tokens import Token, tokens
from jobs.values.times import written_day

MAX_SHOWN = 80
"""Characters of an expression that a message shows."""
MANY = (T.ArrayType, T.MapType, T.StructType)
"""Types of more than one value."""
_NO_CONSTANTS = ("where", "each", "landed_on", "reject[", "lookups.")
"""How the places begin of expressions that ask about the row; the others are what it says."""
_NULL = "\x00null\x00"
"""Stands for an expression that is null, where null stands for one that cannot be computed."""
_CHANGES = "gives something else each time, so that a night that is run again would differ"
_CLOCK = "asks the clock; use a time that stands in the row"
_WHERE = "says where it is computed, not what the row holds"
REFUSED = (
    dict.fromkeys(
        ("rand", "randn", "random", "randstr", "uniform", "shuffle", "aes_encrypt"), _CHANGES
    )
    | dict.fromkeys(
        ("uuid", "monotonically_increasing_id"),
        f"{_CHANGES}; make an id of columns, such as sha2(concat_ws('-', id, at), 256)",
    )
    | dict.fromkeys(
        ("now", "curdate", "current_date", "current_time", "current_timestamp", "localtimestamp"),
        _CLOCK,
    )
    | dict.fromkeys(
        (
            "user", "current_user", "session_user", "current_catalog", "current_database",
            "current_schema", "current_timezone", "version", "spark_partition_id",
            "input_file_name", "input_file_block_start", "input_file_block_length",
        ),
        _WHERE,
    )
    | dict.fromkeys(("reflect", "java_method", "try_reflect"), "calls code outside Spark SQL")
)  # fmt: skip
"""Functions that no expression may call, and why."""
_WITHOUT_BRACKETS = frozenset(
    {
        "user", "current_user", "session_user", "current_catalog", "current_database",
        "current_schema", "current_date", "current_time", "current_timestamp", "localtimestamp",
    }
)  # fmt: skip
"""Those that Spark also calls where no column has their name."""


@dataclass(frozen=True)
class Expression:
    """A text of the mapping, and the column that it fills."""

    place: str
    """Where it stands below its source or table: `quantity`, `reject[0]`."""
    text: str
    column: str = ""
    written: str = ""
    """As it stands there, if something else is computed for it."""

    @property
    def failed(self) -> str:
        """The reason of a row of which it cannot be computed."""
        return f"{self.place}: {shown(self.written or self.text)} cannot be computed"


def shown(text: str) -> str:
    """An expression on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "…"


def refusal(text: str, columns: Collection[str]) -> str | None:
    """Why an expression is refused that Spark would compute; None if it is not."""
    known = {column.lower() for column in columns}
    listed = tokens(text)
    after = (*listed[1:], Token("sign", ""))
    before = (Token("sign", ""), *listed[:-1])
    typed = typed_clock_word(text)
    if typed is not None:
        return f"{typed} {CLOCK_WORD}"
    for token, previous, following in zip(listed, before, after, strict=True):
        if token.kind not in ("word", "name") or previous.text == ".":
            continue
        word, called = token.text.strip("`").lower(), following.text == "("
        if called and word in REFUSED:
            return f"{word}() {REFUSED[word]}"
        if word in _WITHOUT_BRACKETS and word not in known and not called:
            return f"no column {token.text}: Spark's own {word} {REFUSED[word]}"
        if called and word == "over":
            return "looks at other rows (over); an expression sees one row"
        if token.text.lower() == "select" and previous.text == "(":
            return "asks a query (select); an expression sees one row"
    if re.search(r"unix_timestamp`?\s*\(\s*\)", text, re.IGNORECASE):
        return f"unix_timestamp() {_CLOCK}"
    return None


def _as_text(value: Column) -> Column:
    return value.cast("string")


def tried(text: str, as_text: Callable[[Column], Column] = _as_text) -> Column:
    """The expression's value as bytes of a text; null where it cannot be computed.

    Rows that could not be decoded are left out: they have a reason already. The condition also
    keeps Spark from computing what several expressions share outside of the try. Bytes that are no
    text cannot be computed either: Spark makes one sign of them all, and of two ids one.
    """
    value = F.coalesce(F.validate_utf8(as_text(F.expr(text))), F.lit(_NULL))
    return F.try_to_binary(F.when(F.col("_landed.problem").isNull(), value), F.lit("utf-8"))


def read_back(value: Column, type_: T.DataType | str) -> Column:
    """What `tried` gave, as the type that the expression has."""
    text = F.nullif(F.decode(value, "UTF-8"), F.lit(_NULL))
    if isinstance(type_, (T.StringType, T.NullType, *MANY)):
        return text
    return text.try_cast(type_)


def evaluated(rows: DataFrame, of: Sequence[Expression], where: str) -> DataFrame:
    """The rows' `_landed`, a column for each expression, and in `_failed` why one of them cannot be
    computed.

    Raises:
        UsageError: an expression is not valid over the raw columns.
    """
    types = examined(rows, of)
    problems = [f"{where}.{problem}" for problem in types if isinstance(problem, str)]
    if problems:
        raise UsageError("\n".join(problems))
    texts = texts_of(rows.schema)
    first, second, failed = [], [], [F.lit(None).cast("string")]
    for i, (expression, type_) in enumerate(zip(of, types, strict=True)):
        if cannot_fail(expression.text, texts):
            first.append(F.expr(expression.text).alias(expression.column))
            second.append(F.col(expression.column))
            continue
        attempt = F.col(f"_try_{i}")
        first.append(tried(expression.text).alias(f"_try_{i}"))
        second.append(read_back(attempt, type_).alias(expression.column))
        unreadable = F.col("_landed.problem").isNull() & attempt.isNull()
        failed.append(F.when(unreadable, F.lit(expression.failed)))
    return rows.select("_landed", *first).select(
        "_landed", *second, F.coalesce(*failed).alias("_failed")
    )


def day_of(text: str) -> Column:
    """The day that an expression says; null where it cannot be computed or says none."""
    return written_day(F.decode(tried(text), "UTF-8"))


def examined(rows: DataFrame, of: Sequence[Expression]) -> list[T.DataType | str]:
    """The type of each expression over raw columns, or what is wrong with it and what may be
    written instead."""
    columns = [name for name in rows.columns if name != "_landed"]
    try:
        types: Sequence[T.DataType | None] = _analysed(rows, [e.text for e in of])
    except (ParseException, AnalysisException):
        types = [None] * len(of)
    return [_examined(rows, e, columns, type_) for e, type_ in zip(of, types, strict=True)]


def _examined(
    rows: DataFrame, expression: Expression, columns: Sequence[str], type_: T.DataType | None
) -> T.DataType | str:
    why = refusal(expression.text, columns)
    if why is not None:
        why += _as_constant(expression, columns)
    else:
        try:
            result = type_ or _analysed(rows, [expression.text])[0]
        except (ParseException, AnalysisException) as error:
            why = explanation(error, expression, columns)
        else:
            word = clock_word_read(rows, expression.text)
            if word is None:
                return result
            why = f"{word} {CLOCK_WORD}"
    return f"{expression.place}: {shown(expression.text)}: {why}"


def _analysed(rows: DataFrame, texts: Sequence[str]) -> list[T.DataType]:
    """Their types. A condition may hold neither aggregates nor what makes several rows of one."""
    if not texts:
        return []
    condition = F.lit(True)
    for text in texts:
        condition = condition & F.expr(text).isNull()
    rows.where(condition).schema  # noqa: B018  resolving it is the check
    return [field.dataType for field in rows.select(*map(F.expr, texts)).schema]


def explanation(
    error: ParseException | AnalysisException, expression: Expression, columns: Sequence[str]
) -> str:
    """Spark's complaint in a sentence, and what to write instead."""
    condition = error.getCondition() or ""
    parameters = error.getMessageParameters() or {}
    words = {token.text.strip("`").lower() for token in tokens(expression.text)}
    named = [column for column in columns if column.lower() in words]
    if condition.startswith("UNRESOLVED_COLUMN"):
        name = parameters.get("objectName", "").replace("`", "")
        instead = _instead(name, expression, columns)
        return f"no column {name}; the source's columns are {', '.join(columns)}{instead}"
    if condition == "FIELD_NOT_FOUND":
        name = parameters.get("fieldName", "").strip("`")
        fields = parameters.get("fields", "").replace("`", "")
        like = nearest(name, fields.split(", "))
        return f"no {name} in a column that has {fields}" + (f"; is it {like}?" if like else "")
    if condition.startswith("UNRESOLVED_ROUTINE"):
        name = parameters.get("routineName", "").replace("`", "")
        return f"no function {name}"
    if condition == "PARSE_SYNTAX_ERROR":
        near = parameters.get("error", "")
        return (
            f"not an expression of Spark SQL, near {near}; a column whose name is a keyword or "
            "has other signs than letters, digits and underscores needs backticks"
            + _as_constant(expression, columns)
        )
    is_explosion = condition.startswith("DATATYPE_MISMATCH") and not words.isdisjoint(_EXPLODING)
    if condition.startswith("UNSUPPORTED_GENERATOR") or is_explosion:
        several = "makes several rows of one; an expression gives one value"
        return several + _as_each(expression, columns)
    if condition == "INVALID_WHERE_CONDITION" or "AGGREGATE" in condition:
        return "counts or looks at several rows; an expression sees one row"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    sentence = re.sub(r"^\[[A-Z_.]+\] ?|\s*SQLSTATE: \w+.*$", "", lines[0]) if lines else condition
    if condition.startswith("DATATYPE_MISMATCH") and named:
        return (
            f"{sentence} Every raw column is text: convert it first, such as "
            f"try_cast({named[0]} as decimal(18, 6))"
        )
    return sentence


def _as_each(expression: Expression, columns: Sequence[str]) -> str:
    """How to make several rows of one, which a table says once for all of its expressions."""
    place, array = expression.place, _exploded(expression.text)
    if place == "landed_on" or place.startswith("lookups"):
        return ""
    each = f'each = "{shown(array or "…")}"'
    if place == "each":
        return f"; it needs the array alone: {each}"
    if "each" in columns:
        return "; what its table has several of is its each, one array alone"
    here = ""
    if array is not None and _may_be_constant(place):
        here = f' and {place.rpartition(".")[2]} = "each"'
    return f"; where a row holds several facts, say of its table {each}{here}"


_EXPLODING = frozenset(
    {"explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "inline_outer"}
)
"""Functions that make rows of an array."""


def _exploded(text: str) -> str | None:
    """The array of which an expression makes rows, if it does nothing else."""
    listed = tokens(text)
    depths = list(accumulate((one.text == "(") - (one.text == ")") for one in listed[1:]))
    is_call = len(listed) > 3 and listed[0].text.lower() in _EXPLODING and listed[1].text == "("
    if not is_call or depths.index(0) < len(depths) - 1:
        return None
    return text[listed[1].end : listed[-1].at].strip()


def _as_written(column: str) -> str:
    """A column's name in an expression."""
    return column if re.fullmatch(r"[A-Za-z_]\w*", column) else f"`{column}`"


def _instead(name: str, expression: Expression, columns: Sequence[str]) -> str:
    """What may have been meant by a name that no column has."""
    like = nearest(name, columns)
    if like is not None:
        return f"; is it {_as_written(like)}?"
    is_word = [token.kind for token in tokens(name)] == ["word"]
    quoted = f"; a text needs quotes: '{name}'" if is_word else ""
    return _as_constant(expression, columns) or quoted


def _as_constant(expression: Expression, columns: Sequence[str]) -> str:
    """How to write an expression of bare words as a constant: `currency = "EUR"` names a column."""
    listed = tokens(expression.text)
    known = {column.lower() for column in columns}
    is_bare = all(token.kind in ("word", "number") or token.text == "-" for token in listed)
    is_column = any(token.text.lower() in known for token in listed)
    if not listed or not is_bare or is_column or not _may_be_constant(expression.place):
        return ""
    setting = expression.place.rpartition(".")[2]
    return f"; a constant needs inner quotes: {setting} = \"'{shown(expression.text)}'\""


def _may_be_constant(place: str) -> bool:
    """Whether a constant makes sense there: as a field or an attribute."""
    return not place.startswith(_NO_CONSTANTS)
