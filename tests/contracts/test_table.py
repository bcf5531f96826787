from __future__ import annotations

import pytest

from contracts.errors import ContractError
from contracts.table import Column, Table, check_columns

TILES = Table(
    "tiles",
    "Tiles.",
    ("user_key",),
    "day",
    (
        Column("user_key", "string", "User."),
        Column("day", "date", "Day."),
        Column("n_views", "bigint", "Views.", minimum=0),
    ),
    partition=("day",),
)


def test_every_difference_is_named_at_once() -> None:
    with pytest.raises(ContractError) as error:
        check_columns(TILES, {"user_key": "string", "n_views": "string", "extra": "int"})
    assert str(error.value) == (
        "tiles breaks its contract:\n"
        "  day: expected date, found no such column\n"
        "  n_views: expected bigint, found string\n"
        "  extra: found int, expected no such column"
    )


def test_conforming_columns_pass() -> None:
    check_columns(TILES, {"user_key": "string", "day": "date", "n_views": "bigint"})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: Column("User", "string", "User."),
            "column 'User': expected lower-case letters, "
            "digits and underscores, starting with a letter",
        ),
        (lambda: Column("user", "text", "User."), "column user: expected a type out of"),
        (
            lambda: Column("user", "string", "User"),
            "column user: its doc must be a sentence, found 'User'",
        ),
        (
            lambda: Table("t", "T.", ("a",), "a", (Column("a", "date", "A.", nullable=True),)),
            "t: a is in the grain, day or partition and must not be nullable",
        ),
        (
            lambda: Table("t", "T.", ("b",), "a", (Column("a", "date", "A."),)),
            "t: its grain, day or partition names b, which is no column",
        ),
        (
            lambda: Table("t", "T.", ("a",), "a", (Column("a", "date", "A."),) * 2),
            "t: columns declared twice: a",
        ),
    ],
)
def test_a_wrong_declaration_is_refused_where_it_is_made(wrong, message) -> None:
    with pytest.raises(ContractError) as error:
        wrong()
    assert str(error.value).startswith(message)
