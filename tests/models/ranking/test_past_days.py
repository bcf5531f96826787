"""Which past days a surface learns from."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from contracts.ranking_config import RankingConfig
from contracts.specs import RankInputs
from contracts.surfaces import SURFACES, ranker_days
from models.ranking.past_days import days_of

DAY = date(2025, 6, 1)


def known_as_of(*days: date) -> list[RankInputs]:
    return [RankInputs(day, (), (), (), (), (), ()) for day in days]


def test_a_surface_learns_from_none_of_the_days_of_another() -> None:
    """As of a week before it is not known yet what is bought within a month."""
    products = next(s for s in SURFACES if s.name == "products")
    ads = replace(next(s for s in SURFACES if s.name == "ads"), learn_every_days=7)
    days = ranker_days((products, ads), 3, DAY, date.min)
    assert [(DAY - day).days for day in days] == [90, 60, 30, 21, 14, 7]
    for surface, ago in ((products, [90, 60, 30]), (ads, [21, 14, 7])):
        own = days_of(surface, DAY, known_as_of(*days), RankingConfig())
        assert [(DAY - inputs.as_of).days for inputs in own] == ago
