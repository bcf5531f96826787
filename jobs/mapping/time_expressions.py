"""Expressions that give times: which read a local time, and which give an instant.

Spark reads texts without an offset in the session's zone, UTC, and calls the outcome a timestamp,
as if it were an instant. In a source with a `timezone` it is a local time, so what an expression
means follows from the calls that it is made of; where it does not, the expression is refused. That
is where Spark would compute something else in another session's zone, but for calls that we know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from contracts.values import has_zone, is_time_format
from jobs.mapping.expressions import shown
from jobs.mapping.tokens import Token, tokens

_READS = frozenset({"to_timestamp", "try_to_timestamp", "to_timestamp_ltz"})
_MAKES = frozenset({"make_timestamp", "try_make_timestamp", "make_timestamp_ltz"})
_READS_NTZ = frozenset({"to_timestamp_ntz", "try_to_timestamp_ntz"})
_MAKES_NTZ = frozenset({"make_timestamp_ntz", "try_make_timestamp_ntz"})
_READS_DAYS = frozenset({"to_date", "try_to_date"})
_COUNTS_SECONDS = frozenset({"unix_timestamp", "to_unix_timestamp"})
_ADDS = frozenset({"timestampadd", "dateadd", "date_add"})
"""With three arguments: a unit, how many of it, and a time."""
_INTERVALS = frozenset(
    {"make_interval", "try_make_interval", "make_dt_interval", "make_ym_interval"}
)
_NO_DAYS = frozenset({"hour", "minute", "second", "millisecond", "microsecond"})
"""Units that begin at the same instant whatever the zone."""
_PARSES = frozenset({"from_json", "from_csv"})
_CASTS = frozenset({"cast", "try_cast"})
_TYPES = frozenset({"timestamp", "timestamp_ltz"})
_CONVERTS = frozenset({"to_utc_timestamp", "from_utc_timestamp", "convert_timezone"})
"""What stands inside them is of the zone that they name."""
_OF_EPOCHS = frozenset({"timestamp_seconds", "timestamp_millis", "timestamp_micros"})
_NUMBERS = frozenset(
    {"tinyint", "smallint", "int", "integer", "bigint", "long", "float", "real", "double",
     "decimal", "numeric", *_OF_EPOCHS}
)  # fmt: skip
_ZONED_PARTS = 7
"""Arguments of `make_timestamp` with which the last one is a zone."""
_LOCAL = "cast(date_from_unix_date({}) as timestamp_ntz)"
_TIME_TYPE = r"(?i)\b(?:date|timestamp\w*|variant)\s*(?:[,>]|$)"
_AS_SPARK_WRITES = "yyyy-MM-dd HH:mm:ss"


@dataclass(frozen=True)
class _Call:
    """A function's name, where the call begins and ends, and its arguments."""

    name: str
    start: int
    end: int
    arguments: tuple[tuple[Token, ...], ...]

    def of(self, text: str) -> str:
        return text[self.start : self.end]

    @property
    def pattern(self) -> str | None:
        """Its last argument, if that is a text in quotes."""
        last = self.arguments[-1]
        if len(last) != 1 or last[0].kind != "string" or last[0].text[0] in "rR":
            return None
        return re.sub(r"\\(.)", r"\1", last[0].text[1:-1])


def as_meant(expression: str) -> str:
    """A time's expression, with the type telling whether it is an instant.

    A call that reads a local time gives a `timestamp_ntz`; one around all of it that only reads a
    text is left out, for the text is read better by us.
    """
    inner = _only_read(expression)
    if inner is not None:
        return as_meant(inner)
    return _replaced(expression, lambda call: f"cast({call} as timestamp_ntz)")


def without_local_times(expression: str) -> str | None:
    """The expression with nulls for the calls that read local times; None if there are none.

    What type is left tells whether it also gives instants, or texts that may say their offset.
    """
    inner = _only_read(expression)
    if inner is not None:
        return without_local_times(inner)
    if not any(_is_local(call) for call in _calls(expression)):
        return None
    return _replaced(expression, lambda call: "null")


