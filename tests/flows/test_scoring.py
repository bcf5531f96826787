"""A scoring that was killed goes on only where nothing that decides a score has changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import learning
from flows.publish import scratch_of
from flows.settings import NightjarSettings

DAY = date(2025, 5, 13)


def scratch(
    tmp_path: Path,
    model_id: str = "m",
    digest: str = "d",
    failed_tasks: Any = "null",
    **train: Any,
) -> Path:
    settings = NightjarSettings(home=tmp_path, failed_tasks=failed_tasks)
    settings = settings.model_copy(update={"train": replace(settings.train, **train)})
    planner = SimpleNamespace(digests=lambda stage, table: {DAY: digest})
    context: Any = SimpleNamespace(planner=planner, settings=settings)
    return scratch_of(settings, learning.score_fingerprint(context, model_id, DAY))


def test_the_same_scoring_goes_on_in_the_same_place(tmp_path: Path) -> None:
    assert scratch(tmp_path) == scratch(tmp_path)
    assert scratch(tmp_path).parent == tmp_path / "runs/scoring"


@pytest.mark.parametrize(
    "other",
    [
        {"model_id": "other"},
        {"digest": "other"},
        {"accelerator": "cuda"},
        {"failed_tasks": "base_rate"},
    ],
)
def test_another_model_other_features_settings_or_another_device_begin_anew(
    tmp_path: Path, other
) -> None:
    assert scratch(tmp_path, **other) != scratch(tmp_path)


@pytest.mark.parametrize("name", ["code_fingerprint", "table_shape"])
def test_other_code_and_other_contracts_begin_anew(tmp_path, monkeypatch, name: str) -> None:
    before = scratch(tmp_path)
    monkeypatch.setattr(learning, name, lambda of: "after a fix")
    assert scratch(tmp_path) != before
