"""Hashes, keys and indices that both sides must agree on: their values stand in tables and ids."""

from __future__ import annotations

import math
from datetime import date

import pytest

from contracts.hashes import hash_of, short_hash, text_hash
from contracts.stability import LEAST_SHARE, stability_index
from contracts.user_keys import is_user_key


def test_hashes_are_what_they_were_when_ids_were_made_of_them() -> None:
    assert text_hash("") == "e3b0c44298fc1c14"
    assert short_hash("") == "e3b0c442"
    assert hash_of({"b": 1, "a": [None, "x"]}) == text_hash('{"a": [null, "x"], "b": 1}')
    assert hash_of(date(2025, 1, 3)) == text_hash('"2025-01-03"')


@pytest.mark.parametrize(
    ("text", "is_key"),
    [
        ("0123456789abcdef" * 2, True),
        ("0123456789ABCDEF" * 2, False),
        ("0123456789abcdef" * 2 + "0", False),
        ("ann@example.com", False),
    ],
)
def test_a_user_key_is_32_hex_digits(text: str, is_key: bool) -> None:
    assert is_user_key(text) == is_key


def test_the_stability_index_is_symmetric_and_finite_for_empty_bins() -> None:
    assert stability_index([0.5, 0.5], [0.5, 0.5]) == 0
    assert stability_index([0.4, 0.6], [0.6, 0.4]) == pytest.approx(0.4 * math.log(1.5))
    moved = stability_index([1.0, 0.0], [0.0, 1.0])
    assert moved == stability_index([0.0, 1.0], [1.0, 0.0])
    assert moved == pytest.approx(2 * (1 - LEAST_SHARE) * math.log(1 / LEAST_SHARE))
