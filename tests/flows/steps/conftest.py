"""Nights on simulated scores, and the lines that their steps say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.steps.simulated_scores import NightOf, nights_in, steps_without_servers


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return steps_without_servers(monkeypatch)


@pytest.fixture
def night_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NightOf:
    return nights_in(tmp_path, monkeypatch)
