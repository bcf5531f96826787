"""JSON, strictly: an object per line, several on one line, or all of them in one array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from contracts.values import masked
from jobs.landing.file_kind import looks_like
from jobs.landing.json_elements import NOT_JSON, TOO_DEEP, Element, Elements
from jobs.landing.lines import LongLine, RawBytes, lines
from jobs.mapping.columns import is_among, listed
from jobs.mapping.element_keys import SeenKeys, absent_message
from jobs.mapping.raw_row import (
    BLANKS,
    CUT_OFF,
    LONG_CELL,
    LONG_LINE,
    MAX_CELL,
    MAX_LINE,
    TOO_LONG,
    Row,
    UnreadableError,
    is_null_in_disguise,
    row_hash,
    without_nulls,
)
from jobs.mapping.sources import Source
from jobs.values.json_values import as_text, reach, scan

MAX_KEYS = 30
"""Keys of a file that a message lists."""

NOT_JSON_TO_THE_END = f"{NOT_JSON}, nor can it be told where it ends: all behind it is left out"
LONG_OBJECT = f"{TOO_LONG}an object of more than {MAX_LINE:,} bytes"
ARRAY = (
    "line {} is an array of {:,} values, where JSON lines have one object on each: write each on a "
    "line of its own"
)
BY_COLUMNS = (
    "is a table column by column, as to_json() of pandas writes it; orient = 'records' writes rows"
)
HALF_PAIR = "half a pair of surrogates"


def json_line_rows(data: RawBytes, source: Source, picked: Picked | None = None) -> Iterator[Row]:
    """Every object of a file with one on each line, or several on some."""
    picked = picked or Picked(source, data)
    encoding, columns, nulls = data.encoding, source.columns, picked.nulls
    n_more = 0  # objects that stand on a line behind another: each counts as a line
    is_array = data.unlike(source.format) is not None
    joined = ""  # what is wrong with a line that has many rows in it, as if it were one
    is_any_good = False
    for number, raw, n in lines(data):
        if isinstance(raw, LongLine):
            n_objects = 0
            for row in _long_line_rows(raw, number + n_more, data, picked):
                yield row
                n_objects += 1
            n_more += max(n_objects - 1, 0)
            continue
        try:
            text = raw.decode(encoding)
            record, end = scan(text, 0)
            is_one = end == len(text) <= MAX_CELL and type(record) is dict
        except (ValueError, StopIteration, RecursionError):
            is_one = False
        if not is_one:
            n_objects = 0
            between = "" if is_array else _between(raw, encoding)
            for row, value in _line_rows((number + n_more, raw, n), between, data, picked):
                yield row
                n_objects += 1
                is_any_good |= row.problem is None
                if isinstance(value, list) and sum(isinstance(one, dict) for one in value) > 1:
                    joined = joined or ARRAY.format(row.line, len(value))
            n_more += max(n_objects - 1, 0)
            continue
        is_any_good = True
        if picked.is_noting:
            picked.note(record)
        try:
            fields = picked.fields(record) if picked.nested else _texts(record, columns, nulls)
        except RecursionError:
            yield Row(number + n_more, row_hash(raw), None, TOO_DEEP, n)
            continue
        if "\\u" in text and not _is_unicode(fields):
            yield Row(number + n_more, row_hash(raw), None, HALF_PAIR, n)
        else:
            yield Row(number + n_more, row_hash(raw), fields, None, n)
    if joined and is_any_good:
        raise UnreadableError(joined)
    picked.check()


def _texts(
    record: Mapping[str, Any], columns: Sequence[str], nulls: Collection[str]
) -> list[str | None]:
    """The values of an object's own keys as texts, null where they mean that there is none."""
    return [
        (
            None
            if value.strip(BLANKS) in nulls
            or (not value.isascii() and is_null_in_disguise(value, nulls))
            else value
        )
        if isinstance(value, str)
        else as_text(value)
        for value in map(record.get, columns)
    ]


def _long_line_rows(line: LongLine, number: int, data: RawBytes, picked: Picked) -> Iterator[Row]:
    """The objects of a line that is read in pieces."""
    elements = Elements(line, data)
    for place, element in enumerate(elements.read("")):
        yield picked.row(number + place, element)
    data.n_skipped += line.n_bytes - elements.n_fed


_SEPARATOR = b"\x1e"
"""Before each object of a JSON text sequence (RFC 7464)."""


