"""Counts in words."""

from contracts.counts import n_of


def test_one_is_singular_and_all_else_plural() -> None:
    assert [n_of(n, "row") for n in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert [n_of(n, "row has", "rows have") for n in (1, 2)] == ["1 row has", "2 rows have"]
