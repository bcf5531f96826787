"""Tables of content: what heads say of it."""

from __future__ import annotations

from contracts.source_table import LANDED_ON
from contracts.table import Column, Table

CONTENT_SCORES = Table(
    name="content_scores",
    doc="What heads say of each text: one row per text, head and model, on the day on which "
    "the text first landed since the model scores.",
    grain=("content_hash", "head", "model_id", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column(
            "content_hash",
            "string",
            "SHA-256, 64 hex digits, of a text as its clean table has it: the same text has the "
            "same, whoever wrote it.",
        ),
        Column("head", "string", "The question, such as `sentiment`."),
        Column("model_id", "string", "Hash of the artifact of the model that answers."),
        LANDED_ON,
        Column("class", "string", "The most probable class; ties by their order."),
        Column("probability", "float", "How probable it is.", minimum=0, maximum=1),
        Column("classes", "array<string>", "All classes of the head, in its order."),
        Column("probabilities", "array<float>", "Of each class, its calibrated probability.",
               beside="classes", minimum=0, maximum=1),
    ),
)  # fmt: skip
