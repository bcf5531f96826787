"""Lists on the home that the tests of flows share: what changes them, and what takes them back."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.errors import ContractError
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_ITEMS,
    REC_LISTS,
    REC_OUTCOMES,
    RECOMMENDATIONS,
)
from contracts.surfaces import SURFACES
from flows.backfill import Mode, Stage, backfill
from flows.cli.main import app
from flows.engine.home_state import HomeState
from flows.engine.run import Run
from flows.engine.run_context import RunContext
from flows.monitor import recommendation_outcomes as outcomes
from flows.nightly import nightly
from flows.release.diff import compare
from flows.release.duckdb_views import query
from flows.release.parquet_views import read_files
from flows.release.recommended import user_lists, widths
from flows.rollback import rollback
from flows.settings import read_settings
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from flows.steps import ranking
from flows.storage.duckdb_connections import in_memory
from tests.flows.first_night import NIGHT

pytestmark = [pytest.mark.usefixtures("first"), pytest.mark.slow]
WORTH = "NIGHTJAR_SURFACES__PRODUCTS__WORTH"
FOR_VIEWS = json.dumps({"order": 0, "review": 0, "like": 0, "click": 0, "view": 1})


def planned(*words: str) -> set[tuple[str, str]]:
    """Stages of tonight that a plan would compute, and why."""
    done = CliRunner().invoke(app, ["plan", "--as-of", str(NIGHT), "--format", "json", *words])
    return {(d["stage"], d["reason"]) for d in json.loads(done.stdout)["days"] if not d["reuse"]}


def rows_of(home: Path, table: str, columns: str = "* EXCLUDE (release_id)") -> list[Any]:
    return query(home / "nightjar.duckdb", f"SELECT {columns} FROM {table} ORDER BY ALL")[1]


def computed(home: Path, run_id: str) -> set[str]:
    """Stages that a run has written receipts of."""
    engine = open_database(f"sqlite:///{home}/nightjar.db")
    return {receipt.stage for receipt in Receipts(engine).of_run(run_id)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (WORTH, FOR_VIEWS),
        ("NIGHTJAR_SURFACES__POSTS__POLICY", '{"max_per_category": 2, "exploration": 0.1}'),
        ("NIGHTJAR_SURFACES__ADS__N_ITEMS", "20"),
    ],
)
def test_another_worth_or_policy_ranks_again_and_counts_nothing_again(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    before = planned()
    assert not {stage for stage, _ in before} & {"rank", "recommendations"}
    monkeypatch.setenv(name, value)
    assert planned() - before == {
        ("rank", "configuration changed"),
        ("recommendations", "cascaded from rank"),
    }


def test_a_night_that_dies_before_it_ranks_goes_on_there_and_a_rollback_takes_its_lists_back(
    home: Path, first: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(home, REC_LISTS.name)
    products = f"{REC_LISTS.name} WHERE surface = 'products'"
    firsts = rows_of(home, products, "user_key, item_ids[:5]")
    with monkeypatch.context() as settings:
        settings.setenv("NIGHTJAR_SURFACES__PRODUCTS__N_ITEMS", "5")
        with settings.context() as killed:
            killed.setattr(ranking, "run_models", _dies)
            assert nightly(NIGHT, return_state=True).is_failed()
        assert rows_of(home, REC_LISTS.name) == before
        done = nightly(NIGHT)
    assert done["release_id"] != first["release_id"]
    assert computed(home, done["run_id"]) >= {"rank", "recommendations"}
    assert not computed(home, done["run_id"]) & {
        "rec_items", "rec_histories", "rec_popular", "rec_candidates", "rec_retrieved",
    }  # fmt: skip
    assert rows_of(home, products, "user_key, item_ids") == firsts
    others = f"{REC_LISTS.name} WHERE surface <> 'products'"
    assert rows_of(home, others) == [row for row in before if "products" not in row]
    compared = compare(read_settings(), first["release_id"], done["release_id"], None)
    assert {row[0] for row in compared.tables} >= {REC_LISTS.name, RECOMMENDATIONS.name}

    rollback()
    assert rows_of(home, REC_LISTS.name) == before
    again = nightly(NIGHT)
    assert again["release_id"] == first["release_id"]
    assert rows_of(home, REC_LISTS.name) == before


def test_lists_of_a_past_day_are_compared_once_with_what_then_happened(home: Path) -> None:
    """Of ads a week, of posts three days; what is bought within a month is not known yet."""
    day = NIGHT - timedelta(days=10)
    backfill(day, day, stages=[Stage.recommendations], mode=Mode.run)
    night = Run(read_settings(), NIGHT)
    assert outcomes.due(night.context, night.state) == (day,)
    outcomes.compare(night, (day,), lambda line: None)

    rows = night.lake.table(REC_OUTCOMES).scan().to_arrow().to_pylist()
    assert {row["surface"] for row in rows} == {"ads", "posts"}
    of_all = {
        row["method"]: row for row in rows if (row["surface"], row["segment"]) == ("ads", "all")
    }
    assert of_all.keys() == {"published", "popular", "own"}
    published = of_all["published"]
    assert published["low"] <= published["ndcg10"] <= published["high"]
    assert of_all["own"]["gain"] == pytest.approx(published["ndcg10"] - of_all["own"]["ndcg10"])
    assert published["n_users"] == clicked_ads(night, day)
    assert outcomes.due(*_anew(NIGHT)) == ()


def _anew(as_of: date) -> tuple[RunContext, HomeState]:
    night = Run(read_settings(), as_of)
    return night.context, night.state


def clicked_ads(night: Run, day: date) -> int:
    """Users with a list who clicked an ad that was known, in the week from a day on."""
    files = {
        table: [f.path for f in night.lake.files(table)] for table in (INTERACTIONS, REC_ITEMS)
    }
    with in_memory() as connection:
        for table, paths in files.items():
            read_files(connection, paths).create_view(table.name)
        (row,) = connection.execute(
            f"""
            SELECT count(DISTINCT user_key) FROM {INTERACTIONS.name}
            WHERE target_kind = 'ad' AND event = 'click' AND landed_on < DATE '{NIGHT}'
                AND day >= DATE '{day}' AND day < DATE '{day}' + 7
                AND user_key IN ({_keys(night, day)})
                AND target_id IN (SELECT item_id FROM {REC_ITEMS.name}
                    WHERE surface = 'ads' AND as_of = DATE '{day}')"""
        ).fetchall()
    return int(row[0])


def _keys(night: Run, day: date) -> str:
    lists = query(
        night.settings.home_folder.analysts_file,
        f"SELECT user_key FROM {REC_LISTS.name} WHERE surface = 'ads' AND as_of = DATE '{day}'",
    )[1]
    return ", ".join(f"'{key}'" for (key,) in lists)


def _dies(*_: object) -> None:
    raise ContractError("it ended without a report")


def test_every_surface_has_its_lists_and_its_width(home: Path) -> None:
    database = home / "nightjar.duckdb"
    (user,) = rows_of(home, RECOMMENDATIONS.name, "min(user_key)")[0]
    names = [surface.name for surface in SURFACES]
    assert [of.surface for of in user_lists(database, user)] == names
    assert [width.surface for width in widths(database)] == names
    assert all(0 < width.n_shown <= width.n_items for width in widths(database))
