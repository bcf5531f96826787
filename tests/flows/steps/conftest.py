"""Nights on simulated scores, and the lines that their steps say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.steps.simulated_scores import NightOf, heard, nights_in


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return heard(monkeypatch)


@pytest.fixture
def night_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NightOf:
    return nights_in(tmp_path, monkeypatch)
