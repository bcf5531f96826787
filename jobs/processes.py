"""Stages that processes of their own compute, outside of Spark: what they read and write."""

from __future__ import annotations

from contracts.content import CONTENT_SOURCES, REACH_DAYS
from contracts.content_tables import CONTENT_SCORES
from contracts.days import MAX_DAYS_EARLY
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_LISTS,
    REC_OUTCOMES,
    REC_POPULAR,
    REC_RETRIEVED,
)
from contracts.tables import (
    EXAMPLES,
    LABELS,
    ON_BRANCH,
    SCOREBOARD,
    USER_FEATURES,
    USER_SCORES,
)
from jobs.stage import Process, Read

_RANKED_FROM = (
    REC_ITEMS, REC_HISTORIES, REC_POPULAR, REC_CANDIDATES, REC_RETRIEVED, USER_FEATURES,
)  # fmt: skip
"""Lists are made of these as of their day and as of earlier ones, which rankers learn from."""

PROCESSES = (
    Process(
        "content_scores",
        "What heads say of the texts that landed on a day, by models of what had landed before.",
        reads=tuple(Read(source.table, -REACH_DAYS, 1) for source in CONTENT_SOURCES),
        writes=(CONTENT_SCORES,),
    ),
    Process(
        "train",
        "The night's model, from examples of the past.",
        reads=(Read(EXAMPLES, None, 0),),
        writes=(),
    ),
    Process(
        "rec_retrieved",
        "What models retrieve for each user as of a midnight.",
        reads=(Read(REC_ITEMS, 0, 1), Read(REC_HISTORIES, 0, 1)),
        writes=(REC_RETRIEVED,),
    ),
    Process(
        "score",
        "Scores of each user as of a midnight, on a branch until they are released.",
        reads=(Read(USER_FEATURES, 0, 1),),
        writes=(USER_SCORES,),
        after=("train",),
    ),
    Process(
        "rank",
        "A list of each user on each surface, on a branch until they are released.",
        reads=(
            *(Read(table, None, 1) for table in _RANKED_FROM),
            Read(INTERACTIONS, None, 0),
        ),
        writes=(REC_LISTS,),
    ),
    *(
        Process(
            str(released.stage),
            released.table.doc,
            reads=tuple(Read(table, 0, 1) for table in released.reads),
            writes=(released.table,),
        )
        for released in ON_BRANCH
        if released.rows is not None
    ),
    Process(
        "scoreboard",
        "Published scores beside what then happened.",
        reads=(Read(LABELS, 0, 1), Read(USER_SCORES, 0, 1), Read(USER_FEATURES, 0, 1)),
        writes=(SCOREBOARD,),
    ),
    Process(
        "rec_outcomes",
        "Released recommendations beside what then happened.",
        reads=(
            *(Read(table, 0, 1) for table in (REC_LISTS, REC_ITEMS, REC_HISTORIES, USER_FEATURES)),
            Read(INTERACTIONS, -MAX_DAYS_EARLY, None),
        ),
        writes=(REC_OUTCOMES,),
    ),
)
