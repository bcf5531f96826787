"""What an analyst finds changed in a release."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from contracts.tables import USER_SCORES
from flows.lake.lake import Lake
from flows.release.changes import Shape, changes, columns_changed, redefined
from flows.release.releases import Release, Releases, scored_tasks
from flows.state.receipts import Fingerprint, Receipt, Receipts
from flows.state.schema import open_database
from tests.flows.lakes import D1, D2, release_of

AT = datetime(2025, 1, 3, tzinfo=UTC)


def test_two_releases_differ_in_tasks_and_rows(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    made = release_of(lake, tmp_path, D1, "first")
    lake.point_main(USER_SCORES, made.snapshots[USER_SCORES.name])
    before = replace(made, tasks=("churn_28d", "spend_30d"), codes={"labels": "old"})
    made = release_of(lake, tmp_path, D2, "second")
    now = replace(made, tasks=("churn_28d", "view_7d"), codes={"labels": "new"})
    found = changes(lake, before, now)
    assert (found.before, found.before_as_of) == ("first", D1)
    assert (found.tasks_added, found.tasks_withheld) == (("view_7d",), ("spend_30d",))
    assert (found.redefined, found.not_known) == (("labels",), ())
    assert found.rows == {"user_scores": (2, 4)}
    assert found.moved_rows == {"user_scores": (2, 4)}
    assert (found.columns_added, found.columns_gone, found.columns_retyped) == ((), (), ())


def test_columns_come_go_and_change_their_type() -> None:
    before = {
        "labels": Shape((("a", "int32"), ("b", "string")), 1),
        "scoreboard": Shape((), 0),  # had no file: nothing can be said of its columns
    }
    now = {
        "labels": Shape((("a", "int64"), ("c", "string")), 1),
        "scoreboard": Shape((("task", "string"),), 1),
    }
    assert columns_changed(before, now) == (
        ("labels.c",),
        ("labels.b",),
        ("labels.a: int32 to int64",),
    )


def test_a_release_of_an_earlier_version_leaves_tasks_and_definitions_unknown(
    tmp_path: Path,
) -> None:
    lake = Lake(tmp_path / "lake")
    before = release_of(lake, tmp_path, D1, "first")
    lake.point_main(USER_SCORES, before.snapshots[USER_SCORES.name])
    made = release_of(lake, tmp_path, D2, "second")
    found = changes(lake, before, replace(made, tasks=("churn_28d",), codes={"labels": "new"}))
    assert (found.tasks_added, found.tasks_withheld, found.redefined) == ((), (), ())
    assert found.not_known == ("tasks", "definitions")


def test_a_table_is_redefined_where_other_code_has_computed_it_last() -> None:
    before = {"user_features": "old", "item_features": "same", "user_days_orders": "old"}
    now = {
        "user_features": "new",
        "item_features": "same",
        "user_days_orders": "new",  # is no table that analysts read
        "labels": "new",  # was not computed before
    }
    assert redefined(before, now) == ("user_features",)


def test_what_a_release_is_made_of_stays_though_receipts_are_written_over(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/n.db")
    receipts, releases = Receipts(engine), Releases(engine)

    def published(release_id: str, code: str, tasks: list[str]) -> Release:
        receipts.write([receipt("score", code, tasks), receipt("user_features", code)])
        release = Release(
            release_id,
            D2,
            "m",
            "f",
            {},
            release_id,
            AT,
            codes=receipts.codes(),
            tasks=scored_tasks(receipts, D2),
        )
        releases.publish(release)
        return release

    # Of the same day, as a night that is run again after an upgrade.
    first = published("first", "old", ["churn_28d"])
    second = published("second", "new", ["churn_28d", "view_7d"])
    assert releases.all() == (first, second)
    assert first.codes == {"score": "old", "user_features": "old"}
    found = changes(Lake(tmp_path / "lake"), first, second)
    assert found.redefined == ("user_features",)
    assert found.tasks_added == ("view_7d",)


def receipt(stage: str, code: str, tasks: list[str] | None = None) -> Receipt:
    """Of a day that is computed again and again."""
    fingerprint = Fingerprint(code, "configuration", "inputs")
    return Receipt(stage, D2, fingerprint, {"tasks": tasks}, 1, 1, 1.0, 1, None, "run", AT)
