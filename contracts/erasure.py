"""What an erasure takes besides the rows that name a person: see `erased` of a column."""

from __future__ import annotations

from contracts.content import CONTENT_SOURCES
from contracts.content_tables import CONTENT_SCORES
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_LISTS,
    REC_POPULAR,
    REC_RETRIEVED,
    RECOMMENDATIONS,
)
from contracts.source_tables.posts import POSTS

OF_TARGETS = (
    INTERACTIONS, REC_ITEMS, REC_HISTORIES, REC_POPULAR, REC_CANDIDATES, REC_RETRIEVED, REC_LISTS,
    RECOMMENDATIONS,
)  # fmt: skip
"""Tables of what can be recommended: a person is in them as a user, and as a target of others."""
OF_WHAT_IS_WRITTEN = (*OF_TARGETS, CONTENT_SCORES)
"""Tables from which what an erased person wrote goes as well."""
WRITTEN_BY = ((POSTS, "post_id", "user_key"), (REC_ITEMS, "item_id", "author_key"))
"""Tables that say who wrote what, with the columns of its id and of its author."""
TEXTS_BY = tuple((s.table, s.text, "user_key" if s.has_author else None) for s in CONTENT_SOURCES)
"""Tables of texts, with the columns of the text and of its author; None where nobody is named."""
