"""Every table: its grain, and its columns with units and docs. The clean ones are in
`contracts/clean_tables.py`, those by day and landing day in `contracts/tile_tables.py`."""

from __future__ import annotations

from contracts.clean_tables import CLEAN_TABLES
from contracts.content_tables import CONTENT_SCORES
from contracts.errors import ContractError
from contracts.features import FEATURES
from contracts.measures import (
    EVENT_VERBS,
    FIRST_SEEN,
    ITEM_MEASURES,
    ITEM_WINDOWS,
    LIFETIME,
    MEASURES,
    MOMENTS,
    SEQUENCE_LENGTH,
)
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_LISTS,
    REC_OUTCOMES,
    REC_POPULAR,
    REC_RETRIEVED,
    RECOMMENDATIONS,
)
from contracts.released_table import ReleasedTable
from contracts.segments import ACTIVE_DAYS, ALL, NEW_DAYS
from contracts.source_table import LANDED_ON, USER_KEY
from contracts.table import Column, Table
from contracts.tasks import TASKS
from contracts.tile_tables import ITEM_DAYS, LATE_DATA, TILES, USER_ITEM_DAYS

AS_OF = Column("as_of", "date", "Midnight UTC; only what happened and landed before it is seen.")
SOURCE = Column("source", "string", "Name of the source in the mapping.")
TABLE_NAME = Column("table_name", "string", "Clean table that the row was meant for.")
FILE = Column("file", "string", "Raw file, relative to the raw folder.")
LINE = Column("line", "bigint", "Line of the raw file, from 1; row number in Parquet.", minimum=1)
ELEMENT = Column(
    "element",
    "int",
    "Element of the row, from 1, where the mapping says `each`; 0: the row itself.",
    minimum=0,
)
ROW_HASH = Column("row_hash", "string", "Hash of the raw line (BLAKE2b, 128 bits).")

LANDED = Table(
    name="landed",
    doc="Raw rows as they arrived, split into days. Holds personal data: never published.",
    grain=("source", "file", "line"),
    day="landed_on",
    partition=("landed_on", "source"),
    columns=(
        LANDED_ON,
        SOURCE,
        FILE,
        LINE,
        ROW_HASH,
        Column(
            "fields",
            "array<string>",
            "Texts in the order of the mapping's `columns`; null if the line could not be decoded.",
            nullable=True,
        ),
        Column("problem", "string", "Why the line could not be decoded.", nullable=True),
    ),
)

QUARANTINE = Table(
    name="quarantine",
    doc="Every row that was dropped for a reason, without its text.",
    grain=("table_name", "source", "file", "line", "element"),
    day="landed_on",
    partition=("landed_on", "table_name"),
    columns=(
        LANDED_ON,
        TABLE_NAME,
        SOURCE,
        Column("reason", "string", "Why it was dropped."),
        FILE,
        LINE,
        ELEMENT,
        ROW_HASH,
    ),
)

RECONCILIATION = Table(
    name="reconciliation",
    doc="Rows in = clean + duplicate + quarantined + erased, per source, clean table and day.",
    grain=("table_name", "source", "landed_on"),
    day="landed_on",
    columns=(
        LANDED_ON,
        TABLE_NAME,
        SOURCE,
        Column(
            "n_in",
            "bigint",
            "Raw rows meant for the table, or their elements.",
            minimum=0,
        ),
        Column("n_clean", "bigint", "Rows kept.", minimum=0),
        Column("n_duplicate", "bigint", "Rows equal to one that was kept.", minimum=0),
        Column("n_quarantined", "bigint", "Rows in quarantine.", minimum=0),
        Column("n_erased", "bigint", "Rows about people who were erased.", minimum=0),
        Column(
            "null_like_ids",
            "array<string>",
            "Ids of these rows that look as if there were none, such as `user_id 12 NULL unknown`: "
            "the mapping's field, rows, and up to five of the texts; null if there are none.",
            nullable=True,
        ),
    ),
)

