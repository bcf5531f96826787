"""What a backfill publishes."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.errors import UsageError
from contracts.tables import NO_MODEL
from flows import backfill as past
from flows.backfill import Stage, finish, open_backfill
from flows.engine.run import Night
from flows.release.releases import Releases
from flows.settings import read_settings
from flows.state.schema import open_database
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


NO_MODEL_YET = (
    "stages: there is no model to score with yet. Run a night first, or leave out score: features, "
    "labels and examples need no model"
)


@pytest.mark.parametrize("stages", [[Stage.score], [Stage.examples, Stage.score]])
def test_a_backfill_without_a_model_that_is_to_score_ends_before_it_looks_at_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: list[Stage]
) -> None:
    monkeypatch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    monkeypatch.setattr(Night, "look_at_files", lambda night: pytest.fail("files were looked at"))
    (tmp_path / "m.toml").write_text(
        """
        [sources.log]
        files = "{day}.csv"
        format = "csv"
        columns = ["user", "time"]
        [sources.log.tables.users]
        user_id = "user"
        occurred_at = "time"
        """
    )
    (tmp_path / "raw").mkdir()
    settings = read_settings(
        home=tmp_path / "home", source=tmp_path / "m.toml", raw=tmp_path / "raw"
    )
    with pytest.raises(UsageError) as error:
        open_backfill(D1, D2, stages, settings.source, settings.raw, settings)
    assert str(error.value) == NO_MODEL_YET


def test_a_backfill_without_a_model_publishes_no_scores(
    tmp_path: Path, asked: list[tuple[Any, ...]]
) -> None:
    with pytest.raises(UsageError) as error:
        finish(into(tmp_path), [D1], [Stage.score], frozenset())
    assert str(error.value) == NO_MODEL_YET
    assert asked == []
    assert Releases(into(tmp_path).engine).current() is None
