"""Encoders: what is fitted to features on training days, and how rows become tensors."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import ContractError
from contracts.inputs import Inputs
from contracts.measures import EVENT_VERBS
from contracts.tables import USER_FEATURES
from contracts.tasks import task_named
from contracts.train_config import TrainConfig
from models.data import encoders
from models.data.arrow_schema import arrow_schema
from models.data.batches import to_batch
from models.data.columns import sequences
from models.data.label_layout import Layout
from models.network.network import Network
from tests.models.simulated_examples import features

D = date(2025, 6, 1)


def rows(n: int = 40, **changed) -> pa.Table:
    columns, _ = features(n, D, 1)
    return pa.Table.from_pydict(columns | changed, schema=arrow_schema(USER_FEATURES))


def test_an_id_with_too_many_values_is_hashed(monkeypatch) -> None:
    monkeypatch.setattr(encoders, "MAX_WORDS", 20)
    ids = [f"c{k}" for k in range(39)] + [None]
    encoder = encoders.fit(rows(country=ids).to_batches(), 16, hash_buckets=50)
    place = encoder.inputs.ids.index("country")
    assert encoder.hashed[place] == 50
    assert encoder.vocabularies[place] == ()
    codes = encoder.encode(rows(country=ids)).ids[:, place] - sum(
        p.size for p in encoder.parts[:place]
    )
    assert codes[-1] == 0
    assert codes[:-1].min() >= 1
    assert codes.max() <= 50
    assert len(set(codes[:-1])) > 15
    turned = encoder.encode(rows(country=ids[::-1])).ids[:, place] - sum(
        p.size for p in encoder.parts[:place]
    )
    assert (turned[::-1] == codes).all()
    assert "country" not in encoder.unseen(rows(country=ids))
    assert encoders.Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


def test_each_name_among_attributes_is_an_id_of_its_own() -> None:
    said = [["band=low", "plan=a=b"], ["band=high"], None, ["plan=c"]] * 8
    said += [["band=low"]] * 6 + [["rare=once"], []]
    encoder = encoders.fit(rows(attributes=said).to_batches(), 16)
    assert [(p.feature, p.words) for p in encoder.attributes] == [
        ("attributes: band", ("high", "low")),
        ("attributes: plan", ("a=b", "c")),
    ]  # of what stands in too few rows nothing can be learned
    n = len(encoder.inputs.ids)
    starts = [sum(p.size for p in encoder.parts[:k]) for k in (n, n + 1)]

    def codes(table: pa.Table) -> list[list[int]]:
        return (encoder.codes(table)[:, n:] - starts).tolist()

    assert codes(rows(attributes=said))[:4] == [[2, 1], [1, 0], [0, 0], [0, 2]]
    assert codes(rows(attributes=said).slice(1))[:3] == [[1, 0], [0, 0], [0, 2]]
    later = [["band=new", "other=x"], None, ["plan=c"], *[None] * 37]
    assert codes(rows(attributes=later))[:3] == [[0, 0], [0, 0], [0, 2]]
    assert encoders.Encoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder
    network = Network(TrainConfig(), Layout((task_named("purchase_7d"),)), encoder)
    assert {"attributes: band", "attributes: plan"} < set(network.owners)


def test_without_attributes_nothing_is_added() -> None:
    encoder = encoders.fit(rows().to_batches(), 16)
    assert encoder.attributes == ()
    assert encoder.encode(rows(attributes=[["band=low"]] * 40)).ids.shape[1] == 2


def test_frequent_numbers_get_an_embedding_of_their_own_where_asked() -> None:
    inputs = Inputs((("n", "money"), ("rare", "ratio")), ("c",), events=False, text=False)
    n = [7688.0] * 6 + [0.0] * 30 + [15024.0] * 5 + [3.0] * 4 + [None] * 5
    table = pa.table(
        {
            "user_key": [f"u{k}" for k in range(50)], "as_of": pa.array([date(2025, 1, 1)] * 50),
            "n": n, "rare": np.arange(50) / 7, "c": ["x"] * 50,
        }
    )  # fmt: skip
    encoder = encoders.fit(table.to_batches(), 16, inputs, n_values=2)
    assert encoder.values == (tuple(np.log1p([0, 7688]).astype("f4").tolist()), ())
    assert [(part.feature, part.size) for part in encoder.parts] == [("c", 2), ("n", 3)]
    codes = encoder.encode(table).ids
    own = {0.0: 3, 7688.0: 4}
    assert codes[:, 1].tolist() == [own.get(x, 2) for x in n]  # 2: any other, or none
    assert (encoder.codes(table) == codes[:, :1]).all()  # twins take numbers as they are
    more = encoders.fit(table.to_batches(), 16, inputs, n_values=100)
    assert more.parts[1].size == 4  # 3.0 stands in too few rows
    turned = table.take(np.random.default_rng(1).permutation(50))
    assert encoders.fit(turned.to_batches(), 16, inputs, n_values=2).values == encoder.values
    assert encoders.Encoder.from_json(json.loads(json.dumps(more.to_json())), inputs) == more
    config = TrainConfig().changed(width=8, depth=1, numbers="standard")
    network = Network(config, Layout((task_named("churn_28d"),)), encoder)
    network_inputs = network.inputs(to_batch(encoder.encode(table), np.ones((50, 1))))
    assert len(network.owners) == network_inputs.shape[1]
    assert network.owners.count("n") == 3 + 8
    assert encoders.fit(table.to_batches(), 16, inputs).values == ()


def test_precomputed_vectors_enter_as_they_are_with_the_missing_marked() -> None:
    inputs = Inputs((("n", "ratio"),), ("c",), events=False, text=False, vectors=(("v", 3),))
    table = pa.table(
        {
            "user_key": ["a", "b", "c"], "as_of": pa.array([date(2025, 1, 1)] * 3),
            "n": [1.0, 2.0, 3.0], "c": ["x"] * 3,
            "v": pa.array([[2.0, 0.0, 0.0], None, [0.0, 4.0, 4.0]], pa.list_(pa.float32())),
        }
    )  # fmt: skip
    encoder = encoders.fit(table.to_batches(), 16, inputs)
    assert encoder.vector_scales[0] == pytest.approx(6.0**0.5)
    vectors = encoder.encode(table.slice(0)).vectors * 6.0**0.5
    np.testing.assert_allclose(vectors[:, :3], [[2, 0, 0], [0, 0, 0], [0, 4, 4]], rtol=1e-6)
    assert vectors[:, 3].astype(bool).tolist() == [False, True, False]
    sliced = encoder.encode(table.slice(2)).vectors * 6.0**0.5
    np.testing.assert_allclose(sliced[:, :3], [[0, 4, 4]], rtol=1e-6)
    config = TrainConfig().changed(width=8, depth=1)
    task = task_named("churn_28d")
    network = Network(config, Layout((task,)), encoder)
    batch = to_batch(encoder.encode(table), np.ones((3, 1)))
    assert len(network.owners) == network.inputs(batch).shape[1]
    assert network.owners.count("v") == 4
    again = encoders.Encoder.from_json(json.loads(json.dumps(encoder.to_json())), inputs)
    assert again == encoder
    wrong = table.set_column(4, "v", pa.array([[1.0]] * 3, pa.list_(pa.float32())))
    with pytest.raises(ContractError, match="expected vectors of 3"):
        encoder.encode(wrong)


def test_encoders_see_the_training_rows_only_and_know_what_they_have_not_seen() -> None:
    encoder = encoders.fit(rows(country=["DE"] * 39 + ["XX"]).to_batches(), 16)
    assert encoder.vocabularies[0] == ("DE",)  # XX stands in too few rows
    codes = encoder.encode(rows(country=["DE", "XX", None, "FR"] * 10)).ids[:4, 0]
    assert codes.tolist() == [1, 0, 0, 0]
    assert encoder.encode(rows()).ids[:, 1].min() >= encoder.parts[0].size


def test_missing_numbers_are_zero_with_an_indicator() -> None:
    encoder = encoders.fit(rows().to_batches(), 16)
    n = len(encoder.inputs.numeric)
    place = [name for name, _ in encoder.inputs.numeric].index("mean_stars_all")
    encoded = encoder.encode(rows(mean_stars_all=[None] * 40))
    assert (encoded.numeric[:, place] == 0).all()
    assert (encoded.numeric[:, n + place] == 1).all()
    with pytest.raises(
        ContractError, match="lack features that the model was fitted on: n_views_7d"
    ):
        encoder.encode(rows().drop_columns(["n_views_7d"]))


def test_sequences_end_in_the_last_place_and_slices_keep_their_rows() -> None:
    lists = {
        "seq_verb": [["order"], ["view", "like"]],
        "seq_item": [["i1"], ["", "i2"]],
        "seq_category": [["books"], ["", "hats"]],
        "seq_hours": [[1], [2, 3]],
        "seq_amount_minor": [[100], [0, 0]],
    }
    whole = rows(40, **{k: v * 20 for k, v in lists.items()})
    verbs, items, categories, times = sequences(whole.slice(1, 1), 16)
    assert verbs[0, -2:].tolist() == [
        EVENT_VERBS.index("view") + 1,
        EVENT_VERBS.index("like") + 1,
    ]
    assert (verbs[0, :-2] == 0).all()
    assert items[0, -2] == 0
    assert 1 <= items[0, -1] <= 16
    assert (categories[0, -1] > 0, categories[0, -2]) == (True, 0)
    assert times[0, -2, 0] > 0
