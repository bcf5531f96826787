"""Where JSON that cannot be decoded ends, as its brackets tell where it is sure which these are."""

from __future__ import annotations

import re

_SIGN = re.compile(
    r"""[ \t\r\n\ufeff]*+(?:([\[{])|([\]}])|([,:])|(")|([^ \t\r\n\ufeff\[\]{},:"'\\/]++))?"""
)
_OPENING, _CLOSING, _BETWEEN, _QUOTE, _WORD = range(1, 6)
_IN_TEXT = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_PAIRS = {"]": "[", "}": "{"}


class UnclearError(ValueError):
    """A quote or a bracket is one too many or too few, so that it is open what stands in texts."""


class Nesting:
    """How deep the brackets of a value are nested, as its text comes.

    A quote that is lost makes texts of what stands between texts. Then a text has another one, or a
    word, right beside it, which none has in JSON: what is a bracket can no longer be told. A number
    that is none, a key without a value or a comma too many leave that in no doubt.
    """

    def __init__(self, in_array: bool):
        self._in_array = in_array
        """Whether the value ends with a comma or the array, or where another begins beside it."""
        self._open = bytearray()
        self._has_begun = self._in_text = self._in_word = False
        self._behind_scalar = False
        """Whether a text, number or other word came last."""

    @property
    def is_open(self) -> bool:
        """Whether it is in the middle of a text, an object or an array."""
        return self._in_text or bool(self._open)

    def follow(self, text: str, at: int) -> tuple[int, bool]:
        """From `at` on as far as the text goes, and whether the value ends there.

        Raises:
            UnclearError: it is no longer sure what is a bracket.
        """
        while at < len(text):
            if self._in_text:
                at = _IN_TEXT.match(text, at).end()  # type: ignore[union-attr]
                if text[at : at + 1] != '"':
                    return at, False
                self._in_text = False
                at += 1
                continue
            match = _SIGN.match(text, at)
            kind = match and match.lastindex
            if not match or (not kind and match.end() < len(text)):
                raise UnclearError
            if kind:
                sign = match[kind]
                if not self._open and self._ends_before(kind, sign):
                    # a comma with no value before it is all that stands there: no row is nothing
                    return match.start(kind) if self._has_begun else match.end(), True
                self._take(kind, sign, is_next=match.start(kind) == at)
            at = match.end()
            self._in_word = kind == _WORD and at == len(text)
        return at, False

    def _ends_before(self, kind: int, sign: str) -> bool:
        """Whether the value, all of whose brackets are closed, ends before a sign."""
        if self._in_array:
            return sign in (",", "]")
        if sign != "{" and (self._has_begun or kind != _OPENING):
            raise UnclearError
        return self._has_begun

    def _take(self, kind: int, sign: str, is_next: bool) -> None:
        if kind in (_QUOTE, _WORD):
            if self._behind_scalar and not (kind == _WORD and self._in_word and is_next):
                raise UnclearError
            self._in_text = kind == _QUOTE
        elif kind == _OPENING:
            if self._behind_scalar:
                raise UnclearError
            self._open += sign.encode()
        elif kind == _CLOSING and (not self._open or chr(self._open.pop()) != _PAIRS[sign]):
            raise UnclearError
        self._behind_scalar = kind in (_QUOTE, _WORD)
        self._has_begun = True
