"""Which past days a surface learns from."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from contracts.ranking_config import RankingConfig
from contracts.specs import RankInputs
from contracts.surfaces import SURFACES, ranker_days
from models.ranking.past_days import days_of, past_days
from tests.models.ranking.small_market import (
    CONFIG,
    DAY,
    PRODUCTS,
    USERS,
    rank_day,
    write_day,
    write_purchases,
)


def known_as_of(*days: date) -> list[RankInputs]:
    return [RankInputs(day, (), (), (), (), (), ()) for day in days]


def test_a_surface_learns_from_none_of_the_days_of_another() -> None:
    """As of a week before little is known yet of what is bought within a month."""
    products = next(s for s in SURFACES if s.name == "products")
    ads = replace(next(s for s in SURFACES if s.name == "ads"), learn_every_days=7)
    days = ranker_days((products, ads), 3, DAY, date.min)
    assert [(DAY - day).days for day in days] == [90, 60, 30, 21, 15, 14, 7, 3]
    for surface, ago in ((products, [90, 60, 30, 15]), (ads, [21, 14, 7, 3])):
        own = days_of(surface, DAY, known_as_of(*days), RankingConfig())
        assert [(DAY - inputs.as_of).days for inputs in own] == ago


def test_of_a_day_with_an_open_horizon_order_is_learned_and_nothing_is_judged(
    tmp_path: Path,
) -> None:
    day, near = rank_day(tmp_path), DAY - timedelta(days=15)
    (tmp_path / "in" / str(near)).mkdir(parents=True)
    since = write_purchases(tmp_path / "in" / str(near), [near])
    day = replace(
        day,
        past=(*day.past, write_day(tmp_path / "in", near)),
        interactions=(*day.interactions, *since),
    )
    past = past_days(PRODUCTS, day, CONFIG)
    assert [(DAY - known).days for known in past.days] == [90, 60, 30]
    assert past.recent is not None
    learned_from = (~past.judged.is_held_out).sum()
    assert len(past.judged) == len(USERS)
    assert len(past.recent) == learned_from
    assert len(past.refit()) == len(past.learn) + 2 * learned_from


def test_what_was_learned_from_is_said_also_where_it_is_one_day_or_nothing(tmp_path: Path) -> None:
    day = rank_day(tmp_path)
    for past, learned_from, days in (
        (day.past, "past days", [90, 60, 30]),
        (day.past[-1:], "past days", [30]),
        ((), "nothing", []),
    ):
        found = past_days(PRODUCTS, replace(day, past=past), CONFIG)
        assert found.learned_from == learned_from
        assert [(DAY - known).days for known in found.days] == days
    too_few = replace(CONFIG, min_learn_users=10**6)
    found = past_days(PRODUCTS, replace(day, past=day.past[-1:]), too_few)
    assert (found.learned_from, found.days) == ("past days", (DAY - timedelta(days=30),))
