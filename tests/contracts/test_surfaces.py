"""Surfaces, as they are declared and as settings change them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from contracts.clean_tables import CLEAN_TABLES
from contracts.errors import ContractError, UsageError
from contracts.surface_settings import configured
from contracts.surfaces import (
    SOURCES,
    SURFACES,
    Outcome,
    mapped_surfaces,
    missing_tables,
    ranker_days,
    surface_named,
)
from flows.settings import read_settings


def test_settings_change_fields_policy_and_worth_of_a_surface_and_nothing_else() -> None:
    products, *others = configured(
        {
            "products": {
                "repeats": True,
                "max_age_days": 30,
                "max_list_change": 0.5,
                "sources": ["own", "new"],
                "worth": {"order": 2},
                "policy": {"diversity": 0.1, "max_impressions": None},
            }
        }
    )
    assert (products.repeats, products.max_age_days) == (True, 30)
    assert products.max_list_change == 0.5
    # Neither what is counted nor what is listed is a function of it.
    assert products.for_lists == replace(products, max_list_change=None)
    assert products.for_candidates.max_list_change is None
    assert products.sources == ("own", "new")
    assert [o.worth for o in products.outcomes] == [2.0, 0.5, 0.05, 0.02, 0.01]
    assert (products.policy.diversity, products.policy.max_impressions) == (0.1, None)
    assert products.policy.filters == SURFACES[0].policy.filters
    assert tuple(others) == SURFACES[1:]


def test_everything_that_is_wrong_with_settings_of_surfaces_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nightjar.toml").write_text(
        "settle_days = -1\n"
        "[surfaces.product]\n"
        "repeats = true\n"
        "[surfaces.products]\n"
        "repeat = true\n"
        "worth.oder = 1\n"
        "policy = 3\n"
        "[surfaces.ads]\n"
        "n_items = 'many'\n"
        "repeats = 1\n"
        "[surfaces.posts]\n"
        "sources = ['own']\n"
        "horizon_days = 60\n"
        "n_items = 100000\n"
        "[surfaces.people]\n"
        "policy.diversity = 3\n"
        "[ranking]\n"
        "factors = 0\n"
    )
    with pytest.raises(UsageError) as error:
        read_settings()
    assert str(error.value) == (
        "the settings are not valid:\n"
        "  surfaces.product: no such surface, expected one of products, ads, posts, people; did you "
        "mean products?\n"
        "  surfaces.products.repeat: no such setting, expected one of repeats, horizon_days, "
        "learn_every_days, max_age_days, n_items, sources, max_list_change, worth, policy; did you mean repeats?\n"
        "  surfaces.products.worth.oder: no such event, expected one of order, review, like, click, "
        "view; did you mean order?\n"
        "  surfaces.products.policy: expected a table of settings, found 3\n"
        "  surfaces.ads: repeats: expected bool, found 1\n"
        "  surfaces.ads: n_items: expected int, found 'many'\n"
        "  surfaces.posts: sources: own gives no candidates of kind post; n_items: "
        "expected 1 to 1000, found 100000; learn_every_days: expected horizon_days (60) or more, "
        "found 30\n"
        "  surfaces.people: policy: diversity: expected 0 to below 1, found 3.0\n"
        "  ranking: ranking.factors: expected 1 or more, found 0\n"
        "  settle_days: Input should be greater than or equal to 0"
    )


def test_the_environment_gives_values_as_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIGHTJAR_SURFACES__PRODUCTS__REPEATS", "true")
    monkeypatch.setenv("NIGHTJAR_SURFACES__PRODUCTS__WORTH__ORDER", "2.5")
    monkeypatch.setenv("NIGHTJAR_SURFACES__PRODUCTS__SOURCES", '["own"]')
    monkeypatch.setenv("NIGHTJAR_SURFACES__POSTS__MAX_AGE_DAYS", "none")
    monkeypatch.setenv("NIGHTJAR_RANKING__LEARN_DAYS", "1")
    settings = read_settings()
    products, _, posts, _ = settings.configured_surfaces
    assert (products.repeats, products.outcomes[0].worth, products.sources) == (True, 2.5, ("own",))
    assert posts.max_age_days is None
    assert settings.ranking.learn_days == 1


def test_a_surface_is_on_where_one_table_of_each_group_that_it_needs_is_mapped() -> None:
    mapped = {"orders", "engagements"}
    assert [surface.name for surface in mapped_surfaces(SURFACES, mapped)] == ["products", "ads"]
    missing = {surface.name: missing_tables(surface, mapped) for surface in SURFACES}
    assert missing == {"products": (), "ads": (), "posts": ("posts",), "people": ("follows",)}


def test_a_surface_without_a_goal_or_of_an_unknown_target_cannot_be_declared() -> None:
    with pytest.raises(ContractError) as error:
        replace(
            SURFACES[0], outcomes=(), target="shop", sources=(), horizon_days=0, max_list_change=2
        )
    assert str(error.value) == (
        "surface products: target: expected one of item, ad, post, user, found shop; sources: "
        "expected one or more; outcomes: none is a goal; horizon_days: expected 1 to 365, found 0; "
        "max_list_change: expected 0 to 1, found 2"
    )


def test_another_worth_or_policy_needs_no_other_ranker_but_other_filters_do() -> None:
    products = SURFACES[0]
    worth = tuple(replace(o, worth=2 * o.worth) for o in products.outcomes)
    policy = replace(
        products.policy, popularity_discount=0.5, diversity=0.5, exploration=0.1, max_per_author=2
    )
    valued = replace(products, outcomes=worth, policy=policy, n_items=7, max_list_change=0.5)
    assert valued.for_ranker == products.for_ranker
    for left in ({"filters": ("owned",)}, {"max_impressions": 3}):
        other = replace(products, policy=replace(products.policy, **left))
        assert other.for_ranker != products.for_ranker
    assert replace(products, horizon_days=7).for_ranker != products.for_ranker


EVENTS = "order, review, view, like, comment, share, click, follow, unfollow"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"sources": ()}, "sources: expected one or more"),
        ({"sources": ("own", "own")}, "sources: own is named more than once"),
        ({"sources": ("follows_back",)}, "sources: follows_back gives no candidates of kind item"),
        ({"outcomes": (Outcome("order", 1.0),) * 2}, "outcomes: order is named more than once"),
        ({"signals": {"buyy": 1}}, f"signals: expected one of {EVENTS}, found buyy"),
        ({"signals": {"order": 0}}, "signals: order: expected 1 or more, found 0"),
        ({"owned_by": ("ordr",)}, f"owned_by: expected one of {EVENTS}, found ordr"),
        ({"owned_by": ("impression",)}, f"owned_by: expected one of {EVENTS}, found impression"),
        ({"max_age_days": 0}, "max_age_days: expected 1 or more, found 0"),
        ({"n_items": 1001}, "n_items: expected 1 to 1000, found 1001"),
        (
            {"horizon_days": 366, "learn_every_days": 366},
            "horizon_days: expected 1 to 365, found 366",
        ),
        (
            {"outcomes": (Outcome("order", 0.0), Outcome("view", 0.0))},
            "worth: expected above 0 for one of order, view, found 0 for all",
        ),
        ({"needs": (("orders",), ())}, "needs: expected one table or more in each group"),
    ],
)
def test_a_surface_that_would_do_nothing_of_what_it_says_cannot_be_declared(
    fields: Mapping[str, Any], problem: str
) -> None:
    with pytest.raises(ContractError) as error:
        replace(SURFACES[0], **fields)
    assert str(error.value) == f"surface products: {problem}"


def test_a_surface_that_is_set_to_something_else_than_a_table_is_named() -> None:
    with pytest.raises(ContractError) as error:
        configured({"products": 5})  # type: ignore[dict-item]
    assert str(error.value) == "surfaces.products: expected a table of settings, found 5"


def test_a_ranker_that_is_to_learn_from_more_days_than_there_are_learns_from_those() -> None:
    as_of, earliest = date(2025, 6, 1), date(2025, 4, 1)
    learned = ranker_days(SURFACES[:1], 10**9, as_of, earliest)
    assert learned == (date(2025, 4, 2), date(2025, 5, 2), date(2025, 5, 17))
    assert ranker_days(SURFACES[:1], 3, earliest, as_of) == ()
    seldom = replace(SURFACES[0], learn_every_days=10**9)
    assert ranker_days((seldom,), 3, as_of, earliest) == ()


def test_a_source_that_is_unknown_is_named_beside_those_that_are() -> None:
    with pytest.raises(ContractError) as error:
        replace(SURFACES[0], sources=("owm",))
    assert str(error.value) == (
        f"surface products: sources: expected one of {', '.join(SOURCES)}, found owm"
    )


@pytest.mark.parametrize("worth", [-1.0, 1.1e9, math.inf, math.nan])
def test_an_outcome_is_something_that_users_do_and_of_finite_worth(worth: float) -> None:
    with pytest.raises(ContractError) as error:
        Outcome("ordre", worth)
    assert str(error.value) == (
        f"outcome ordre: event: expected one of {EVENTS}, found ordre; worth: expected 0 to "
        f"1,000,000,000, found {worth}"
    )


def test_surfaces_need_tables_that_there_are() -> None:
    needed = {table for surface in SURFACES for group in surface.needs for table in group}
    assert needed <= {table.name for table in CLEAN_TABLES}


def test_a_surface_is_known_by_its_name() -> None:
    assert surface_named("ads") is SURFACES[1]
    with pytest.raises(UsageError) as error:
        surface_named("post")
    assert str(error.value) == (
        "post: no such surface, expected one of products, ads, posts, people; did you mean posts?"
    )
