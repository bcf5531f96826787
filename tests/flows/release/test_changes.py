"""What an analyst finds changed in a release."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from contracts.tables import USER_SCORES
from flows.lake.lake import Lake
from flows.release.changes import Shape, changes, columns_changed, redefined
from flows.state.receipts import Fingerprint, Receipt, Receipts
from flows.state.schema import open_database
from tests.flows.lakes import D1, D2, release_of


def receipt(stage: str, day: date, run_id: str, code: str, **outputs: object) -> Receipt:
    fingerprint = Fingerprint(code, "configuration", "inputs")
    at = datetime(2025, 1, 3, tzinfo=UTC)
    return Receipt(stage, day, fingerprint, outputs, 1, 1, 1.0, 1, None, run_id, at)


def test_two_releases_differ_in_tasks_and_rows(tmp_path: Path) -> None:
    lake, receipts = Lake(tmp_path / "lake"), Receipts(open_database(f"sqlite:///{tmp_path}/n.db"))
    before = release_of(lake, tmp_path, D1, "first")
    lake.point_main(USER_SCORES, before.snapshots[USER_SCORES.name])
    now = release_of(lake, tmp_path, D2, "second")
    receipts.write(
        [
            receipt("score", D1, "1", "c", tasks=["churn_28d", "spend_30d"]),
            receipt("score", D2, "2", "c", tasks=["churn_28d", "view_7d"]),
        ]
    )
    found = changes(lake, receipts, before, now, {})
    assert (found.before, found.before_as_of) == ("first", D1)
    assert (found.tasks_added, found.tasks_withheld) == (("view_7d",), ("spend_30d",))
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


def test_a_table_is_redefined_where_other_code_computed_it(tmp_path: Path) -> None:
    receipts = Receipts(open_database(f"sqlite:///{tmp_path}/n.db"))
    receipts.write(
        [
            receipt("user_features", D1, "1", "old"),
            receipt("user_features", D2, "2", "new"),
            receipt("item_features", D1, "1", "same"),
            receipt("item_features", D2, "2", "same"),
            receipt("user_days_orders", D1, "1", "old"),  # is no table that analysts read
            receipt("user_days_orders", D2, "2", "new"),
            receipt("labels", D2, "2", "new"),  # was not computed before
        ]
    )
    assert redefined(receipts, {"1"}, {"2"}) == ("user_features",)