ITEM_FEATURES = Table(
    name="item_features",
    doc="Every item ever known, as of a midnight: its category and what happened to it.",
    grain=("item_id", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        Column("item_id", "string", "The item."),
        AS_OF,
        Column("category_id", "string", "Its category as of then.", nullable=True),
        *(
            Column(f"{m.name}_{w}d", "bigint", f"{m.doc}, the {w} days before.", minimum=0)
            for m in ITEM_MEASURES
            for w in ITEM_WINDOWS
        ),
    ),
)

USER_STATE = Table(
    name="user_state",
    doc="Everything known of a user as of a midnight: one row per user ever seen.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        USER_KEY,
        AS_OF,
        *(
            Column(m.name, "timestamp", f"When {m.doc} was, UTC.", nullable=m is not FIRST_SEEN)
            for m in MOMENTS
        ),
        *(Column(m.name, "bigint", f"{m.doc}, all time.", minimum=m.minimum) for m in MEASURES),
        *(
            Column(
                d.hashes,
                "array<bigint>",
                f"Hashes (xxHash64) of the ids of all {d.doc}, ascending: to count each once.",
            )
            for d in LIFETIME
        ),
        Column(
            "event_micros",
            "array<bigint>",
            f"Times of the last {SEQUENCE_LENGTH} events, oldest first, microseconds since 1970.",
        ),
        Column("event_id", "array<string>", "Their ids; ties in time are ordered by them."),
        Column("event_verb", "array<string>", f"What they were: {', '.join(EVENT_VERBS)}."),
        Column("event_item", "array<string>", "Their items, empty without one."),
        Column("event_amount_minor", "array<bigint>", "Their amounts in minor units, 0 without."),
    ),
)

USER_FEATURES = Table(
    name="user_features",
    doc="Features of every user ever seen, as of a midnight.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(USER_KEY, AS_OF, *(feature.column() for feature in FEATURES)),
)

LABELS = Table(
    name="labels",
    doc="What then happened: a label per task, null where unknown.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(USER_KEY, AS_OF, *(task.label_column() for task in TASKS)),
)

EXAMPLES = Table(
    name="examples",
    doc="Features and labels of users with at least one label, at past as-of days.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(*USER_FEATURES.columns, *(task.label_column() for task in TASKS)),
)

NO_MODEL = "none"
"""The model of rows without a score, and of a release that has only such."""

USER_SCORES = Table(
    name="user_scores",
    doc="The model's answers: exactly one row per known user and as_of.",
    grain=("user_key", "as_of"),
    day="as_of",
    partition=("as_of",),
    columns=(
        USER_KEY,
        AS_OF,
        *(c for task in TASKS for c in (*task.score_columns(), task.method_column())),
        Column(
            "model_id",
            "string",
            f"Hash of the model's artifact; {NO_MODEL} where there was none, and all scores null.",
        ),
        Column("release_id", "string", "Release that first published the row."),
        Column("retrospective", "boolean", "Whether the model saw labels from after as_of."),
    ),
)

SCOREBOARD = Table(
    name="scoreboard",
    doc="How published scores did against what then happened, once it is known.",
    grain=("as_of", "task", "segment"),
    day="as_of",
    columns=(
        AS_OF,
        Column("task", "string", "The question that was asked."),
        Column(
            "segment",
            "string",
            f"Which users: {ALL}; new, first seen in the {NEW_DAYS} days before; active, seen in "
            f"the {ACTIVE_DAYS} days before; dormant, the rest.",
        ),
        Column("model_id", "string", "Model that the scores are of."),
        Column("release_id", "string", "Release that first published them."),
        Column("n_users", "bigint", "Users with a score and a label.", minimum=1),
        Column("metric", "string", "The task's main metric."),
        Column("value", "double", "Its value; null if all did, or none.", nullable=True),
        Column("mean_predicted", "double", "Mean of the published predictions.", nullable=True),
        Column("mean_observed", "double", "Mean of what then happened.", nullable=True),
        Column(
            "standard_error",
            "double",
            "Standard error of the difference of the two means.",
            nullable=True,
            minimum=0,
        ),
        Column(
            "calibration_error",
            "double",
            "Expected calibration error over ten equal bins; null where no probability was asked.",
            nullable=True,
            minimum=0,
        ),
    ),
)


