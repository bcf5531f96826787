"""JSON, strictly: an object per line, several on one line, or all of them in one array."""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from contracts.values import masked
from jobs.element_keys import SeenKeys
from jobs.json_values import UndecodableError, as_text, is_unfinished, reach, scan
from jobs.raw_columns import is_among, listed
from jobs.raw_kind import looks_like
from jobs.raw_lines import BLOCK, LongLine, RawBytes, lines
from jobs.raw_row import (
    BLANKS,
    CUT_OFF,
    LONG_CELL,
    LONG_LINE,
    MAX_CELL,
    MAX_LINE,
    Row,
    UnreadableError,
    hash_of_pieces,
    row_hash,
    without_nulls,
)
from jobs.sources import Source

MAX_KEYS = 30
"""Keys of a file that a message lists."""

NOT_JSON = "not valid JSON"
TOO_DEEP = "JSON nested too deep"
HALF_PAIR = "half a pair of surrogates"

_BLANK = re.compile(r"[ \t\r\n\ufeff]*")
_BETWEEN = {"": re.compile(r"\}\s*(?=\{)"), ",": re.compile(r"\}\s*,\s*(?=\{)")}
"""Where one object ends and the next begins: side by side, or in an array."""
_CLOSING = re.compile(r"\}\s*\]\s*\Z")
BOUNDARY = 64
"""Characters that what is between two objects has at most."""
_ESCAPED = re.compile("[\udc80-\udcff]")
"""Bytes that could not be decoded."""


def json_line_rows(data: RawBytes, source: Source) -> Iterator[Row]:
    """Every object of a file with one on each line, or several on some."""
    picked = _Picked(source, data)
    encoding, columns, nulls = data.encoding, source.columns, picked.nulls
    n_more = 0  # objects that stand on a line behind another: each counts as a line
    for number, raw, n in lines(data):
        if isinstance(raw, LongLine):
            pieces, n_found = _Pieces(raw, data), 0
            for found in pieces.elements(""):
                yield picked.row(number + n_more + n_found, found)
                n_found += 1
            n_more += max(n_found - 1, 0)
            data.n_skipped += raw.n_bytes - pieces.n_fed
            continue
        try:
            text = raw.decode(encoding)
            record, end = scan(text, 0)
            is_one = end == len(text) <= MAX_CELL and type(record) is dict
        except (ValueError, StopIteration, RecursionError):
            is_one = False
        if not is_one:
            n_ends, n_found = n - len(raw), 0
            for found in _Pieces((raw,), data).elements(""):
                if found.is_unfinished and n == len(raw):
                    found = found._replace(problem=CUT_OFF)
                yield picked.row(number + n_more + n_found, found, n_ends)
                n_found += 1
                n_ends = 0
            n_more += max(n_found - 1, 0)
            data.n_skipped += n_ends  # of a line that holds nothing, such as a byte-order mark
            continue
        if picked.is_looking:
            picked.look(record)
        try:
            if picked.nested:
                fields = picked.fields(record)
            else:
                fields = [
                    (None if value.strip(BLANKS) in nulls else value)
                    if isinstance(value, str)
                    else as_text(value)
                    for value in map(record.get, columns)
                ]
        except RecursionError:
            yield Row(number + n_more, row_hash(raw), None, TOO_DEEP, n)
            continue
        if "\\u" in text and not _is_unicode(fields):
            yield Row(number + n_more, row_hash(raw), None, HALF_PAIR, n)
        else:
            yield Row(number + n_more, row_hash(raw), fields, None, n)
    picked.check()


def json_rows(data: RawBytes, source: Source) -> Iterator[Row]:
    """Every object of a file that is one array, or objects side by side; numbered from 1."""
    picked = _Picked(source, data)
    pieces = _Pieces(iter(data.read, b""), data)
    opening = pieces.opening()
    if opening not in ("", "[", "{"):
        kind = looks_like(data.head)
        raise UnreadableError("is no JSON" + (f": it looks like {kind}" if kind else ""))
    in_array = opening == "["
    if in_array:
        pieces.skip_opening()
    for number, found in enumerate(pieces.elements("," if in_array else ""), start=1):
        if found.problem == LONG_LINE:
            raise UnreadableError(f"its object {number} has more than {MAX_LINE:,} bytes")
        if found.is_unfinished and not in_array:
            found = found._replace(problem=CUT_OFF)
        yield picked.row(number, found)
    if in_array and not pieces.is_closed:
        raise UnreadableError("its array is never closed: the file is cut off")
    picked.check()