def _line_rows(
    line: tuple[int, bytes, int], between: str, data: RawBytes, picked: Picked
) -> Iterator[tuple[Row, Any]]:
    """What stands on a line that is not one object, or not at once: rows and their values."""
    number, raw, n = line
    n_ends, n_before = n - len(raw), data.n_skipped
    rest = raw.lstrip(_SEPARATOR)
    data.n_skipped += len(raw) - len(rest)
    elements = Elements((rest,), data)
    n_elements = claimed = 0
    for element in elements.read(between):
        if element.is_unfinished and n_ends == 0:
            element = element._replace(problem=CUT_OFF)
        yield picked.row(number + n_elements, element, n_ends), element.value
        claimed += element.n_bytes + n_ends
        n_elements += 1
        n_ends = 0
    data.n_skipped += n_ends  # of a line that holds nothing, such as a byte-order mark
    left = n - n_ends - claimed - (data.n_skipped - n_before)
    if left > 0:  # behind a bracket that closes no array
        yield Row(number + n_elements, row_hash(raw[-left:]), None, NOT_JSON, left), None


def _between(raw: bytes, encoding: str) -> str:
    """What stands between the objects of a line: nothing, or commas, as where a file is what is
    inside of an array. Behind a comma of an object that lost its bracket stands a key."""
    try:
        text = raw.decode(encoding).lstrip(_BLANK)
        record, end = scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return "," if raw.rstrip().endswith(b",") else ""
    behind = text[end:].lstrip(_BLANK)
    is_next = behind[:1] == "," and behind[1:].lstrip(_BLANK)[:1] in ("", "{")
    return "," if isinstance(record, dict) and is_next else ""


_BLANK = BLANKS + "\ufeff"


def json_rows(data: RawBytes, source: Source, picked: Picked | None = None) -> Iterator[Row]:
    """Every object of a file that is one array, or objects side by side; numbered from 1."""
    picked = picked or Picked(source, data)
    elements = Elements(iter(data.read, b""), data)
    opening = elements.opening()
    if opening not in ("", "[", "{"):
        kind = looks_like(data.head)
        raise UnreadableError("is no JSON" + (f": it looks like {kind}" if kind else ""))
    in_array = opening == "["
    if in_array:
        elements.skip_opening()
    for number, element in enumerate(elements.read("," if in_array else ""), start=1):
        if element.is_rest:
            element = element._replace(problem=NOT_JSON_TO_THE_END)
        elif element.is_unfinished and not in_array:
            element = element._replace(problem=CUT_OFF)
        elif element.problem == LONG_LINE:
            element = element._replace(problem=LONG_OBJECT)
        yield picked.row(number, element)
    if in_array and not elements.is_closed:
        raise UnreadableError("its array is never closed: the file is cut off")
    if elements.opening():
        raise UnreadableError(
            "more follows behind the end of its array: a bracket is missing or one too many, or "
            "several arrays were joined; mend or split the file"
        )
    elements.skip_blanks()
    picked.check()


