"""Thousands of damaged files of every text format: each byte is in a row, or known to be in none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.jobs.broken_files import torture


@pytest.mark.parametrize("format_", ["csv", "jsonl", "json"])
def test_every_byte_of_a_damaged_file_is_accounted_for(format_: str, tmp_path: Path) -> None:
    refused, n_rows, lost = torture(format_, 5, 800, tmp_path / "f")
    assert lost == []
    assert refused > 100
    assert n_rows > 1500
