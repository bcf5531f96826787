"""What a backfill publishes."""

from __future__ import annotations

from contextlib import nullcontext
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contracts.errors import UsageError
from contracts.tables import NO_MODEL, ON_BRANCH
from flows import backfill as past
from flows.backfill import EngineName, Mode, Stage, open_backfill
from flows.engine.accounting import StageReport
from flows.engine.run import Run
from flows.planning.stage_list import StageDays
from flows.release.releases import Releases
from flows.settings import NightjarSettings, read_settings
from flows.state.schema import open_database
from flows.steps import run_pages
from flows.steps.candidate import Candidate, Written
from flows.storage.home import Home
from tests.flows.lakes import D1, D2

SCORED = Written(ON_BRANCH[0], 1, {"model_id": NO_MODEL})
FEATURES = [Stage.user_features]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is scored, audited and published."""
    calls: list[tuple[Any, ...]] = []

    def execute(night: Any, entries: Any) -> dict[str, Any]:
        entry = entries[-1]
        if not isinstance(entry, StageDays) or entry.stage != "score":
            return {}
        assert entry.model is not None
        model_id = entry.model(night.days)
        calls.append(("score", model_id, tuple(entry.days(night.days))))
        return {"score": SCORED}

    def publish(night: object, candidate: Candidate, days: Any) -> SimpleNamespace:
        calls.append(("publish", candidate, tuple(days)))
        return SimpleNamespace(release_id="r")

    def audit(night: object, candidate: Candidate, days: Any) -> None:
        calls.append(("audit", candidate, tuple(days)))

    night = into(tmp_path)
    monkeypatch.setattr(past, "execute", execute)
    monkeypatch.setattr(past.publish, "audit", audit)
    monkeypatch.setattr(past.publish, "publish", publish)
    monkeypatch.setattr(past, "report", lambda *given: {})
    monkeypatch.setattr(run_pages, "create_markdown_artifact", lambda *given, **named: None)
    monkeypatch.setattr(past, "say", lambda line: None)
    monkeypatch.setattr(past, "read_settings", lambda **given: None)
    monkeypatch.setattr(past, "open_backfill", lambda *given: night)
    monkeypatch.setattr(past, "only_writer", lambda *given: nullcontext())
    return calls


def into(tmp_path: Path) -> Any:
    """An empty home."""
    return SimpleNamespace(
        engine=open_database(f"sqlite:///{tmp_path}/n.db"),
        reports=[StageReport("labels", 1, 1)],
        as_of=D2,
        run_id="run",
        days=None,
        settings=SimpleNamespace(home_folder=Home.of(tmp_path / "home")),
        context=SimpleNamespace(
            settings=SimpleNamespace(chunk_days=92),
            mapping=SimpleNamespace(sources=(), mapped_tables=(), mapped=()),
        ),
    )


def test_a_backfill_into_an_empty_home_is_released_without_scores(
    asked: list[tuple[Any, ...]],
) -> None:
    done = past.backfill.fn(D1, D2, mode=Mode.run, stages=FEATURES)
    assert done == {"as_of": D2, "run_id": "run", "recomputed": 1, "release_id": "r"}
    assert asked == [
        ("score", NO_MODEL, (D2,)),
        ("audit", Candidate((SCORED,)), (D2,)),
        ("publish", Candidate((SCORED,)), (D1, D2)),
    ]


NO_MODEL_YET = (
    "stages: there is no model to score with yet. Run a night first, or leave out score: features, "
    "labels and examples need no model"
)


def settings_of_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> NightjarSettings:
    """An empty home and a mapping of users alone, whose files nobody may look at."""
    monkeypatch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    monkeypatch.setattr(Run, "look_at_files", lambda night: pytest.fail("files were looked at"))
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
    return read_settings(
        home=tmp_path / "home", source=tmp_path / "m.toml", raw=tmp_path / "raw", **more
    )


@pytest.mark.parametrize("stages", [[Stage.score], [Stage.examples, Stage.score]])
def test_a_backfill_without_a_model_that_is_to_score_ends_before_it_looks_at_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: list[Stage]
) -> None:
    settings = settings_of_users(tmp_path, monkeypatch)
    with pytest.raises(UsageError) as error:
        open_backfill(D1, D2, stages, settings)
    assert str(error.value) == NO_MODEL_YET


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (
            {},
            "products: no source for orders or reviews; ads: no source for engagements; posts: no "
            "source for posts, engagements; people: no source for follows",
        ),
        (
            {"no_recommendations": True},
            "; ".join(
                f"{name}: no_recommendations is set"
                for name in ("products", "ads", "posts", "people")
            ),
        ),
    ],
)
def test_a_backfill_of_recommendations_without_a_surface_ends_before_it_looks_at_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], why: str
) -> None:
    settings = settings_of_users(tmp_path, monkeypatch, **more)
    with pytest.raises(UsageError) as error:
        open_backfill(D1, D2, [Stage.recommendations], settings)
    assert str(error.value) == f"stages: recommendations need a surface, and all are off ({why})"


def test_a_backfill_without_a_model_publishes_no_scores(
    tmp_path: Path, asked: list[tuple[Any, ...]]
) -> None:
    with pytest.raises(UsageError) as error:
        past.backfill.fn(D1, D1, mode=Mode.run, stages=[Stage.score])
    assert str(error.value) == NO_MODEL_YET
    assert asked == []
    assert Releases(into(tmp_path).engine).current() is None
    (page,) = (tmp_path / "home/reports").glob("*.html")
    assert page.name == f"backfill-{D1}-to-{D1}-failed.html"
    first = (
        f"<p><strong>Failed: the backfill of {D1} to {D1} has published nothing; there is no "
        "release yet.</strong></p>"
    )
    assert first in page.read_text()


def test_a_backfill_that_failed_leaves_the_page_of_a_good_one_and_says_all_that_was_asked(
    tmp_path: Path, asked: list[tuple[Any, ...]]
) -> None:
    home = Home.of(tmp_path / "home")
    home.storage.write_text(home.report_of_backfill(D1, D1), "of the release that stands")
    with pytest.raises(UsageError):
        past.backfill.fn(
            D1,
            D1,
            mode=Mode.run,
            reason="late logs",
            stages=[Stage.labels, Stage.score],
            engine=EngineName.per_day,
            force=True,
            source="shop.toml",
            raw="raw logs",
        )
    assert home.storage.read_text(home.report_of_backfill(D1, D1)) == "of the release that stands"
    failed = home.storage.read_text(home.report_of_failed_backfill(D1, D1))
    command = (
        "nightjar backfill --start 2025-01-01 --end 2025-01-01 --stages labels,score --engine "
        "per-day --force --source shop.toml --raw 'raw logs' --reason 'late logs'"
    )
    assert command in unescape(failed)
