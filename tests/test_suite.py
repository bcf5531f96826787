"""How this suite is run."""

from __future__ import annotations

from tests.conftest import LONGEST, REPOSITORY


def test_the_files_that_begin_first_are_there() -> None:
    assert [name for name in LONGEST if not (REPOSITORY / "tests" / name).is_file()] == []
