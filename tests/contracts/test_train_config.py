"""Settings of training."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import pytest

from contracts.errors import ContractError
from contracts.spec_json import from_plain, to_plain
from contracts.train_config import MAIN, PATHS, TrainConfig, regrouped


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"max_grad_norm": 0},
            "train.optimiser.max_grad_norm: expected above 0, or none to turn clipping off, found 0",
        ),
        ({"dropout": 1.0}, "train.network.dropout: expected 0 to below 1, found 1.0"),
        ({"width": 0}, "train.network.width: expected 1 or more, found 0"),
        (
            {"student_width": 0},
            "train.losses.student_width: expected 1 or more, or none, found 0",
        ),
        (
            {"width": 0, "depth": -1, "learning_rate": 0.0},
            "train.network.width: expected 1 or more, found 0; "
            "train.network.depth: expected 0 or more, found -1; "
            "train.optimiser.learning_rate: expected above 0, found 0.0",
        ),
        ({"widht": 3, "tie": 0.1}, "train: there is no setting tie, widht"),
    ],
)
def test_settings_out_of_range_are_refused_all_at_once(wrong, message) -> None:
    with pytest.raises(ContractError) as error:
        TrainConfig().changed(**wrong)
    assert str(error.value) == message


def test_a_name_alone_says_which_setting_is_meant() -> None:
    groups = [getattr(TrainConfig(), f.name) for f in fields(TrainConfig)]
    names = [f.name for group in groups if is_dataclass(group) for f in fields(group)]
    assert len(names) == len(set(names))
    assert set(PATHS) == {*names, "minutes", "mixture", "seed"} == set(TrainConfig().flat)
    assert not set(names) & {f.name for f in fields(TrainConfig)}
    assert len(MAIN) == 10
    assert set(MAIN) <= set(PATHS)


def test_a_changed_setting_changes_nothing_else() -> None:
    before = TrainConfig()
    after = before.changed(width=7, seed=3, max_grad_norm=None)
    differing = {name for name, value in after.flat.items() if value != before.flat[name]}
    assert differing == {"width", "seed", "max_grad_norm"}
    assert (after.network.width, after.seed, after.optimiser.max_grad_norm) == (7, 3, None)


def test_settings_from_before_there_were_groups_are_read() -> None:
    config = TrainConfig().changed(width=7, balance="upgrad", seed=3)
    gone = {"tie": 0.0, "consistency": 0.0, "l1": 0.1, "normalisation": "layer"}
    saved = config.flat | gone
    assert from_plain(TrainConfig, regrouped(saved)) == config
    grouped = to_plain(config)
    grouped["losses"]["l1"] = 0.0
    assert from_plain(TrainConfig, regrouped(grouped)) == config
    balanced = from_plain(TrainConfig, regrouped(saved | {"balance": "cagrad"}))
    assert balanced == config.changed(balance="fixed")
    with pytest.raises(ContractError, match=r"^train: there is no setting towers$"):
        regrouped(saved | {"towers": 3})
    with pytest.raises(ContractError) as error:
        regrouped(saved | {"normalisation": "batch"})
    assert str(error.value) == (
        "train.normalisation is gone: no experiment spoke for it "
        "(docs/decisions/settings-of-training.md)"
    )


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("seed", -1, "train.seed: expected 0 or more, found -1"),
        (
            "bootstrap_samples",
            0,
            "train.evaluation.bootstrap_samples: expected 1 or more, found 0",
        ),
        (
            "minutes",
            float("inf"),
            "train.minutes: expected above 0 and finite, or none for no budget, found inf",
        ),
    ],
)
def test_what_would_fail_in_or_after_training_is_refused_before(name, value, sentence) -> None:
    with pytest.raises(ContractError) as error:
        TrainConfig().changed(**{name: value})
    assert str(error.value) == sentence
