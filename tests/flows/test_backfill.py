"""What a backfill publishes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.table import ContractError
from contracts.tables import NO_MODEL
from flows import backfill as past
from flows.backfill import Stage, finish
from flows.database import open_database
from flows.releases import Releases
from tests.flows.lakes import D1, D2

FEATURES = [Stage.user_features]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is scored, audited and published."""
    calls: list[tuple[Any, ...]] = []

    def score(night: object, model_id: str, days: Any, force: object) -> dict[str, Any]:
        calls.append(("score", model_id, tuple(days)))
        return {"model_id": model_id}

    def publish(night: object, scored: dict[str, Any], days: Any) -> SimpleNamespace:
        calls.append(("publish", scored, tuple(days)))
        return SimpleNamespace(release_id="r")

    monkeypatch.setattr(past.publish, "score", score)
    monkeypatch.setattr(past.publish, "audit", lambda night, scored, days: None)
    monkeypatch.setattr(past.publish, "publish", publish)
    monkeypatch.setattr(past, "create_markdown_artifact", lambda *told, **named: None)
    monkeypatch.setattr(past, "get_run_logger", lambda: SimpleNamespace(info=print))
    return calls


def into(tmp_path: Path) -> Any:
    return SimpleNamespace(engine=open_database(f"sqlite:///{tmp_path}/n.db"), stages=[])


def test_a_backfill_into_an_empty_home_is_released_without_scores(
    tmp_path: Path, asked: list[tuple[Any, ...]]
) -> None:
    days: list[date] = [D1, D2]
    assert finish(into(tmp_path), days, FEATURES, frozenset()) == "r"
    assert asked == [
        ("score", NO_MODEL, (D2,)),
        ("publish", {"model_id": NO_MODEL}, (D1, D2)),
    ]


def test_a_backfill_into_an_empty_home_cannot_score(
    tmp_path: Path, asked: list[tuple[Any, ...]]
) -> None:
    with pytest.raises(ContractError) as error:
        finish(into(tmp_path), [D1], [Stage.score], frozenset())
    assert str(error.value) == (
        "there is no model to score with yet: run a night first; what was computed stays"
    )
    assert asked == []
    assert Releases(into(tmp_path).engine).current() is None
