"""What libraries say is told without the values that they quote."""

from __future__ import annotations

import json

import pytest

from contracts.foreign import library_message, without_values


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (
            "Casting from timestamp[ns, tz=UTC] to timestamp[us, tz=UTC] would lose data: 1748772000",
            "Casting from timestamp[ns, tz=UTC] to timestamp[us, tz=UTC] would lose data: …",
        ),
        ("Failed to parse string: 'it\\'s Ann' as int64", "Failed to parse string: … as int64"),
        ('value "Ann", -1.5e9 in column x1', "value …, … in column x1"),
        ("Conversion failed: ann@example.com to int", "Conversion failed: … to int"),
        ("no user <ann.miller＠gmail@x.com>, @bob or user4915112345678", "no user … … or user…"),
    ],
)
def test_quoted_texts_mails_and_numbers_are_hidden(text: str, hidden: str) -> None:
    assert without_values(text) == hidden


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(2, "No such file or directory", "ann.csv"), "No such file or directory"),
        (OSError("ann@example.com: gone"), "… gone"),
        (KeyError("ann@example.com"), "KeyError"),
        (ValueError(), "ValueError"),
        (json.JSONDecodeError("Expecting value", "ann", 0), "Expecting value: line … column … (char …)"),
        (RuntimeError("no host\n\tnamed 'ann'"), "no host named …"),
    ],
    ids=["file", "text", "key", "nothing", "json", "lines"],
)  # fmt: skip
def test_an_error_is_told_on_one_line(error: Exception, message: str) -> None:
    assert library_message(error) == message