class _Element(NamedTuple):
    """A JSON value of a file, or what stands where one should."""

    value: Any
    problem: str | None
    row_hash: str
    n_bytes: int
    """With the blanks and the comma before it."""
    has_escapes: bool = False
    is_unfinished: bool = False
    """Whether it ends where what was read ends, in the middle of a text, an object or an array."""


class _Pieces:
    """JSON values, read from bytes as they come; no more is held than the longest value."""

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
        """The first character that is not blank; none for an empty file."""
        at = self._after_blanks(0)
        return self._text[at : at + 1]

    def skip_opening(self) -> None:
        self._skip(self._after_blanks(0) + 1)

    def elements(self, between: str) -> Iterator[_Element]:
        """Values side by side, or with commas between them up to a closing bracket.

        One that is broken reaches to where the next object begins.
        """
        is_first = True
        while True:
            if self._at > BLOCK:
                self._text, self._at = self._text[self._at :], 0
            at = self._after_blanks(self._at)
            character = self._text[at : at + 1]
            if not character:
                self._skip(at)
                return
            is_sound = not self.is_closed
            if between and is_sound and not is_first and character == between:
                at = self._after_blanks(at + 1)
                character = self._text[at : at + 1]
            elif between and is_sound and not is_first and character != "]":
                is_sound = False
            if between and is_sound and character == "]":
                self._skip(at + 1)
                self.is_closed = True
                continue
            is_first = False
            yield self._element(at, between, is_sound)

    def _element(self, at: int, between: str, is_sound: bool) -> _Element:
        value: Any = None
        problem: str | None = NOT_JSON
        end = -1
        if is_sound:
            value, problem, end = self._value(at)
            follows = "" if end < 0 else self._text[(after := self._after_blanks(end)) : after + 1]
            if problem is None and follows and follows not in (",]" if between else "{"):
                problem, end = NOT_JSON, -1
        if end < 0:
            value, end = None, self._end_of_broken(at, between)
            if end < 0:
                return self._rest(at)
        text = self._text[at:end]
        raw = self._bytes(text)
        n_bytes = len(raw) + len(self._bytes(self._text[self._at : at]))
        self._at = end
        if _ESCAPED.search(text) is not None:
            value, problem = None, f"not valid {self._data.named}"
        elif problem is None and not isinstance(value, dict):
            problem = "not a JSON object"
        is_last = self._ended and end == len(self._text)
        is_open = is_last and problem is not None and is_unfinished(text)
        return _Element(value, problem, row_hash(raw), n_bytes, "\\u" in text, is_open)

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

    def _end_of_broken(self, at: int, between: str) -> int:
        """Where the next object begins; the end, if there is none; -1 if that is too far."""
        start = at + 1
        while (boundary := _BETWEEN[between].search(self._text, start)) is None:
            start = max(start, len(self._text) - BOUNDARY)
            if not self._more():
                if not self._ended:
                    return -1
                closing = _CLOSING.search(self._text, start) if between else None
                return len(self._text) if closing is None else closing.start() + 1
        return boundary.start() + 1

    def _rest(self, at: int) -> _Element:
        """All that is left, of which only the hash is kept."""
        self._skip(at)
        n_bytes = 0

        def left() -> Iterator[bytes]:
            nonlocal n_bytes
            pending = self._decoder.getstate()[0]
            for piece in (self._bytes(self._text[at:]), pending):
                n_bytes += len(piece)
                yield piece
            for piece in self._pieces:
                self.n_fed += len(piece)
                n_bytes += len(piece)
                yield piece

        hashed = hash_of_pieces(left())
        self._text, self._at, self._ended = "", 0, True
        return _Element(None, LONG_LINE, hashed, n_bytes)

    def _after_blanks(self, at: int) -> int:
        while True:
            found = _BLANK.match(self._text, at)
            at = at if found is None else found.end()
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


