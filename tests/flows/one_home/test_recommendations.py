"""Lists on the home that the tests of flows share: what changes them, and what takes them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from contracts.errors import ContractError
from contracts.recommendation_tables import REC_LISTS, RECOMMENDATIONS
from contracts.surfaces import SURFACES
from flows.cli.main import app
from flows.nightly import nightly
from flows.release.diff import compare
from flows.release.duckdb_views import query
from flows.release.recommended import user_lists, widths
from flows.rollback import rollback
from flows.settings import read_settings
from flows.state.receipts import Receipts
from flows.state.schema import open_database
from flows.steps import ranking
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


def _dies(*_: object) -> None:
    raise ContractError("it ended without a report")


def test_every_surface_has_its_lists_and_its_width(home: Path) -> None:
    database = home / "nightjar.duckdb"
    (user,) = rows_of(home, RECOMMENDATIONS.name, "min(user_key)")[0]
    names = [surface.name for surface in SURFACES]
    assert [of.surface for of in user_lists(database, user)] == names
    assert [width.surface for width in widths(database)] == names
    assert all(0 < width.n_shown <= width.n_items for width in widths(database))
