"""Which stages of recommendations a run has, and as of which days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.tables import NO_MODEL
from flows.engine.run import Run
from flows.planning import stage_list
from flows.planning.stage_list import Entry, SideBySide, StageDays
from flows.release.releases import Release, now
from flows.settings import read_settings
from tests.flows.planning.mappings import log_of_views

MAPPING = log_of_views()
NO_SURFACE = """
name = "shop"
[sources.log]
files = "{day}.csv"
format = "csv"
columns = ["id", "user", "time"]
[sources.log.tables.account_events]
event_id = "id"
user_id = "user"
kind = "'login'"
succeeded = "true"
occurred_at = "time"
"""
START, NIGHT = date(2025, 1, 1), date(2025, 4, 11)  # a hundred days of logs
CANDIDATES = ["rec_items", "rec_histories", "rec_popular", "rec_candidates", "rec_retrieved"]
LISTS = ["rank", "recommendations"]
RELEASE = Release("r1", NIGHT - timedelta(days=1), "m1", "r1", {}, "x", now())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A run over a hundred days of logs of which nothing was computed yet."""
    monkeypatch.setenv("NIGHTJAR_KEY", "a key for the tests alone")
    (tmp_path / "raw").mkdir()
    runs = []

    def opened(mapping: str = MAPPING, **settings: object) -> Run:
        (tmp_path / "m.toml").write_text(mapping)
        given = {"home": tmp_path / "home", "source": tmp_path / "m.toml", "raw": tmp_path / "raw"}
        night = Run(read_settings(**given, **settings), NIGHT)
        runs.append(night)
        return night

    yield opened
    for night in runs:
        night.engine.dispose()


def expected(night: Run) -> Any:
    """Its days, where rows are expected to land on each of the hundred."""
    return night.days.expecting([START + timedelta(days=n) for n in range(100)])


def flat(entries: Iterable[Entry]) -> list[StageDays]:
    found = []
    for entry in entries:
        stages = entry.stages if isinstance(entry, SideBySide) else (entry,)
        found += [stage for stage in stages if isinstance(stage, StageDays)]
    return found


def names(entries: Iterable[Entry]) -> list[str]:
    return [entry.stage for entry in flat(entries)]


def test_a_night_finds_candidates_as_of_the_days_that_its_rankers_learn_from_and_ranks_tonight(
    run: Any,
) -> None:
    night = run()
    entries = {entry.stage: entry for entry in flat(stage_list.nightly(night.context))}
    # Of ninety days back there is no log.
    past = [NIGHT - timedelta(days=days_back) for days_back in (60, 30, 15)]
    for stage in CANDIDATES:
        assert list(entries[stage].days(expected(night))) == [*past, NIGHT]
    for stage in LISTS:
        assert list(entries[stage].days(expected(night))) == [NIGHT]
        assert entries[stage].released_with == ("score", "rank", "recommendations")
    assert set(past) <= set(entries["user_features"].days(expected(night)))
    order = list(entries)
    places = [order.index(name) for name in ("user_features", *CANDIDATES, "score", *LISTS)]
    assert places == sorted(places)
    assert "rec_outcomes" in order


def test_without_a_surface_there_are_no_stages_of_recommendations(run: Any) -> None:
    for night in (run(no_recommendations=True), run(NO_SURFACE)):
        entries = flat(stage_list.nightly(night.context))
        assert not {*CANDIDATES, *LISTS, "rec_outcomes"} & {entry.stage for entry in entries}
        (score,) = (entry for entry in entries if entry.stage == "score")
        assert score.released_with == ("score",)
        (features,) = (entry for entry in entries if entry.stage == "user_features")
        assert NIGHT - timedelta(days=30) not in features.days(expected(night))


def test_a_surface_that_is_off_says_what_it_lacks(run: Any) -> None:
    assert run().context.surfaces_off == {
        "products": "no source for orders or reviews",
        "posts": "no source for posts",
        "people": "no source for follows",
    }
    said = "no_recommendations is set"
    assert set(run(no_recommendations=True).context.surfaces_off.values()) == {said}


def test_a_backfill_makes_lists_only_where_they_are_asked_for(run: Any) -> None:
    night = run()
    days = [NIGHT - timedelta(days=5), NIGHT - timedelta(days=4)]

    def backfill(stages: list[str], current: Release | None = RELEASE) -> list[StageDays]:
        asked = stage_list.backfill(night.context, days, stages, "one-pass", False, current)
        return flat(asked)

    assert not {*CANDIDATES, *LISTS} & {entry.stage for entry in backfill(["score"])}
    lists = backfill(["recommendations"])
    assert [entry.stage for entry in lists if entry.released_with] == LISTS
    by_name = {entry.stage: entry for entry in lists}
    assert list(by_name["rank"].days(expected(night))) == days
    known = [day - timedelta(days=days_back) for days_back in (60, 30, 15, 0) for day in days]
    for stage in ("item_features", "user_features", *CANDIDATES):
        assert list(by_name[stage].days(expected(night))) == known
    both = backfill(["score", "recommendations"])
    assert [entry.stage for entry in both if entry.released_with] == ["score", *LISTS]
    assert names(backfill(["labels"], None))[-1] == "score"  # that nobody was scored yet


def test_a_replay_makes_the_newest_lists_again_with_what_they_are_made_of(run: Any) -> None:
    night = run()
    entries = {e.stage: e for e in flat(stage_list.replay(night.context, {}, RELEASE))}
    assert [*entries][-3:] == ["score", *LISTS]
    assert list(entries["rec_candidates"].days(expected(night)))[-1] == RELEASE.as_of
    assert entries["rank"].model is not None
    assert entries["rank"].model(expected(night)) == "m1" != NO_MODEL
