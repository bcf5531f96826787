"""Expressions that can be computed of whatever texts the raw columns hold.

Most of what mappings say is columns, strings, and functions and comparisons of texts, which need
not be computed under a function that catches errors. Spark reads a text as what it meets: beside
`false` it is cast to a boolean, beside 1 to a number, and under ANSI rules one cell that is none
stops the stage. So an expression counts as safe only if it can be read by the small grammar here,
in which texts meet texts alone, and conditions conditions; whatever it does not know may fail.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import Enum

from pyspark.sql import types as T

from jobs.mapping.tokens import Token, tokens

Path = tuple[str, ...]
"""A column, or a field of one: `each.sku`, in lower case."""


class _Kind(Enum):
    TEXT = "text"
    CONDITION = "condition"
    NULL = "null"


class _MayFailError(Exception):
    """What is read is not known to be safe."""


_OF_TEXTS = frozenset(
    {"lower", "upper", "trim", "ltrim", "rtrim", "concat", "concat_ws", "sha1", "md5", "replace",
     "initcap", "reverse", "get_json_object"}
)  # fmt: skip
"""Functions that give a text of any texts."""
_ONE_OF = frozenset({"coalesce", "nullif", "ifnull", "nvl"})
"""Functions that give one of their arguments."""
_WITH_NUMBERS = frozenset({"sha2", "substring", "substr", "left", "right"})
"""Functions of a text and of whole numbers, which stand there as digits."""
_KEYWORDS = frozenset(
    {"case", "when", "then", "else", "end", "is", "null", "not", "and", "or", "in", "like",
     "true", "false", "between"}
)  # fmt: skip
_COMPARISONS = frozenset({"=", "<>", "!=", "<", "<=", ">", ">="})
_LITERALS = frozenset({"date", "timestamp"})
_SMALL_NUMBER = re.compile(r"\d{1,9}")
_END = Token("end", "")


def texts_of(schema: T.StructType) -> frozenset[Path]:
    """The columns that are texts, and fields that are."""
    return frozenset(_texts(schema, ()))


def _texts(schema: T.StructType, above: Path) -> list[Path]:
    paths: list[Path] = []
    for field in schema.fields:
        path = (*above, field.name.lower())
        if isinstance(field.dataType, T.StructType):
            paths += _texts(field.dataType, path)
        elif isinstance(field.dataType, T.StringType):
            paths.append(path)
    return paths


def cannot_fail(text: str, texts: Collection[Path]) -> bool:
    """Whether it can be computed of whatever the columns `texts` hold."""
    listed = tokens(text)
    if [t.kind for t in listed] == ["word", "string"]:  # date'2025-01-31'
        return listed[0].text.lower() in _LITERALS
    reader = _Reader(listed, texts)
    try:
        reader.condition()
    except (_MayFailError, RecursionError):
        return False
    return reader.at_end


class _Reader:
    """Reads an expression from left to right; each method one rule, giving what kind it is of."""

    def __init__(self, listed: tuple[Token, ...], texts: Collection[Path]) -> None:
        self._left = [*reversed(listed)]
        self._texts = texts

    @property
    def at_end(self) -> bool:
        return not self._left

    def condition(self) -> _Kind:
        """Values joined by `or`, `and` and `not`, however they bind: all must be conditions."""
        kind = self._negated()
        while self._taken("and") or self._taken("or"):
            kind = _condition_of(kind, self._negated())
        return kind

    def _negated(self) -> _Kind:
        return _condition_of(self._negated()) if self._taken("not") else self._compared()

    def _compared(self) -> _Kind:
        kind = self._joined()
        if self._taken("is"):
            self._taken("not")
            self._need("null")
            return _Kind.CONDITION
        if self._next.kind == "sign" and self._next.text in _COMPARISONS:
            self._left.pop()
            _common(kind, self._joined())
            return _Kind.CONDITION
        negated = self._taken("not")
        if self._taken("in"):
            self._need("(")
            _common(kind, *self._arguments())
        elif self._taken("between"):
            least = self._joined()
            self._need("and")
            _common(kind, least, self._joined())
        elif self._taken("like"):
            _text_of(kind)
            if self._next.kind != "string" or "\\" in self._left.pop().text:
                raise _MayFailError
        elif negated:
            raise _MayFailError
        else:
            return kind
        return _Kind.CONDITION

    def _joined(self) -> _Kind:
        """Values joined by `||`."""
        kind = self._value()
        while self._taken("||"):
            kind = _text_of(kind, self._value())
        return kind

    def _value(self) -> _Kind:
        token = self._left.pop() if self._left else _END
        word = token.text.lower()
        if token.kind == "string":
            return _Kind.TEXT
        if token.kind == "sign" and word == "(":
            kind = self.condition()
            self._need(")")
            return kind
        if token.kind == "word" and word in _KEYWORDS:
            return self._of_keyword(word)
        if token.kind == "word" and self._taken("("):
            return self._called(word)
        if token.kind in ("word", "name"):
            return self._column(token)
        raise _MayFailError

    def _of_keyword(self, word: str) -> _Kind:
        if word == "null":
            return _Kind.NULL
        if word in ("true", "false"):
            return _Kind.CONDITION
        if word == "case":
            return self._case()
        raise _MayFailError

    def _case(self) -> _Kind:
        """`case when c then x else y end`, or `case x when y then z end`."""
        compared = None if self._next.text.lower() == "when" else self.condition()
        kinds = []
        while self._taken("when"):
            if compared is None:
                _condition_of(self.condition())
            else:
                _common(compared, self.condition())
            self._need("then")
            kinds.append(self.condition())
        if self._taken("else"):
            kinds.append(self.condition())
        self._need("end")
        return _common(*kinds)

    def _called(self, name: str) -> _Kind:
        if name in _WITH_NUMBERS:
            return self._with_numbers()
        if name in _OF_TEXTS:
            _text_of(*self._arguments())
            return _Kind.TEXT
        if name in _ONE_OF:
            return _common(*self._arguments())
        raise _MayFailError

    def _with_numbers(self) -> _Kind:
        _text_of(self.condition())
        while self._taken(","):
            if not self._left or not _SMALL_NUMBER.fullmatch(self._left.pop().text):
                raise _MayFailError
        self._need(")")
        return _Kind.TEXT

    def _arguments(self) -> list[_Kind]:
        """Values with commas between them, up to the bracket that closes."""
        kinds = [self.condition()]
        while self._taken(","):
            kinds.append(self.condition())
        self._need(")")
        return kinds

    def _column(self, token: Token) -> _Kind:
        path = [_name(token)]
        while self._taken("."):
            path.append(_name(self._left.pop() if self._left else _END))
        if tuple(path) not in self._texts:
            raise _MayFailError
        return _Kind.TEXT

    @property
    def _next(self) -> Token:
        return self._left[-1] if self._left else _END

    def _taken(self, text: str) -> bool:
        """Whether this word or sign comes next; it is read then."""
        if self._next.kind in ("word", "sign") and self._next.text.lower() == text:
            self._left.pop()
            return True
        return False

    def _need(self, text: str) -> None:
        if not self._taken(text):
            raise _MayFailError


def _name(token: Token) -> str:
    if token.kind not in ("word", "name"):
        raise _MayFailError
    quoted = token.kind == "name"
    return (token.text[1:-1].replace("``", "`") if quoted else token.text).lower()


def _common(*kinds: _Kind) -> _Kind:
    """What they all are, but for those that are null."""
    known = set(kinds) - {_Kind.NULL}
    if len(known) > 1:
        raise _MayFailError
    return known.pop() if known else _Kind.NULL


def _text_of(*kinds: _Kind) -> _Kind:
    _common(*kinds, _Kind.TEXT)
    return _Kind.TEXT


def _condition_of(*kinds: _Kind) -> _Kind:
    _common(*kinds, _Kind.CONDITION)
    return _Kind.CONDITION
