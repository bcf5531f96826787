"""Rows of `rec_lists` from a block of ranked candidates."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from contracts.surfaces import SURFACES, Policy
from models.ranking.block import source_bit
from models.ranking.lists import list_rows
from models.ranking.policy import policy_id
from tests.models.ranking.blocks import block_of, items_of


def test_every_user_gets_a_row_and_each_array_an_element_per_item() -> None:
    products = replace(SURFACES[0], n_items=2, policy=Policy(max_per_category=1))
    items = items_of([{"item_id": item, "category_id": "c"} for item in ("a", "b", "c")])
    both = source_bit("own") | source_bit("popular_1d")
    block = block_of(
        items,
        {
            "ann": [
                {"item": "a", "value": 0.2, "sources": both, "because": "a"},
                {"item": "b", "value": 0.3},
                {"item": "c", "value": 0.9, "owned": True},
            ],
            "bob": [],
        },
        probabilities={"order": np.array([0.1, 0.2, 0.3], np.float32)},
    )
    ann, bob = list_rows(products, date(2025, 3, 1), items, block, "r1", "rel1").to_pylist()
    assert ann.pop("p_order") == pytest.approx([0.2, 0.1])
    assert ann.pop("values") == pytest.approx([0.3, 0.2])
    assert {name: ann.pop(name) for name in tuple(ann) if name.startswith("p_")} == {
        f"p_{event}": [] for event in ("review", "like", "click", "view", "share", "comment",
                                       "follow")
    }  # fmt: skip
    assert ann == {
        "as_of": date(2025, 3, 1),
        "surface": "products",
        "user_key": "ann",
        "item_ids": ["b", "a"],
        "sources": ["popular_1d", "popular_1d,own"],
        "because": ["", "a"],
        "propensities": [1.0, 1.0],
        "n_candidates": 3,
        "n_owned": 1,
        "n_self": 0,
        "n_unavailable": 0,
        "n_blocked": 0,
        "n_under_age": 0,
        "n_overexposed": 0,
        "n_capped": 0,  # the other of its category had nobody to pass it
        "shortfall": None,
        "ranker_id": "r1",
        "policy_id": policy_id(products),
        "release_id": "rel1",
    }
    assert (bob["user_key"], bob["item_ids"], bob["shortfall"]) == ("bob", [], "no candidates")
