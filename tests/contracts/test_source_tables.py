"""A source table that does not fit together is refused where it is declared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts.clean_tables import CLEAN_TABLES, clean_table_named
from contracts.cleaning import Text
from contracts.errors import ContractError
from contracts.source_table import ItemMean, Measure, Thing, content
from contracts.source_tables.items import ITEMS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.reviews import REVIEWS


def test_all_that_does_not_fit_is_named_at_once() -> None:
    cleaning = replace(
        REVIEWS.cleaning, id="number", columns=(*REVIEWS.cleaning.columns[2:], Text("colour"))
    )
    with pytest.raises(ContractError) as error:
        replace(REVIEWS, cleaning=cleaning, things=(Thing("shop", "shop_id"),))
    assert str(error.value) == "\n".join(
        [
            "reviews breaks its contract:",
            "  review_id: no rule of its cleaning makes it",
            "  user_key: no rule of its cleaning makes it",
            "  colour: its cleaning reads this field, which it does not declare",
            "  number: its cleaning's id is no column of it",
            "  shop_id: its thing shop is no column of it",
            "  it measures items, but has no thing of kind item",
        ]
    )


def test_what_nobody_did_cannot_be_counted() -> None:
    with pytest.raises(ContractError) as error:
        replace(ITEMS, measures=(Measure("n_items", "Items", "count(*)"),))
    assert str(error.value) == (
        "items breaks its contract:\n  it has measures, but no event: nobody did anything"
    )


def test_a_mean_of_items_is_of_a_column_that_is_there() -> None:
    with pytest.raises(ContractError) as error:
        replace(POSTS, item_mean=ItemMean("stars", usual=4, weight=2))
    assert str(error.value) == (
        "posts breaks its contract:\n  stars: its item mean is no column of it\n"
        "  item_id: what its item mean is of is no column of it"
    )


def test_a_clean_table_is_found_by_its_name() -> None:
    assert [clean_table_named(table.name) for table in CLEAN_TABLES] == list(CLEAN_TABLES)
    with pytest.raises(ContractError) as error:
        clean_table_named("refunds")
    assert str(error.value) == (
        "clean table 'refunds': expected one of orders, users, items, engagements, posts, reviews, "
        "follows, account_events, fraud_marks, impressions, blocks"
    )


def test_the_content_of_a_declaration_is_all_of_it_but_its_prose() -> None:
    (measure,) = (m for m in REVIEWS.measures if m.name == "n_reviews")
    assert content(measure) == ["Measure", "n_reviews", "count(*)", "count", "sum", 0]
    assert content(replace(measure, doc="Else")) == content(measure)
    assert content({"b": frozenset({2, 1}), "a": (None, True)}) == {"b": [1, 2], "a": [None, True]}
