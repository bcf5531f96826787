"""Users, by their keyed hash. Names, addresses and mails have no field to go to."""

from __future__ import annotations

from contracts.cleaning import (
    Attributes,
    Cleaning,
    KeyedUser,
    Required,
    Text,
    Time,
    WholeNumber,
)
from contracts.source_table import (
    LANDED_ON,
    OCCURRED_AT,
    USER_KEY,
    Field,
    SourceTable,
)
from contracts.table import Column

MIN_BIRTH_YEAR, MAX_BIRTH_YEAR = 1900, 2100

_BIRTH_YEAR = WholeNumber("birth_year", MAX_BIRTH_YEAR, minimum=MIN_BIRTH_YEAR, optional=True)

USERS = SourceTable(
    name="users",
    doc="Users, a version per day on which something about them landed. The one of the latest "
    "`occurred_at` holds.",
    grain=("user_key", "landed_on"),
    day="landed_on",
    partition=("landed_on",),
    columns=(
        USER_KEY,
        Column("country", "string", "Country, as the source writes it, trimmed.", nullable=True),
        Column("signed_up_at", "timestamp", "When the account was made, UTC.", nullable=True),
        Column(
            "birth_year",
            "bigint",
            "Year of birth: what has a minimum age is recommended to those who are old enough. No "
            "feature is made of it.",
            nullable=True,
            minimum=MIN_BIRTH_YEAR,
            maximum=MAX_BIRTH_YEAR,
        ),
        Column(
            "attributes",
            "array<string>",
            "Whatever else the mapping says of users, as sorted texts `name=value`; attributes "
            "without a value are left out, and null stands for none.",
            nullable=True,
        ),
        OCCURRED_AT,
        LANDED_ON,
    ),
    fields=(
        Field(
            "user_id",
            "the user, as the source names them; leaves this stage as `user_key` only",
        ),
        Field("country", "country", required=False),
        Field("signed_up_at", "when the account was made", required=False),
        Field(
            "birth_year",
            "year of birth, four digits; only asked for by items with a `min_age`",
            required=False,
        ),
        Field("occurred_at", "when it happened"),
    ),
    cleaning=Cleaning(
        id="user_key",
        columns=(
            KeyedUser("user_key", "user_id"),
            Text("country"),
            Time("signed_up_at"),
            _BIRTH_YEAR,
            Attributes("attributes"),
            Time(),
        ),
        checks=(
            Required("user_id"),
            Time("signed_up_at", optional=True),
            _BIRTH_YEAR,
            Attributes("attributes"),
            Time(from_ever=True),
        ),
        is_dimension=True,
    ),
)
