"""What an erasure takes besides the rows that name a person: see `erased` of a column."""

from __future__ import annotations

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
"""Tables of what can be recommended: a person is in them as a user, and as a target of others; what
an erased person wrote goes from them as well."""
WRITTEN_BY = ((POSTS, "post_id", "user_key"), (REC_ITEMS, "item_id", "author_key"))
"""Tables that say who wrote what, with the columns of its id and of its author."""