def unclear(expression: str) -> str | None:
    """Which part of it Spark computes in the session's zone, and what to write; None if that is
    not known."""
    inner = _only_read(expression)
    if inner is not None:
        return unclear(inner)
    calls = tuple(_calls(expression))
    for call in calls:
        if call.name in _COUNTS_SECONDS and len(call.arguments) == 2 and _is_without_zone(call):
            written = "the text alone"
            if is_time_format(call.pattern or ""):
                written += f' and time_format = ["{call.pattern}"]'
            return f"{shown(call.of(expression))} {_AS_UTC}: give {written}"
    for call in calls:
        where = shown(call.of(expression))
        if call.name in _CONVERTS:
            continue
        if call.name in _READS and (len(call.arguments) == 1 or call.pattern is None):
            return f"{where} {_AS_UTC}: give the text alone, or a pattern in quotes"
        if call.name == "timestamp" or (call.name in _CASTS and _casts(call) in _TYPES):
            return f"{where} {_AS_UTC}: give the text alone"
        if call.name in ("from_unixtime", "date_format") and _loses_zone(call):
            return f"{where} gives UTC as a text that does not say so: write timestamp_seconds(…)"
    listed, nothing = tokens(expression), Token("sign", "")
    befores, afters = (nothing, *listed), (*listed[1:], nothing)
    for before, token, after in zip(befores, listed, afters, strict=False):
        if token.text.lower() in _TYPES and (before.text == ":" or after.kind == "string"):
            return f"{shown(expression)} {_AS_UTC}: give the text alone"
    return None


def without_known_zones(expression: str) -> str:
    """The expression without what Spark computes in the session's zone though its meaning is clear:
    stand-ins of the same type, over the same arguments.

    What is left is clear if it means the same in every session's zone, and has the same type.
    """
    inner = _only_read(expression)
    if inner is not None:
        return without_known_zones(inner)
    return _without_intervals(_with_stand_ins(expression))


def adds_intervals(expression: str) -> bool:
    """Whether it adds or takes away intervals: of a text Spark makes a time for that, and a text
    again, so that the type does not tell."""
    return _without_intervals(expression) != expression


def _with_stand_ins(expression: str) -> str:
    replaced, done = "", 0
    for call in _calls(expression):
        if call.start < done or not all(call.arguments):
            continue
        of = [_with_stand_ins(expression[a[0].at : a[-1].end]) for a in call.arguments]
        stand_in = _stand_in(call, of)
        if stand_in is not None:
            replaced, done = replaced + expression[done : call.start] + stand_in, call.end
    return replaced + expression[done:]


def _stand_in(call: _Call, of: Sequence[str]) -> str | None:
    """Another call over the arguments `of`, of the same type and in no zone; None if it is not
    known what the call means.

    `length` asks for a text, `unix_micros` for an instant: where they are given something else, a
    zone or an error shows.
    """
    name, n = call.name, len(of)
    if name in _CONVERTS:
        return _LOCAL.format("1") if name == "convert_timezone" else "timestamp_seconds(1)"
    if name in _MAKES | _MAKES_NTZ:
        is_local = name in _MAKES_NTZ or n < _ZONED_PARTS
        return (_LOCAL if is_local else "timestamp_seconds({})").format(f"hash({', '.join(of)})")
    if name in _ADDS and n == 3:
        return f"if(hash({of[1]}) = 0, {of[2]}, {of[2]})"
    if name == "date_trunc" and n == 2 and of[0].strip("'\"").lower() in _NO_DAYS:
        return of[1]
    if name == "from_unixtime" and not _loses_zone(call):
        return f"cast(hash({of[0]}) as string)"
    if n < 2 or call.pattern is None:
        return None
    if name in _PARSES and not re.search(_TIME_TYPE, call.pattern):
        is_type = re.match(r"(?i)\s*(?:struct|array|map)\s*<", call.pattern)
        type_ = call.pattern if is_type else f"struct<{call.pattern}>"
        return f"if(length({of[0]}) = 0, null, cast(null as {type_}))"
    number, zoned = f"length({of[0]})", has_zone(call.pattern)
    if name == "date_format":
        return f"cast(unix_micros({of[0]}) as string)" if zoned else None
    if name in _READS and zoned:
        return f"timestamp_seconds({number})"
    if name in _READS | _READS_NTZ and not zoned:
        return _LOCAL.format(number)
    if name in _READS_DAYS and not zoned:
        return f"date_from_unix_date({number})"
    if name in _COUNTS_SECONDS and zoned:
        return f"cast({number} as bigint)"
    return None


def _without_intervals(expression: str) -> str:
    """The expression without intervals that are added or taken away: so many hours after an instant
    are an instant, and after a local time a local time."""
    listed = tokens(expression)
    kept, done, i = "", 0, 0
    while i < len(listed) - 1:
        end = _end_of_interval(listed, i + 1) if listed[i].text in ("+", "-") else None
        if end is None:
            i += 1
            continue
        kept, done, i = kept + expression[done : listed[i].at], listed[end - 1].end, end
    return kept + expression[done:]


