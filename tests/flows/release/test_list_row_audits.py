"""The audit of rows of lists: they are those of the lists, place by place."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.recommendation_tables import REC_LISTS, RECOMMENDATIONS
from contracts.surfaces import ERASED_FROM_LIST
from flows.release.list_audits import audit_list_rows
from tests.flows.release.hand_made_lists import GOOD, Row, failures, shown, write


def row(user: str, position: int, item: str) -> Row:
    return {"user_key": user, "position": position, "item_id": item}


ROWS = [row("ann", 1, "cup"), row("ann", 2, "pen"), row("bob", 1, "cup"), row("bob", 2, "wine"),
        row("cat", 1, "hat")]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (ROWS, ("0 lists with others", "0 lists with others")),
        (ROWS[1:], ("1 list with others", "1 list with others")),
        ([*ROWS[:1], row("ann", 3, "pen"), *ROWS[2:]],
         ("1 list with others", "1 list with others")),
        ([*ROWS[:4], row("cat", 1, "pen")], ("0 lists with others", "1 list with others")),
        ([row("ann", 2, "cup"), row("ann", 1, "pen"), *ROWS[2:]],
         ("0 lists with others", "1 list with others")),
        ([*ROWS, row("dan", 1, "cup")], ("0 lists with others", "1 list with others")),
        (ROWS[:4], ("0 lists with others", "1 list with others")),
    ],
)  # fmt: skip
def test_rows_that_are_not_the_lists_are_found(
    tmp_path: Path, rows: list[Row], found: tuple[str, str]
) -> None:
    lists = write(tmp_path / "lists", REC_LISTS, [*GOOD, shown("eve")])
    audited = audit_list_rows(write(tmp_path / "rows", RECOMMENDATIONS, rows), lists)
    assert [(a.check, a.found) for a in audited] == [
        ("positions of a list are 1, 2, 3 and so on", found[0]),
        ("rows are those of rec_lists", found[1]),
    ]
    assert [a.passed for a in audited] == [text.startswith("0") for text in found]


def test_positions_that_an_erasure_took_are_missing_rightly(tmp_path: Path) -> None:
    erased = shown("ann", "pen", shortfall=ERASED_FROM_LIST)
    lists = write(tmp_path / "lists", REC_LISTS, [erased])
    left = write(tmp_path / "left", RECOMMENDATIONS, [row("ann", 2, "pen")])
    assert all(a.passed for a in audit_list_rows(left, lists))
    other = write(tmp_path / "other", RECOMMENDATIONS, [row("ann", 2, "cup")])
    assert failures(audit_list_rows(other, lists)) == [
        ("rows are those of rec_lists", "1 list with others")
    ]