RECOMMENDED = (
    REC_ITEMS, REC_HISTORIES, REC_POPULAR, REC_CANDIDATES, REC_RETRIEVED, REC_LISTS,
    RECOMMENDATIONS,
)  # fmt: skip
"""What is recommended as of a day, and what that is made of: there only where a surface is on."""

COMPARED_LATER = (SCOREBOARD, REC_OUTCOMES)
"""What processes write on `main` of earlier releases' days, by stages of the same names."""

RELEASED: tuple[ReleasedTable, ...] = (
    ReleasedTable(USER_SCORES, stage="score", audits=("scores", "score_drift")),
    ReleasedTable(
        REC_LISTS,
        stage="rank",
        audits=("contract", "lists", "list_drift"),
        leaves_with_candidates=True,
    ),
    ReleasedTable(
        RECOMMENDATIONS,
        stage="recommendations",
        rows="models.ranking.recommendations:recommendations",
        reads=(REC_LISTS, REC_ITEMS),
        audits=("list_rows",),
        leaves_with_candidates=True,
    ),
    ReleasedTable(USER_FEATURES),
    ReleasedTable(ITEM_FEATURES),
    ReleasedTable(REC_ITEMS),
    ReleasedTable(CONTENT_SCORES),
    ReleasedTable(LABELS),
    ReleasedTable(SCOREBOARD),
    ReleasedTable(REC_OUTCOMES),
    ReleasedTable(RECONCILIATION),
    ReleasedTable(QUARANTINE),
    ReleasedTable(LATE_DATA),
)
"""The released tables, in the order in which analysts are shown them."""

RELEASED_TABLES: tuple[Table, ...] = tuple(released.table for released in RELEASED)
ON_BRANCH: tuple[ReleasedTable, ...] = tuple(r for r in RELEASED if r.stage is not None)
"""The released tables that processes write."""

TABLES: tuple[Table, ...] = tuple(
    dict.fromkeys(
        (
            LANDED,
            QUARANTINE,
            RECONCILIATION,
            *CLEAN_TABLES,
            CONTENT_SCORES,
            *TILES.values(),
            USER_ITEM_DAYS,
            ITEM_DAYS,
            LATE_DATA,
            ITEM_FEATURES,
            USER_STATE,
            USER_FEATURES,
            LABELS,
            EXAMPLES,
            INTERACTIONS,
            REC_ITEMS,
            REC_HISTORIES,
            REC_POPULAR,
            REC_CANDIDATES,
            REC_RETRIEVED,
            REC_LISTS,
            RECOMMENDATIONS,
            REC_OUTCOMES,
            *RELEASED_TABLES,
        )
    )
)
"""Every table, in the order in which the data flow; each once."""


RETIRED = ("user_days",)
"""Tables, and stages of the same name, of earlier versions. Nothing reads them and erasure does not
know them: the next run that writes drops them."""


def released_named(name: str) -> ReleasedTable:
    """The released table of that name.

    Raises:
        ContractError: there is none.
    """
    for released in RELEASED:
        if released.table.name == name:
            return released
    listed = ", ".join(table.name for table in RELEASED_TABLES)
    raise ContractError(f"{name}: no such released table; expected one of {listed}")


def table_named(name: str) -> Table:
    """The table of that name.

    Raises:
        ContractError: there is none.
    """
    for table in TABLES:
        if table.name == name:
            return table
    listed = ", ".join(table.name for table in TABLES)
    raise ContractError(f"{name}: no such table; expected one of {listed}")
