"""What users do not want to see, and whom they do not want to be seen by."""

from __future__ import annotations

from contracts.cleaning import (
    Cleaning,
    Fails,
    KeyedId,
    KeyedUser,
    OneOf,
    Required,
    Sql,
    Text,
    Time,
)
from contracts.source_table import (
    LANDED_ON,
    OCCURRED_AT,
    USER_KEY,
    Field,
    SourceTable,
)
from contracts.table import Column

BLOCKS = SourceTable(
    name="blocks",
    doc="What users do not want to be shown: users, who are not shown them either, items, ads and "
    "posts. The newest fact about a pair holds. Features do not count them.",
    grain=("block_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("block_id", "string", "The fact: a keyed hash."),
        USER_KEY,
        Column(
            "target_kind",
            "string",
            "What is blocked.",
            values=("post", "item", "user", "ad"),
        ),
        Column("target_id", "string", "The item or ad; the keyed hash of a post or user."),
        Column("kind", "string", "What changed.", values=("block", "unblock")),
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field("block_id", "the fact; an unblock has its own"),
        Field(
            "user_id",
            "the user who blocks; leaves this stage as `user_key` only",
        ),
        Field("target_kind", "`'post'`, `'item'`, `'user'` or `'ad'`", default="'user'"),
        Field("target_id", "the post, item, user or ad that is blocked"),
        Field("kind", "`'block'` or `'unblock'`", default="'block'"),
        Field("occurred_at", "when it happened"),
    ),
    cleaning=Cleaning(
        id="block_id",
        columns=(
            KeyedId("block_id", "block"),
            KeyedUser("user_key", "user_id"),
            Text("target_kind"),
            KeyedId("_post_target", "post", field="target_id"),
            KeyedUser("_user_target", "target_id"),
            Sql(
                "target_id",
                "case when text_target_kind in ('item', 'ad') then text_target_id "
                "when text_target_kind = 'post' then _post_target else _user_target end",
            ),
            Text("kind"),
            Time(),
        ),
        checks=(
            Required("user_id"),
            Required("block_id"),
            Required("target_kind"),
            OneOf("target_kind"),
            Required("target_id"),
            Fails("target_id: the user itself", "user_key = target_id"),
            Required("kind"),
            OneOf("kind"),
            Time(),
        ),
    ),
)
