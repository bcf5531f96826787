"""Candidates of a random world, with and without what nobody could know at the midnight."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from contracts.recommendation_tables import REC_CANDIDATES, REC_HISTORIES, REC_ITEMS, REC_POPULAR
from contracts.surfaces import SURFACES
from jobs.candidates import items, pair_facts
from jobs.candidates.canaries import CANARY, known_before, with_later_targets
from jobs.candidates.interactions import interactions
from jobs.features.point_in_time import known_on
from jobs.mapping.sources import read_mapping
from jobs.recommendations_from_clean import Written, recommendations_from_clean
from jobs.stage import Settings
from jobs.values.user_key import UserKey
from tests.conftest import REPOSITORY
from tests.jobs.candidates import naive_tables as naive
from tests.jobs.features.worlds import START

CUT = START + timedelta(days=95)  # in the middle of a month
TABLES = (REC_ITEMS, REC_HISTORIES, REC_POPULAR, REC_CANDIDATES)


@pytest.fixture(scope="module")
def clean(spark: SparkSession) -> dict[str, DataFrame]:
    return naive.world_with_recommendations(4).frames(spark)


def made(clean: Mapping[str, DataFrame], folder: Path, *days: date) -> Written:
    mapping = read_mapping(REPOSITORY / "infra/sources/market.toml")
    settings = Settings(mapping, UserKey(b"a key for the tests alone"))
    return recommendations_from_clean(clean, days, settings, str(folder))


def with_canaries(written: Written, day: date) -> list[str]:
    """Tables with a row as of the day that names what only exists after the cut."""
    return [
        table.name
        for table in TABLES
        if any(
            CANARY in str(row)
            for path in written[table.name][day].files
            for row in pq.read_table(path).to_pylist()
        )
    ]


def digests(written: Written, day: date) -> dict[str, str]:
    return {table.name: written[table.name][day].digest for table in TABLES}


@pytest.mark.slow
def test_what_is_deleted_or_only_exists_later_changes_no_row_to_the_bit(
    clean: dict[str, DataFrame], tmp_path: Path
) -> None:
    planted = with_later_targets(clean, CUT, 0.5, 1)
    known = made(known_before(clean, CUT), tmp_path / "known", CUT)
    later = made(planted, tmp_path / "later", CUT, CUT + timedelta(days=1))
    assert all(known[table.name][CUT].rows for table in TABLES)
    assert digests(later, CUT) == digests(known, CUT)
    assert with_canaries(later, CUT) == []
    # A day later everybody may know of them.
    assert with_canaries(later, CUT + timedelta(days=1)) == [table.name for table in TABLES]


def test_a_stage_that_sees_its_own_day_shows_what_only_exists_later(
    clean: dict[str, DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = with_later_targets(clean, CUT, 0.5, 1)
    known = items.Known(interactions(planted), items=planted["items"])
    products = [surface for surface in SURFACES if surface.name == "products"]

    def n_canaries() -> int:
        rows = items.rec_items(known, products, [CUT])
        return rows.where(F.col("item_id").startswith(CANARY)).count()

    assert n_canaries() == 0

    def leaky(day: Column) -> Column:
        return F.date_sub(known_on(day), 1)

    for module in (items, pair_facts):
        monkeypatch.setattr(module, "known_on", leaky)
    assert n_canaries() > 0
