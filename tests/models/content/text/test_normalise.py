"""How raw texts are read."""

from __future__ import annotations

import pytest

from models.content.text.normalise import normalised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I\\u2019m fine", "i'm fine"),
        ("A &amp; B &amp;lt;3", "a & b <3"),
        ("@Bob_1 look https://t.co/xY9", "@user look <link>"),
        ("soooo good!!!!", "soo good !! <long>"),
        ("#FirstWorld #lower", "#firstworld first world #lower"),
        ("in 2016 or 12", "in <number> or 12"),
        ("so GLAD :)", "so glad :) <shouted>"),
        ("\\ud83d half of a pair", "half of a pair"),
        ("", ""),
        (" \n\t", ""),
    ],
)  # fmt: skip
def test_a_text_becomes_tokens(text: str, expected: str) -> None:
    assert normalised(text) == expected
