"""Tables of content: which pieces there are, their vectors, and what heads say of them."""

from __future__ import annotations

from contracts.content import KINDS, MODALITIES, STATUSES
from contracts.source_table import LANDED_ON, USER_KEY
from contracts.table import Column, Table

NEAR_DAYS = 30
"""Days before a piece landed in which near duplicates of it are looked for."""

_KIND = Column("kind", "string", "What it is a part of.", values=KINDS)
_CONTENT_ID = Column("content_id", "string", "The post, item, review or comment.")
_STATUS = Column(
    "status",
    "string",
    "Whether it can be read: only pieces that are `ok` are encoded and scored.",
    values=STATUSES,
)
_REASON = Column("reason", "string", "Why it is not ok, in a few words.", nullable=True)
_MODALITY = Column("modality", "string", "Text or image.", values=MODALITIES)
_HASH = Column(
    "content_hash",
    "string",
    "SHA-256, 64 hex digits, of the normalised text or of the picture's raw bytes: the same "
    "content has the same, whoever wrote it.",
)

CONTENT_PICTURES = Table(
    name="content_pictures",
    doc="Pictures that landed on a day, as far as they can be read.",
    grain=("kind", "content_id", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        _KIND,
        _CONTENT_ID,
        LANDED_ON,
        Column("content_hash", "string", "SHA-256 of its raw bytes; null where there are none.",
               nullable=True),
        _STATUS,
        _REASON,
        Column("width", "int", "Pixels, as it is shown; null where it cannot be read.",
               nullable=True, minimum=1),
        Column("height", "int", "Pixels, as it is shown; null where it cannot be read.",
               nullable=True, minimum=1),
        Column("perceptual_hash", "bigint", "64 bits that pictures which look alike share most of; "
               "null where it cannot be read.", nullable=True),
    ),
)  # fmt: skip

_PIECE = (
    _KIND,
    _CONTENT_ID,
    _MODALITY,
    LANDED_ON,
    Column(
        USER_KEY.name,
        "string",
        "Who wrote it: a keyed hash; null of items.",
        nullable=True,
    ),
    Column("item_id", "string", "The item that it is of; null of others.", nullable=True),
    Column("created_at", "timestamp", "When it was written, UTC.", nullable=True),
    Column("content_hash", "string", _HASH.doc.removesuffix(".") + "; null where there is nothing "
           "to hash.", nullable=True),
    _STATUS,
    _REASON,
    Column("n_words", "bigint", "Words of a text, marks such as <url> aside; 0 of a picture.",
           minimum=0),
    Column("n_links", "bigint", "Links of a text; 0 of a picture.", minimum=0),
    Column("language", "string", "Code of the language that it is most probably written in; null "
           "of pictures and of texts too short to tell.", nullable=True),
    Column("language_probability", "double", "How probable that is.", nullable=True, minimum=0,
           maximum=1),
    Column("labels", "array<string>", "What is known of it, as sorted texts `head=class`.",
           nullable=True),
)  # fmt: skip

CONTENT_PIECES = Table(
    name="content_pieces",
    doc="Texts and pictures that landed on a day, with the buckets by which near duplicates are "
    "found.",
    grain=("kind", "content_id", "modality", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        *_PIECE,
        Column(
            "bands",
            "array<bigint>",
            "Hashes of bands of its MinHash signature, or of parts of its perceptual hash: near "
            "duplicates share one at the same place. Empty where it is too short to compare.",
        ),
    ),
)

CONTENT = Table(
    name="content",
    doc="Every text and picture that users and sellers posted, by the day on which it landed.",
    grain=CONTENT_PIECES.grain,
    day="landed_on",
    partition=("landed_on",),
    columns=(
        *_PIECE,
        Column(
            "near_duplicate_group",
            "string",
            f"`content_hash` of the oldest near duplicate that landed in the {NEAR_DAYS} days "
            "before, or on the day; its own where there is none, null where it is not ok.",
            nullable=True,
        ),
    ),
)

CONTENT_SCORES = Table(
    name="content_scores",
    doc="What heads say of each piece of content: one row per content, head and model, on the day "
    "on which the content first landed.",
    grain=("content_hash", "head", "model_id", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        _HASH,
        _MODALITY,
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

CONTENT_VECTORS = Table(
    name="content_vectors",
    doc="Vectors of content by an encoder: one row per content and encoder, on the day on which "
    "the content first landed.",
    grain=("content_hash", "encoder_id", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        _HASH,
        _MODALITY,
        Column("encoder_id", "string", "Hash of all that decides the encoder's vectors: those of "
               "two encoders cannot be compared."),
        LANDED_ON,
        Column("dimension", "int", "Numbers of the vector.", minimum=1),
        Column("vector", "array<float>", "The vector."),
    ),
)  # fmt: skip

OF_CONTENT = (CONTENT_PICTURES, CONTENT_PIECES, CONTENT, CONTENT_SCORES, CONTENT_VECTORS)
"""Every table of content, in the order in which the data flow."""
