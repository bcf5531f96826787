"""What content is asked, as far as a mapping has something that teaches the answer."""

from __future__ import annotations

from contracts.content import CONTENT_SOURCES, SENTIMENT
from contracts.content_specs import ContentHead
from jobs.mapping.sources import SourceMapping


def heads_of(mapping: SourceMapping) -> tuple[ContentHead, ...]:
    """What content is asked, by name: each head that the mapping has labels of; without labels of
    sentiment, stars of reviews teach it through their texts. None where nothing teaches any."""
    tables = {source.table.name for source in CONTENT_SOURCES if source.has_labels}
    named = {
        name
        for source in mapping.sources
        for table in source.tables
        if table.table in tables
        for name in table.attributes
    }
    heads = [ContentHead(name, "labels") for name in named]
    if SENTIMENT not in named and "reviews.text" in mapping.mapped:
        heads.append(ContentHead(SENTIMENT, "stars"))
    return tuple(sorted(heads, key=lambda head: head.name))
