"""What was shown to users."""

from __future__ import annotations

from contracts.cleaning import (
    Cleaning,
    KeyedId,
    KeyedUser,
    OneOf,
    Required,
    Sql,
    Text,
    Time,
    WholeNumber,
)
from contracts.source_table import (
    LANDED_ON,
    OCCURRED_AT,
    USER_KEY,
    Field,
    Interaction,
    SourceTable,
)
from contracts.table import Column

MAX_POSITION = 10**6
_POSITION = WholeNumber("position", MAX_POSITION, optional=True)

IMPRESSIONS = SourceTable(
    name="impressions",
    doc="Items, ads, posts and users that were shown to a user. It is nothing that the user did: "
    "features do not count them.",
    grain=("impression_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("impression_id", "string", "The impression: a keyed hash."),
        USER_KEY,
        Column(
            "target_kind",
            "string",
            "What was shown.",
            values=("post", "item", "user", "ad"),
        ),
        Column("target_id", "string", "The item or ad; the keyed hash of a post or user."),
        Column(
            "position",
            "bigint",
            "The place at which it was shown, from 1.",
            nullable=True,
            minimum=1,
            maximum=MAX_POSITION,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field("impression_id", "the impression"),
        Field(
            "user_id",
            "the user to whom it was shown; leaves this stage as `user_key` only",
        ),
        Field("target_kind", "`'post'`, `'item'`, `'user'` or `'ad'`"),
        Field("target_id", "the post, item, user or ad"),
        Field("position", "the place at which it was shown, from 1", required=False),
        Field("occurred_at", "when it happened"),
    ),
    cleaning=Cleaning(
        id="impression_id",
        columns=(
            KeyedId("impression_id", "impression"),
            KeyedUser("user_key", "user_id"),
            Text("target_kind"),
            KeyedId("_post_target", "post", field="target_id"),
            KeyedUser("_user_target", "target_id"),
            Sql(
                "target_id",
                "case when text_target_kind in ('item', 'ad') then text_target_id "
                "when text_target_kind = 'post' then _post_target else _user_target end",
            ),
            _POSITION,
            Time(),
        ),
        checks=(
            Required("user_id"),
            Required("impression_id"),
            Required("target_kind"),
            OneOf("target_kind"),
            Required("target_id"),
            _POSITION,
            Time(),
        ),
    ),
    interactions=(
        Interaction("'impression'", "target_kind", "target_id", position="coalesce(position, 0)"),
    ),
)
