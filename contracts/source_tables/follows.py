"""Who follows whom, from when; and who no longer does."""

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
    USER_KEY,
    Event,
    Field,
    Interaction,
    Measure,
    SourceTable,
    Thing,
)
from contracts.table import Column

FOLLOWS = SourceTable(
    name="follows",
    doc="Who follows whom, from when; and who no longer does.",
    grain=("follow_id",),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        Column("follow_id", "string", "The fact: a keyed hash."),
        USER_KEY,
        Column("followed_key", "string", "The user who is followed: a keyed hash as well."),
        Column("kind", "string", "What changed.", values=("follow", "unfollow")),
        Column(
            "valid_from",
            "timestamp",
            "From when the graph may show it, UTC: when it happened, or what the mapping says for "
            "edges without a time. Null keeps it out of features.",
            nullable=True,
        ),
        Column(
            "occurred_at",
            "timestamp",
            "When it happened, UTC; null where the source does not say.",
            nullable=True,
        ),
        LANDED_ON,
    ),
    fields=(
        Field("follow_id", "the fact; an unfollow has its own"),
        Field(
            "user_id",
            "the user, as the source names them; leaves this stage as `user_key` only",
        ),
        Field("followed_id", "the user who is followed; leaves as a keyed hash as well"),
        Field("kind", "`'follow'` or `'unfollow'`", default="'follow'"),
        Field(
            "valid_from",
            "for edges without a time: from when features may see them; the time, where there is "
            "one, is taken instead",
            required=False,
        ),
        Field(
            "occurred_at",
            "when it happened; without it and `valid_from` the edge stays out of features",
            required=False,
        ),
    ),
    cleaning=Cleaning(
        id="follow_id",
        columns=(
            KeyedId("follow_id", "follow"),
            KeyedUser("user_key", "user_id"),
            KeyedUser("followed_key", "followed_id"),
            Text("kind"),
            Time(),
            Time("valid_from", column="_given"),
            Sql("valid_from", "coalesce(occurred_at, _given)"),
        ),
        checks=(
            Required("user_id"),
            Required("follow_id"),
            Required("followed_id"),
            Fails("followed_id: the user itself", "user_key = followed_key"),
            Required("kind"),
            OneOf("kind"),
            Time(optional=True),
            Time("valid_from", column="_given", optional=True, from_ever=True),
        ),
        max_rows_of_user=500,
    ),
    event=Event("follow_id", "kind", ("follow", "unfollow")),
    measures=(
        Measure("n_follows", "Times that a user was followed", "count_if(kind = 'follow')"),
        Measure(
            "n_unfollows",
            "Times that a user was no longer followed",
            "count_if(kind = 'unfollow')",
        ),
    ),
    things=(Thing("counterpart", "followed_key", "kind = 'follow'"),),
    interactions=(Interaction("kind", "'user'", "followed_key"),),
)