def _end_of_interval(listed: tuple[Token, ...], first: int) -> int | None:
    """Behind the last word of an interval that begins there; None if none does."""
    word = listed[first].text.lower()
    if word in _INTERVALS:
        _, end = _arguments(listed, first + 2)
        return next((i + 1 for i, token in enumerate(listed) if token.end == end), None)
    if word != "interval":
        return None
    i = first + 1
    while i < len(listed) - 1:
        signed = i + 1 if listed[i].text == "-" else i
        if listed[signed].kind not in ("number", "string"):
            break
        i = signed + 2
    if i < len(listed) - 1 and listed[i].text.lower() == "to":
        i += 2
    return i if i > first + 1 else None


_AS_UTC = "reads what has no offset as UTC, not as of the source's timezone"


def _replaced(expression: str, local: Callable[[str], str]) -> str:
    replaced, done = "", 0
    for call in _calls(expression):
        if call.start < done:
            continue
        text = call.of(expression)
        if _is_local(call):
            new = local(text)
        elif call.name == "from_unixtime" and _is_plain_unix(call):
            new = f"concat({text}, 'Z')"
        else:
            continue
        replaced, done = replaced + expression[done : call.start] + new, call.end
    return replaced + expression[done:]


def _is_local(call: _Call) -> bool:
    if call.name in _MAKES:
        return len(call.arguments) < _ZONED_PARTS
    if call.name not in _READS or len(call.arguments) == 1:
        return False
    return call.pattern is not None and not has_zone(call.pattern)


def _is_without_zone(call: _Call) -> bool:
    return call.pattern is None or not has_zone(call.pattern)


def _is_plain_unix(call: _Call) -> bool:
    return len(call.arguments) == 1 or call.pattern == _AS_SPARK_WRITES


def _loses_zone(call: _Call) -> bool:
    if call.name == "from_unixtime" and _is_plain_unix(call):
        return False
    if call.pattern is not None and has_zone(call.pattern):
        return False
    called = {token.text.lower() for token in call.arguments[0]}
    return call.name == "from_unixtime" or bool(called & _OF_EPOCHS)


def _casts(call: _Call) -> str:
    """The type that a cast names; none for one with parameters."""
    words = [token.text.lower() for token in call.arguments[-1][-2:]]
    return words[1] if len(words) == 2 and words[0] == "as" else ""


def _only_read(expression: str) -> str | None:
    """The text that an expression reads as a time and nothing else; None if it does more."""
    listed = tokens(expression)
    call = next(_calls(expression), None)
    if call is None or (call.start, call.end) != (listed[0].at, listed[-1].end):
        return None
    if call.name in _CASTS and _casts(call) in _TYPES:
        inner = call.arguments[0][:-2]
    elif call.name in {*_READS, "timestamp"} and len(call.arguments) == 1:
        inner = call.arguments[0]
    else:
        return None
    is_number = any(t.text.lower() in _NUMBERS or t.text in "+*/%" for t in inner)
    return None if is_number or not inner else expression[inner[0].at : inner[-1].end]


def _calls(expression: str) -> Iterator[_Call]:
    """Calls from left to right, outer ones first; not those inside of what names its own zone."""
    listed = tokens(expression)
    done = 0
    for i, token in enumerate(listed[:-1]):
        is_name = token.kind in ("word", "name")
        is_call = is_name and listed[i + 1].text == "(" and token.at >= done
        if not is_call or (i > 0 and listed[i - 1].text == "."):
            continue
        arguments, end = _arguments(listed, i + 2)
        if end is None:
            return
        name = token.text.strip("`").lower()
        if name in _CONVERTS:
            done = end
        yield _Call(name, token.at, end, arguments)


def _arguments(
    listed: tuple[Token, ...], first: int
) -> tuple[tuple[tuple[Token, ...], ...], int | None]:
    """What stands between commas up to the closing bracket, and where that ends."""
    depth = 1
    arguments: list[tuple[Token, ...]] = []
    current: list[Token] = []
    for token in listed[first:]:
        if token.kind == "sign" and token.text in "([":
            depth += 1
        elif token.kind == "sign" and token.text in ")]":
            depth -= 1
            if not depth:
                return (*arguments, tuple(current)), token.end
        if depth == 1 and token.text == "," and token.kind == "sign":
            arguments.append(tuple(current))
            current = []
        else:
            current.append(token)
    return (), None