class _Picked:
    """The values of a source's columns, and which of its keys no row had."""

    def __init__(self, source: Source, data: RawBytes):
        self._data, self._format = data, source.format
        self.nulls = frozenset(source.null_values)
        self.nested = any("." in column for column in source.columns)
        self._columns = source.columns
        stops = source.missing_key == "stop"
        self.unseen = set(source.columns) if stops else set()
        """Columns whose key no row has had yet."""
        self.elements = (
            {column: SeenKeys(paths) for column, paths in source.element_paths.items()}
            if stops
            else {}
        )
        """Of columns with an array the keys of its elements."""
        self.is_looking = self._is_looking()
        """Whether a key is still to be seen."""
        self._keys: Counter[tuple[str, str]] = Counter()
        """In how many rows a key was: what it stands in, or nothing, and the key."""
        self._n_records = 0

    def row(self, line: int, found: _Element, n_ends: int = 0) -> Row:
        fields, problem = None, found.problem
        if problem is None:
            if self.is_looking:
                self.look(found.value)
            try:
                fields = self.fields(found.value)
            except RecursionError:
                return Row(line, found.row_hash, None, TOO_DEEP, found.n_bytes + n_ends)
            if found.has_escapes and not _is_unicode(fields):
                fields, problem = None, HALF_PAIR
            elif found.n_bytes > MAX_CELL and max(len(field or "") for field in fields) > MAX_CELL:
                fields, problem = None, LONG_CELL
        return Row(line, found.row_hash, fields, problem, found.n_bytes + n_ends)

    def fields(self, record: dict[str, Any]) -> list[str | None]:
        texts = [as_text(reach(record, column)[0]) for column in self._columns]
        return without_nulls(texts, self.nulls)

    def look(self, record: dict[str, Any]) -> None:
        """Note which keys a row has."""
        for column, keys in self.elements.items():
            keys.look(reach(record, column)[0])
        if self.unseen:
            self._look(record)
        self.is_looking = self._is_looking()

    def _is_looking(self) -> bool:
        return bool(self.unseen) or any(keys.unseen for keys in self.elements.values())

    def _look(self, record: dict[str, Any]) -> None:
        self._n_records += 1
        self._count("", record)
        for column in sorted(self.unseen):
            if reach(record, column)[1]:
                self.unseen.discard(column)
            elif "." in column:
                parent = column.rpartition(".")[0]
                inner = reach(record, parent)[0]
                if isinstance(inner, dict):
                    self._count(f"{parent}.", inner)

    def _count(self, parent: str, keys: Iterable[str]) -> None:
        for key in keys:
            if len(self._keys) < MAX_KEYS or (parent, key) in self._keys:
                self._keys[parent, key] += 1

    def check(self) -> None:
        """Refuse a file of which no row, or no element, has a key that the mapping names."""
        told = [keys.told(column) for column, keys in self.elements.items() if keys.are_absent]
        if told:
            raise UnreadableError(
                f"{'; '.join(told)}; if elements may lack it, "
                'say missing_key = "null" in the mapping'
            )
        if self.unseen and self._n_records:
            shown = [self._shown(parent, key) for parent, key in sorted(self._keys)]
            kind = self._data.unlike(self._format) if self._format == "jsonl" else None
            raise UnreadableError(
                f"no row has the key {', '.join(sorted(self.unseen))}; the keys there are "
                f"{', '.join(shown) or 'none'}; if rows may lack it, "
                'say missing_key = "null" in the mapping'
                + (f"; it looks like {kind}" if kind else "")
            )

    def _shown(self, parent: str, key: str) -> str:
        """A key, if it is one for sure: it stands beside one that the mapping names, or in two rows
        and at least half of all. Else its shape, for an object may be keyed by people."""
        below = [c.removeprefix(parent) for c in self._columns if c.startswith(parent)]
        expected = [*below, *(path.partition(".")[0] for path in below)]
        beside = [other for of, other in self._keys if of == parent]
        n = self._keys[parent, key]
        is_key = is_among(expected, beside) or (n > 1 and n * 2 >= self._n_records)
        return parent + (listed([key]) if is_key else masked(key))


def _is_unicode(fields: Sequence[str | None]) -> bool:
    """Whether the texts can be written at all: JSON may escape half a pair of surrogates."""
    try:
        for field in fields:
            (field or "").encode()
    except UnicodeEncodeError:
        return False
    return True
