"""JSON values, one by one, of bytes as they come: side by side, or the elements of an array."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from jobs.landing.json_nesting import Nesting, UnclearError
from jobs.landing.lines import BLOCK, RawBytes
from jobs.mapping.raw_row import LONG_LINE, MAX_LINE, RunningHash, row_hash
from jobs.values.json_values import UndecodableError, scan

NOT_JSON = "not valid JSON"
TOO_DEEP = "JSON nested too deep"

_BLANKS = " \t\r\n\ufeff"
_BLANK = re.compile(f"[{_BLANKS}]*")
_END = 64
"""Bytes at the end of a file in which its array is closed."""
_ESCAPED = re.compile("[\udc80-\udcff]")
"""Bytes that could not be decoded."""


class Element(NamedTuple):
    """A JSON value of a file, or what stands where one should."""

    value: Any
    problem: str | None
    row_hash: str
    n_bytes: int
    """With the blanks and the comma before it."""
    has_escapes: bool = False
    is_unfinished: bool = False
    """Whether it ends where what was read ends, in the middle of a text, an object or an array."""
    is_rest: bool = False
    """Whether it is all that is left, as it cannot be told where it ends."""


class Elements:
    """JSON values of bytes as they come; no more is held than the longest value."""

    def __init__(self, pieces: Iterable[bytes], data: RawBytes):
        self._data, self._pieces = data, iter(pieces)
        self._decoder = codecs.getincrementaldecoder(data.encoding)("surrogateescape")
        self._text, self._at = "", 0
        """What was read, and from where on it belongs to no value yet."""
        self._ended = False
        self.n_fed = 0
        self.is_closed = False
        """Whether the array's closing bracket was seen."""

    def opening(self) -> str:
        """The next character that is not blank; none at the end."""
        while (at := self._after_blanks(self._at)) == len(self._text) and not self._ended:
            self._skip(at)
        return self._text[at : at + 1]

    def skip_opening(self) -> None:
        self._skip(self._after_blanks(self._at) + 1)

    def skip_blanks(self) -> None:
        self._skip(self._after_blanks(self._at))

    def read(self, between: str) -> Iterator[Element]:
        """Values side by side, or with commas between them up to a closing bracket.

        One that is broken reaches to where the brackets in it are closed; where that cannot be
        told, to the end, for what follows may be a part of it. Of one that is lost there is the
        comma.
        """
        is_first = True
        while not self.is_closed:
            if self._at > BLOCK:
                self._text, self._at = self._text[self._at :], 0
            at = self._after_blanks(self._at)
            character = self._text[at : at + 1]
            if between and not is_first and character == between:
                at = self._after_blanks(at + 1)
                character = self._text[at : at + 1]
            if not character:
                self._skip(at)
                if self._ended:
                    return
                continue
            if between and character == "]":
                self._skip(at + 1)
                self.is_closed = True
                return
            is_first = bool(between) and character == between  # where a value is lost
            yield self._element(at, in_array=bool(between))

    def _element(self, at: int, in_array: bool) -> Element:
        value, problem, end = self._value(at)
        follows = "" if end < 0 else self._text[(after := self._after_blanks(end)) : after + 1]
        if follows and follows not in (",]" if in_array else "{"):
            problem, end = NOT_JSON, -1
        if end < 0:
            return self._broken(at, in_array, problem or NOT_JSON)
        return self._element_of(at, end, value, problem)

    def _element_of(self, at: int, end: int, value: Any, problem: str | None) -> Element:
        text = self._text[at:end]
        raw = self._bytes(text)
        n_bytes = len(raw) + len(self._bytes(self._text[self._at : at]))
        self._at = end
        if len(raw) > MAX_LINE:
            value, problem = None, LONG_LINE
        elif _ESCAPED.search(text) is not None:
            value, problem = None, f"not valid {self._data.named}"
        elif problem is None and not isinstance(value, dict):
            problem = "not a JSON object"
        return Element(value, problem, row_hash(raw), n_bytes, "\\u" in text)

    def _value(self, at: int) -> tuple[Any, str | None, int]:
        """The value that begins there, or what is wrong with it; its end, or -1."""
        while True:
            try:
                value, end = scan(self._text, at)
            except UndecodableError as error:
                return None, str(error), -1
            except RecursionError:
                return None, TOO_DEEP, -1
            except json.JSONDecodeError as error:
                where = len(self._text) if error.msg.startswith("Unterminated") else error.pos
            except StopIteration as error:
                where = error.value
            else:
                return value, None, end
            # it may be whole once more of it is read
            if where < len(self._text) - 8 or not self._more():
                return None, NOT_JSON, -1

    def _broken(self, at: int, in_array: bool, problem: str) -> Element:
        """What cannot be decoded or is too long to be; of what is too long, the hash is kept."""
        nesting = Nesting(in_array)
        n_before = len(self._bytes(self._text[self._at : at]))
        hashed = RunningHash()
        to, is_end = at, False
        while not is_end:
            try:
                to, is_end = nesting.follow(self._text, to)
            except UnclearError:
                return self._rest(at, n_before, hashed)
            if is_end or self._more():
                continue
            if self._ended and nesting.is_open:
                rest = self._rest(at, n_before, hashed)
                return rest._replace(is_rest=False, is_unfinished=True)
            if self._ended:
                to = len(self._text)
                break
            hashed.add(self._bytes(self._text[at:to]))
            self._text, self._at, at, to = self._text[to:], 0, 0, 0
        if not hashed.n_bytes:
            end = at + len(self._text[at:to].rstrip(_BLANKS))
            return self._element_of(at, end, None, problem)
        hashed.add(self._bytes(self._text[at:to]))
        self._at = to
        return Element(None, LONG_LINE, str(hashed), n_before + hashed.n_bytes)

    def _rest(self, at: int, n_before: int, hashed: RunningHash) -> Element:
        """All that is left, of which only the hash is kept."""
        is_json = hashed.n_bytes > 0 or self._text.startswith(("{", "["), at)
        hashed.add(self._bytes(self._text[at:]))
        hashed.add(self._decoder.getstate()[0])
        last = self._bytes(self._text[at:][-_END:])
        for piece in self._pieces:
            self.n_fed += len(piece)
            hashed.add(piece)
            last = (last + piece)[-_END:]
        self.is_closed = last.rstrip().endswith(b"]")
        self._text, self._at, self._ended = "", 0, True
        is_long_line = hashed.n_bytes > MAX_LINE and not is_json
        problem = LONG_LINE if is_long_line else NOT_JSON
        return Element(None, problem, str(hashed), n_before + hashed.n_bytes, is_rest=True)

    def _after_blanks(self, at: int) -> int:
        while True:
            match = _BLANK.match(self._text, at)
            at = at if match is None else match.end()
            if at < len(self._text) or not self._more():
                return at

    def _more(self) -> bool:
        """Read as much again as is held; False if there is no more, or enough is held."""
        held = len(self._text) - self._at
        if self._ended or held > MAX_LINE:
            return False
        texts, n = [self._text], 0
        while n <= held and not self._ended:
            piece = next(self._pieces, None)
            self._ended = piece is None
            self.n_fed += len(piece or b"")
            texts.append(self._decoder.decode(piece or b"", self._ended))
            n += len(texts[-1])
        self._text = "".join(texts)
        return n > 0

    def _skip(self, end: int) -> None:
        """What stands before `end` is no row's."""
        self._data.n_skipped += len(self._bytes(self._text[self._at : end]))
        self._at = end

    def _bytes(self, text: str) -> bytes:
        return text.encode(self._data.encoding, "surrogateescape")
