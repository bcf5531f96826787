"""CSV and its kin, strictly: a quote stands around a cell or is doubled inside one, or it costs its
own row."""

from __future__ import annotations

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from operator import itemgetter
from typing import NamedTuple

from contracts.counts import n_of
from jobs.landing.advice import (
    declared_separator,
    encoding_advice,
    separator_of_header,
    separator_of_row,
)
from jobs.landing.cells import StrayQuoteError, blank_separated, padded_edges, splitter
from jobs.landing.file_kind import HTML, looks_like
from jobs.landing.line_ends import check_first_line, check_no_row
from jobs.landing.lines import Line, LongLine, RawBytes, is_blank, lines, with_its_end
from jobs.landing.quotes import Reading, are_indented, reading
from jobs.mapping.columns import Header, header_places, is_among
from jobs.mapping.raw_row import (
    CUT_OFF,
    HEADER_AGAIN,
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
from jobs.mapping.sources import Source

MAX_RECORD_LINES = MAX_CELL
"""Lines that one quoted record may span; beyond it, its quote was never closed."""

MAX_JUDGED_LINES = 1000
"""First lines of a record by which it is told from rows between two stray quotes. Where it has
more, and they may be either, they are rows."""

MAX_CHARACTER = 4
"""Bytes of a character."""

MAX_FIRST_LINES = 100
"""Lines that are looked at to see how the file separates cells."""

STRAY_QUOTE = "a quote is not closed or not escaped"
LINE_BREAK = "a cell with a line break; multiline = true reads it"
UNCLEAR_QUOTES = (
    "its quotes make one cell of lines that may be rows by themselves; close or double them"
)

_CSV_LIMIT = 131_072
"""Characters of a cell beyond which Python's parser refuses it, for the whole process."""


class _Record(NamedTuple):
    """A row of several lines."""

    raw: bytes
    """All of them as they stand in the file, but for the end of the last."""
    cells: list[str]
    is_unclear: bool
    """Whether its lines may be rows by themselves."""


def csv_rows(data: RawBytes, source: Source) -> Iterator[Row]:
    """Every row of a CSV file, in the order of `source.columns`."""
    return _Reader(data, source).rows()


class _Reader:
    def __init__(self, data: RawBytes, source: Source):
        self.data, self.source = data, source
        self.nulls = frozenset(source.null_values)
        self.quote = source.quote.encode(data.encoding)
        self.separator = None if source.separator == "whitespace" else source.separator
        self.blank_separator = (self.separator or "").encode(data.encoding)
        if not self.blank_separator.isspace():
            self.blank_separator = b""
        """The separator, if a line of nothing else is not blank."""
        self.indented: bool | None = None
        """Whether cells have a blank before them, where the first lines tell."""
        self.split_quoted = splitter(source.separator, source.quote)
        self.width = len(source.columns)
        self.header = Header(source.columns, source.columns, range(self.width))
        self.pick: Callable[[list[str]], list[str]] | None = None
        """Chooses the cells of `source.columns`, where the file has others or another order."""
        self.is_looked_into = False
        """Whether a line was held against other separators."""

    def rows(self) -> Iterator[Row]:
        if not self.source.header and looks_like(self.data.head) == HTML:
            raise UnreadableError(f"looks like {HTML}, such as servers send instead of a file")
        every = self._begun(lines(self.data, self.source.multiline, self.blank_separator))
        beginnings = self._without_blanks(every) if self.source.multiline else every
        if self.source.header and not self._read_header(beginnings):
            return
        encoding, separator, quote = self.data.encoding, self.separator, self.source.quote
        width, pick, nulls = self.width, self.pick, self.nulls
        edges, at, names = padded_edges(separator), self.header.at, self.header.cells
        for number, raw, n in beginnings:
            if isinstance(raw, LongLine):
                hashed = hash_of_pieces(raw)
                yield Row(number, hashed, None, LONG_LINE, raw.n_bytes)
                continue
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError as error:
                yield Row(number, row_hash(raw), None, self._undecodable(raw, n, error), n)
                continue
            if quote and quote in text:
                cells = self._quoted_cells(text)
                if cells is None:
                    yield from self._of_quotes((number, raw, n), every)
                    continue
            elif separator is None:
                cells = blank_separated(text)
            else:
                cells = text.split(separator)
            if len(cells) != width or len(raw) > MAX_CELL or cells[at] in names:
                yield self._row(number, raw, n, cells)
                continue
            if pick is not None:
                cells = pick(cells)
            fields: list[str | None]
            if nulls.isdisjoint(cells) and text.isascii() and not edges(text):
                fields = cells  # type: ignore[assignment]
            else:
                fields = without_nulls(cells, nulls)
            yield Row(number, row_hash(raw), fields, None, n)

    def _begun(self, every: Iterator[Line]) -> Iterator[Line]:
        """The lines, after a look at the first ones.

        Raises:
            UnreadableError: its lines end otherwise than here.
        """
        first: list[Line] = []
        for line in islice(every, MAX_FIRST_LINES):
            first.append(line)
            if isinstance(line[1], LongLine) or (self.quote and line[1].count(self.quote) % 2):
                break
        if self.quote:
            raws = [raw for _, raw, _ in first if isinstance(raw, bytes)]
            texts = [raw.decode(self.data.encoding, "replace") for raw in raws]
            self.indented = are_indented(map(self._split, texts), self.source.quote)
        if len(first) == 1 and not isinstance(first[0][1], LongLine):
            first += islice(every, 1)
        if first and self.source.header and self._declares_separator(first[0][1]):
            self.data.n_skipped += first.pop(0)[2]
        if first and (self.source.header or len(first) == 1):
            raw = first[0][1]
            if isinstance(raw, bytes):
                check_first_line(raw, self.quote)
            elif self.source.header:  # whatever ends in it, it is no row
                check_first_line(self.data.head, b"")
        return chain(first, every)

    def _declares_separator(self, raw: bytes | LongLine) -> bool:
        """Whether a line only says to Excel what stands between cells.

        Raises:
            UnreadableError: it is another separator than the source's.
        """
        text = raw.decode(self.data.encoding, "replace") if isinstance(raw, bytes) else ""
        said = declared_separator(text)
        if said is not None and said != self.source.separator:
            raise UnreadableError(
                f"its first line says {text}; separator = {json.dumps(said)} reads it"
            )
        return said is not None

    def _is_row(self, raw: bytes) -> bool:
        try:
            return len(self._cells(raw)) == self.width
        except (StrayQuoteError, UnicodeDecodeError):
            return False

    def _is_blank(self, raw: bytes | LongLine) -> bool:
        return is_blank(raw, self.blank_separator)

    def _split(self, text: str) -> list[str]:
        """Cells as if quotes were characters like others."""
        return blank_separated(text) if self.separator is None else text.split(self.separator)

    def _without_blanks(self, every: Iterator[Line]) -> Iterator[Line]:
        """Lines on which a row may begin."""
        for line in every:
            if self._is_blank(line[1]):
                self.data.n_skipped += line[2]
            else:
                yield line

    def _undecodable(self, raw: bytes, n: int, error: UnicodeDecodeError) -> str:
        is_cut = n == len(raw) and error.start + MAX_CHARACTER > len(raw)
        return CUT_OFF if is_cut else self._not_valid

    @property
    def _not_valid(self) -> str:
        return f"not valid {self.source.encoding}"

    @property
    def _seems(self) -> str:
        kind = self.data.unlike("csv")
        return f"; it looks like {kind}" if kind else ""

    def _seems_of_first(self, text: str) -> str:
        """What the file looks like, or which separator its first line has, if it is no header."""
        separated = separator_of_row(text, self.source, len(self.source.columns))
        return self._seems or (f"; it {separated}" if separated else "")

    def _row(self, number: int, raw: bytes, n: int, cells: list[str]) -> Row:
        hashed = row_hash(raw)
        if len(cells) != self.width:
            self._look_for_separator(raw)
            check_no_row(raw, self._is_row)
            is_cut = n == len(raw) and len(cells) < self.width
            wrong = f"expected {n_of(self.width, 'field')}, found {len(cells)}"
            problem = CUT_OFF if is_cut else wrong
            return Row(number, hashed, None, problem, n)
        if cells[self.header.at] in self.header.cells and self.header.is_again(cells, number):
            return Row(number, hashed, None, HEADER_AGAIN, n)
        chosen = cells if self.pick is None else self.pick(cells)
        if len(raw) > MAX_CELL and max(map(len, chosen)) > MAX_CELL:
            return Row(number, hashed, None, LONG_CELL, n)
        return Row(number, hashed, without_nulls(chosen, self.nulls), None, n)

    def _look_for_separator(self, raw: bytes) -> None:
        """Say which one the file seems to have, going by its first line of another width."""
        if not self.is_looked_into:
            self.is_looked_into = True
            text = raw.decode(self.data.encoding)
            self.data.seems = separator_of_row(text, self.source, self.width)

    def _quoted_cells(self, text: str) -> list[str] | None:
        """The cells of a whole record with quotes, where Python's quick parser is sure of them.

        It takes a quote inside a cell without quotes for a character.
        """
        quote = self.source.quote
        if self.separator is None or len(self.separator) > 1 or len(text) > _CSV_LIMIT:
            return None
        try:
            cells = next(csv.reader([text], delimiter=self.separator, quotechar=quote, strict=True))
        except csv.Error:
            return None
        return None if quote in "".join(cells) else cells

    def _of_quotes(self, first: Line, every: Iterator[Line]) -> Iterator[Row]:
        """The rows of a line with quotes, and of the lines that its open quote reaches.

        A quote that is never closed costs its own line only: the lines after it are read again.
        """
        again: deque[Line] = deque([first])
        while again:
            number, raw, n = again.popleft()
            if self._is_blank(raw):
                self.data.n_skipped += n
                continue
            if isinstance(raw, LongLine):
                yield Row(number, hash_of_pieces(raw), None, LONG_LINE, raw.n_bytes)
                continue
            try:
                yield self._row(number, raw, n, self._cells(raw))
            except UnicodeDecodeError as error:
                yield Row(number, row_hash(raw), None, self._undecodable(raw, n, error), n)
            except StrayQuoteError:
                taken, joined = self._joined((number, raw, n), again, every)
                if joined is None:
                    check_no_row(raw, self._is_row)
                    again.extendleft(reversed(taken[1:]))
                    is_cut = n == len(raw) and raw.count(self.quote) % 2 == 1
                    yield Row(number, row_hash(raw), None, CUT_OFF if is_cut else STRAY_QUOTE, n)
                elif self.source.multiline and not joined.is_unclear:
                    n = sum(line[2] for line in taken)
                    yield self._row(number, joined.raw, n, joined.cells)
                else:
                    problem = UNCLEAR_QUOTES if joined.is_unclear else LINE_BREAK
                    for number, raw, n in taken:
                        if self._is_blank(raw):
                            self.data.n_skipped += n
                        elif isinstance(raw, bytes):  # as all of a record are
                            yield Row(number, row_hash(raw), None, problem, n)

    def _cells(self, raw: bytes) -> list[str]:
        text = raw.decode(self.data.encoding)
        return self.split_quoted(text) if self.source.quote in text else self._split(text)

    def _joined(
        self, first: tuple[int, bytes, int], again: deque[Line], every: Iterator[Line]
    ) -> tuple[list[Line], _Record | None]:
        """Lines from one whose quote is open to the one that closes it, and the record that they
        are; None where they make none of the file's width."""
        taken: list[Line] = [first]
        raws, size, n_quotes = [first[1]], len(first[1]), first[1].count(self.quote)
        while n_quotes % 2 and len(taken) < MAX_RECORD_LINES and size <= MAX_LINE:
            line = again.popleft() if again else next(every, None)
            if line is None:
                break
            taken.append(line)
            if isinstance(line[1], LongLine):
                break
            raws.append(line[1])
            size += line[2]
            n_quotes += line[1].count(self.quote)
        if n_quotes % 2 or len(taken) == 1:
            return taken, None
        ends = [with_its_end(raw, n) for raw, (_, _, n) in zip(raws, taken, strict=True)]
        joined = b"".join([*ends[:-1], raws[-1]])
        try:
            cells = self.split_quoted(joined.decode(self.data.encoding))
        except (UnicodeDecodeError, StrayQuoteError):
            return taken, None
        if len(cells) != self.width:
            return taken, None
        read_as = self._reading(cells, raws)
        if read_as is Reading.ROWS:
            return taken, None
        return taken, _Record(joined, cells, read_as is Reading.UNCLEAR)

    def _reading(self, record: list[str], raws: list[bytes]) -> Reading:
        """Whether the joined lines are one record: a pair of stray quotes would swallow all rows
        between them."""
        judged = [*raws[:MAX_JUDGED_LINES], *raws[MAX_JUDGED_LINES:][-1:]]
        every = [
            self._split(raw.decode(self.data.encoding)) for raw in judged if not self._is_blank(raw)
        ]
        n_as_wide = sum(len(cells) == self.width for cells in every)
        if self.width < 2 or n_as_wide * 2 <= len(every):
            return Reading.RECORD
        read_as = reading(record, every, self.indented)
        is_long = len(raws) > MAX_JUDGED_LINES
        return Reading.ROWS if is_long and read_as is Reading.UNCLEAR else read_as

    def _names_over_lines(self, first: Line, every: Iterator[Line]) -> list[str] | None:
        """The names of a header that has line breaks within quotes; None if it has stray ones."""
        raws: list[bytes] = []
        n_quotes = 0
        for _, raw, n in chain([first], islice(every, MAX_FIRST_LINES)):
            if isinstance(raw, LongLine):
                return None
            self.data.n_skipped += n * bool(raws)
            raws.append(with_its_end(raw, n))
            n_quotes += raw.count(self.quote)
            if n_quotes % 2 == 0:
                break
        try:
            names = self._cells(b"".join(raws).rstrip(b"\r\n"))
        except (StrayQuoteError, UnicodeDecodeError):
            return None
        if not self.source.multiline:
            raise UnreadableError(f"its header has {LINE_BREAK}")
        return names

    def _read_header(self, every: Iterator[Line]) -> bool:
        """Find the columns; False for a file with no line at all."""
        first = next(every, None)
        if first is None:
            return False
        _, raw, n = first
        if isinstance(raw, LongLine):
            raise UnreadableError(f"its header is longer than {MAX_LINE:,} bytes")
        self.data.n_skipped += n
        try:
            text = raw.decode(self.data.encoding)
        except UnicodeDecodeError:
            advice = self._seems or encoding_advice(self._not_valid, self.source)
            raise UnreadableError(f"its header is {self._not_valid}{advice}") from None
        try:
            names: list[str] | None = self._cells(raw)
        except StrayQuoteError:
            names = self._names_over_lines(first, every)
        separated = None if self._seems else separator_of_header(text, self.source)
        if separated is not None and not is_among(self.source.columns, names or ()):
            raise UnreadableError(f"its header {separated}")
        seems = self._seems_of_first(text)
        if names is None:
            raise UnreadableError(f"its header cannot be decoded: {STRAY_QUOTE}{seems}")
        places = header_places(self.source.columns, names, seems)
        self.width = len(names)
        self.header = Header(self.source.columns, names, places)
        if len(places) == 1:
            place = places[0]
            self.pick = lambda cells: [cells[place]]
        elif places != list(range(len(names))):
            chosen = itemgetter(*places)
            self.pick = lambda cells: list(chosen(cells))
        return True
