"""Lists of days whose candidates are no longer kept leave with the next release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from contracts.recommendation_tables import REC_LISTS
from contracts.tables import USER_SCORES
from flows.lake.lake import Lake
from flows.release import duckdb_views
from flows.release.releases import Release, Releases
from flows.state.receipts import Fingerprint
from flows.steps import candidate, publish
from flows.steps.candidate import Candidate, write_table
from flows.steps.process_stages import PROCESS_STAGES, update_for
from flows.steps.writers import Writer, WriteRequest, WriteResult, WrittenFiles
from tests.flows.steps.simulated_scores import FIRST, SETS, NightOf, SimulatedNight

EMPTY: dict[str, Any] = {
    c.name: None if c.nullable else [] if c.column_type.is_array else 0 for c in REC_LISTS.columns
} | {"ranker_id": "r1", "policy_id": "p1"}
KEPT_DAYS = 1


def days_in(lake: Lake, release: Release, name: str) -> list[int]:
    """The days of a release's table, from the first night on."""
    table = {table.name: table for table in (REC_LISTS, USER_SCORES)}[name]
    return [
        n
        for n in range(9)
        for day in [FIRST + timedelta(days=n)]
        if lake.files(table, day, day + timedelta(days=1), snapshot=release.snapshots[name])
    ]


def lists_of(night: SimulatedNight) -> Writer:
    """Writes a list for each user."""

    def write(context: object, receipts: object, request: WriteRequest) -> WriteResult:
        days = {}
        for day in request.days:
            about = {"as_of": day, "surface": "products", "release_id": request.release_id}
            rows = [{**EMPTY, **about, "user_key": user} for user in night.users]
            files = night.write(REC_LISTS, rows).files
            days[day] = WrittenFiles(len(rows), files)
        return WriteResult(3, days)

    return Writer(write)


def published(night: SimulatedNight, *days: date) -> Release:
    """A night whose scores are made up, with lists of these days."""
    night.reload_receipts()
    (scores,) = night.commit(night.context.tasks).tables
    asked = {"score": [night.as_of], "rank": list(days)}
    update = update_for(night.days, "rank", asked, "m1")
    written = write_table.fn(night, update, lists_of(night))
    release: Release = publish.publish.fn(night, Candidate((scores, written)), [night.as_of])
    # Rows say the id of the release that has them.
    assert release.release_id == update.release_id
    return release


def keep(monkeypatch: pytest.MonkeyPatch, since: Callable[..., date | None]) -> None:
    """Have candidates and lists be kept since a day."""
    for module in (candidate, publish):
        monkeypatch.setattr(module, "kept_since", since)


@pytest.fixture
def night_of(night_of: NightOf, said: list[str], monkeypatch: pytest.MonkeyPatch) -> NightOf:
    made_up = Fingerprint("code", "config", "inputs")
    for stage in ("score", "rank"):
        changed = replace(PROCESS_STAGES[stage], fingerprint=lambda *given: made_up)
        monkeypatch.setitem(PROCESS_STAGES, stage, changed)
    keep(monkeypatch, lambda settings, newest: newest - timedelta(days=KEPT_DAYS))
    monkeypatch.setattr(candidate, "check_features", lambda *given: None)
    monkeypatch.setattr(duckdb_views, "_comment", lambda *given: None)  # takes longer than the rest
    return night_of


def test_lists_leave_and_scores_stay_and_a_release_before_still_has_them(night_of: NightOf) -> None:
    nights = [night_of(n, SETS[-1]) for n in range(3)]
    releases = []
    for night in nights:
        releases.append(published(night, night.as_of))
    lake = nights[-1].lake
    assert [days_in(lake, release, "rec_lists") for release in releases] == [
        [0], [0, 1], [1, 2],
    ]  # fmt: skip
    assert days_in(lake, releases[-1], "user_scores") == [0, 1, 2]
    # Who asks for a day that has left gets it written again, and a plan says so.
    assert nights[-1].receipts.days("rank") == (nights[1].as_of, nights[2].as_of)
    # The same night again changes nothing, and its release has its id.
    again = published(nights[-1], nights[-1].as_of)
    assert again.release_id == releases[-1].release_id
    assert days_in(lake, again, "rec_lists") == [1, 2]


def test_lists_of_a_past_day_that_are_asked_for_stay_for_one_release(night_of: NightOf) -> None:
    nights = [night_of(n, SETS[-1]) for n in range(4)]
    for night in nights[:3]:
        published(night, night.as_of)
    backfilled = published(nights[2], FIRST)
    lake = nights[-1].lake
    assert days_in(lake, backfilled, "rec_lists") == [0, 1, 2]
    assert days_in(lake, published(nights[3], nights[3].as_of), "rec_lists") == [2, 3]


def test_they_leave_too_where_nothing_is_ranked_again(
    night_of: NightOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shorter time to keep them was set: the night is done again, and reuses its lists."""
    keep(monkeypatch, lambda settings, newest: None)
    nights = [night_of(n, SETS[-1]) for n in range(2)]
    for night in nights:
        before = published(night, night.as_of)
    last = nights[-1]
    assert days_in(last.lake, before, "rec_lists") == [0, 1]
    keep(monkeypatch, lambda settings, newest: newest)
    release = published(last, last.as_of)
    assert days_in(last.lake, release, "rec_lists") == [1]
    assert Releases(last.engine).current() == release
    assert release.release_id != before.release_id


def test_days_that_a_rollback_has_brought_back_leave_again(night_of: NightOf) -> None:
    nights = [night_of(n, SETS[-1]) for n in range(4)]
    for night in nights[:3]:
        published(night, night.as_of)
    lake = nights[-1].lake
    _, before = Releases(nights[2].engine).rollback(lake)
    for table in (REC_LISTS, USER_SCORES):
        lake.point_main(table, before.snapshots[table.name])
    assert days_in(lake, before, "rec_lists") == [0, 1]
    assert days_in(lake, published(nights[3], nights[3].as_of), "rec_lists") == [3]