class Picked:
    """The values of a source's columns, and which of its keys no row had."""

    def __init__(self, source: Source, data: RawBytes):
        self._data, self._format = data, source.format
        self.nulls = frozenset(source.null_values)
        self.nested = any("." in column for column in source.columns)
        self._columns = source.columns
        stops = source.missing_key == "stop"
        self.unseen = set(source.columns) if stops else set()
        """Columns whose key no row has had yet."""
        self._absent: set[str] = set()
        """Those of them which some row could have had: whose path ends in no null."""
        self._none_seen = True
        """Whether no row had any key of the columns yet."""
        self.elements = (
            {column: SeenKeys(paths) for column, paths in source.element_paths.items()}
            if stops
            else {}
        )
        """Of columns with an array the keys of its elements."""
        self.is_noting = self._must_note()
        """Whether a key is still to be seen."""
        self._keys: Counter[tuple[str, str]] = Counter()
        """In how many rows a key was: what it stands in, or nothing, and the key."""
        self._n_records = 0

    def row(self, line: int, element: Element, n_ends: int = 0) -> Row:
        fields, problem = None, element.problem
        if problem is None:
            if self.is_noting:
                self.note(element.value)
            try:
                fields = self.fields(element.value)
            except RecursionError:
                return Row(line, element.row_hash, None, TOO_DEEP, element.n_bytes + n_ends)
            if element.has_escapes and not _is_unicode(fields):
                fields, problem = None, HALF_PAIR
            elif (
                element.n_bytes > MAX_CELL and max(len(field or "") for field in fields) > MAX_CELL
            ):
                fields, problem = None, LONG_CELL
        return Row(line, element.row_hash, fields, problem, element.n_bytes + n_ends)

    def fields(self, record: dict[str, Any]) -> list[str | None]:
        texts = [as_text(reach(record, column)[0]) for column in self._columns]
        return without_nulls(texts, self.nulls)

    def note(self, record: dict[str, Any]) -> None:
        """Note which keys a row has."""
        for column, keys in self.elements.items():
            keys.note(reach(record, column)[0])
        if self.unseen or self._none_seen:
            self._note(record)
        self.is_noting = self._must_note()

    def _must_note(self) -> bool:
        is_absent = bool(self.unseen) or self._none_seen
        return is_absent or any(keys.unseen for keys in self.elements.values())

    def _note(self, record: dict[str, Any]) -> None:
        if self._n_records == 0 and _is_by_columns([record.get(name) for name in self._columns]):
            raise UnreadableError(BY_COLUMNS)
        self._n_records += 1
        self._count("", record)
        for column in self._columns if self._none_seen else sorted(self.unseen):
            if reach(record, column)[1]:
                self.unseen.discard(column)
                self._none_seen = False
                continue
            parent = column.rpartition(".")[0]
            inner = reach(record, parent)[0] if parent else None
            if isinstance(inner, dict):
                self._count(f"{parent}.", inner)
            if _ends_in_null(record, column):
                self._none_seen = False
            else:
                self._absent.add(column)

    def _count(self, parent: str, keys: Iterable[str]) -> None:
        for key in keys:
            if len(self._keys) < MAX_KEYS or (parent, key) in self._keys:
                self._keys[parent, key] += 1

    def check(self) -> None:
        """Refuse a file of which no row, or no element, has a key that the mapping names."""
        absent = absent_message(self.elements)
        if absent is not None:
            raise UnreadableError(absent)
        absent = self.absent_columns("no row") or self._nothing_message()
        if absent is not None:
            kind = self._data.unlike(self._format) if self._format == "jsonl" else None
            raise UnreadableError(absent + (f"; it looks like {kind}" if kind else ""))

    def absent_columns(self, none: str) -> str | None:
        """Which keys none of the rows had, which they had, and what to do; None if none is absent,
        or there was no row."""
        absent = self.unseen & self._absent
        if not absent:
            return None
        return (
            f"{none} has the key {', '.join(sorted(absent))}; the keys there are "
            f'{self._all_shown()}; if rows may lack it, say missing_key = "null" in the mapping'
        )

    def _nothing_message(self) -> str | None:
        """That no row had any of the keys, though each may be missing."""
        if not self._none_seen or not self._n_records:
            return None
        return (
            f"no row has any of the keys {', '.join(sorted(self._columns))}; the keys there are "
            f"{self._all_shown()}"
        )

    def _all_shown(self) -> str:
        shown = [self._shown(parent, key) for parent, key in sorted(self._keys)]
        return ", ".join(shown) or "none"

    def _shown(self, parent: str, key: str) -> str:
        """A key, if it is one for sure: it stands beside one that the mapping names, or in two rows
        and at least half of all. Else its shape, for an object may be keyed by people."""
        below = [c.removeprefix(parent) for c in self._columns if c.startswith(parent)]
        expected = [*below, *(path.partition(".")[0] for path in below)]
        beside = [other for of, other in self._keys if of == parent]
        n = self._keys[parent, key]
        is_key = is_among(expected, beside) or (n > 1 and n * 2 >= self._n_records)
        return parent + (listed([key]) if is_key else masked(key))


def _is_by_columns(values: Sequence[Any]) -> bool:
    """Whether each value is a whole column: all are arrays, or all are objects, of one size."""
    if len(values) < 2 or not isinstance(values[0], list | dict) or len(values[0]) < 2:
        return False
    of = type(values[0])
    return all(isinstance(value, of) and len(value) == len(values[0]) for value in values)


def _ends_in_null(record: dict[str, Any], column: str) -> bool:
    """Whether a path leads to a null, which says nothing of the keys below it."""
    value: Any = record
    for key in column.split("."):
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
        if value is None:
            return True
    return False


def _is_unicode(fields: Sequence[str | None]) -> bool:
    """Whether the texts can be written at all: JSON may escape half a pair of surrogates."""
    try:
        for field in fields:
            (field or "").encode()
    except UnicodeEncodeError:
        return False
    return True
