"""Texts of content straight from the clean tables, by the days on which they landed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from contracts.content import CONTENT_SOURCES, SENTIMENT, ContentSource, content_hash
from contracts.content_specs import ContentHead

BATCH_ROWS = 16_384
"""Rows of a batch, of which two or three are in memory at once."""


@dataclass(frozen=True)
class LabelledText:
    """A text of which something is known."""

    landed_on: date
    content_hash: str
    text: str
    labels: Mapping[str, str]
    """Head to class."""


def _labels(texts: Sequence[str], named: set[str]) -> dict[str, str]:
    """Class of each head, out of texts `head=class`."""
    pairs = (text.partition("=") for text in texts)
    return {head: label for head, _, label in pairs if head in named}


class CleanTexts:
    """The texts of clean tables, found by the days on which they landed."""

    def __init__(self, files: Mapping[str, Sequence[str]]):
        """
        Args:
            files: clean table to its Parquet files.
        """
        self._files = {
            table: [(path, *_days_of(path)) for path in paths] for table, paths in files.items()
        }

    def texts(self, start: date, end: date) -> Iterator[str]:
        """Each text that landed in [start, end): in no order, and as often as it was written."""
        for source in CONTENT_SOURCES:
            for rows in self._rows(source, start, end, ()):
                yield from rows[source.text].to_pylist()

    def labelled(
        self, start: date, end: date, heads: Sequence[ContentHead]
    ) -> Iterator[LabelledText]:
        """Each text that landed in [start, end) with a label of one of the heads, in no order."""
        named = {head.name for head in heads if head.taught_by == "labels"}
        by_stars = any(head.taught_by == "stars" for head in heads)
        for source in CONTENT_SOURCES:
            columns = ["labels"] if source.has_labels and named else []
            columns += [SENTIMENT] if by_stars and SENTIMENT in source.table.names else []
            for rows in self._rows(source, start, end, columns) if columns else ():
                for row in rows.to_pylist():
                    labels = _labels(row.get("labels") or (), named)
                    if SENTIMENT in columns:
                        labels[SENTIMENT] = row[SENTIMENT]
                    if labels:
                        text = row[source.text]
                        yield LabelledText(row["landed_on"], content_hash(text), text, labels)

    def _rows(
        self, source: ContentSource, start: date, end: date, columns: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Rows of a source with a text, a batch at a time."""
        paths = [
            path
            for path, first, last in self._files.get(source.table.name, ())
            if first < end and last >= start
        ]
        if not paths:
            return
        wanted = (
            (pc.field("landed_on") >= pa.scalar(start, pa.date32()))
            & (pc.field("landed_on") < pa.scalar(end, pa.date32()))
            & pc.field(source.text).is_valid()
        )
        if source.only is not None:
            column, value = source.only
            wanted &= pc.field(column) == value
        names = ["landed_on", source.text, *columns]
        rows = ds.dataset(paths, format="parquet")
        batches = rows.to_batches(
            columns=names,
            filter=wanted,
            batch_size=BATCH_ROWS,
            batch_readahead=1,
            fragment_readahead=1,
            use_threads=False,
        )
        for batch in batches:
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


def _days_of(path: str) -> tuple[date, date]:
    """The first and the last day on which rows of a file landed, by its statistics."""
    metadata = pq.read_metadata(path)
    at = metadata.schema.names.index("landed_on")
    found = [
        metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups)
    ]
    if not all(statistics is not None and statistics.has_min_max for statistics in found):
        return date.min, date.max
    if not found:
        return date.max, date.min
    return min(statistics.min for statistics in found), max(s.max for s in found)
