"""The search for settings: within its budget, going on, and never looking at test days."""

from __future__ import annotations

import logging
from typing import Any

import optuna
import pytest

from contracts.errors import ContractError
from contracts.specs import TrainSpec
from contracts.train_config import TrainConfig
from models.training import hyperparameter_search as tune_module
from models.training.hyperparameter_search import SEARCHED, as_trial, study_of, suggested, tune
from tests.models.simulated_examples import DAYS, NIGHT, write_examples

CONFIG = TrainConfig().changed(
    width=64, depth=1, n_experts=2, id_buckets=32, batch_size=512, max_epochs=2, min_rows=20,
    dropout=0.3, n_bins=4, numeric_width=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return write_examples(tmp_path_factory.mktemp("examples"), n=60)


def test_the_settings_in_use_are_the_first_trial() -> None:
    trial = as_trial(CONFIG)
    assert trial["width"] == 64
    assert "members" not in trial  # an ensemble's alone
    assert suggested(optuna.trial.FixedTrial(trial), CONFIG) == CONFIG
    assert as_trial(CONFIG.changed(width=77)) == {}  # outside of what is searched


def test_settings_that_cannot_be_are_no_first_trial_to_do_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def suggest(trial: object, config: object) -> TrainConfig:
        raise ContractError("width: expected 1 or more, found 0")

    monkeypatch.setattr(tune_module, "suggested", suggest)
    with pytest.raises(ContractError, match="^width: expected 1 or more, found 0$"):
        as_trial(CONFIG)


@pytest.mark.parametrize("trunk", ["shared_bottom", "mmoe", "ple", "ensemble"])
def test_a_search_goes_on_only_under_the_settings_that_it_does_not_search(trunk: str) -> None:
    trial = optuna.trial.FixedTrial(CONFIG.flat | {"trunk": trunk, "members": 4, "n_experts": 2})
    suggestion = suggested(trial, CONFIG.changed(seed=9))
    assert set(trial.params) <= SEARCHED
    assert study_of("one", suggestion) == study_of("one", CONFIG.changed(seed=9))
    assert study_of("one", suggestion) != study_of("one", CONFIG)
    assert study_of("one", CONFIG.changed(max_epochs=3)) != study_of("one", CONFIG)
    assert CONFIG.flat.keys() >= SEARCHED


def test_a_search_keeps_to_its_budget_goes_on_and_ends_with_the_best(
    files, tmp_path, monkeypatch, caplog
) -> None:
    caplog.set_level(logging.INFO, "models")
    spec = TrainSpec(files, DAYS, NIGHT, 2, ("view_7d",), CONFIG, str(tmp_path))
    monkeypatch.setattr(tune_module, "suggested", lambda trial, config: only_dropout(trial, config))
    storage = f"sqlite:///{tmp_path}/tune.db"
    first = tune(spec, storage, "one", seconds=600, trials=2)
    assert first["trials"] == 2
    assert first["valid_loss"] <= first["valid_loss_in_use"]
    again = tune(spec, storage, "one", seconds=600, trials=1)
    assert again["trials"] == 3
    assert again["valid_loss"] <= first["valid_loss"]
    assert set(again["best"]) <= {"network.dropout"}
    assert "going on with 2 trials" in caplog.text
    assert "the best so far" in caplog.text
    assert "training loss" not in caplog.text
    tried = [
        t.params["dropout"] for t in optuna.load_study(study_name="one", storage=storage).trials
    ]
    assert tried[0] == CONFIG.network.dropout
    assert len(set(tried)) > 1
    assert not list(tmp_path.glob("trial-*"))
    with pytest.raises(ContractError, match="no trial came to its end"):
        tune(spec, storage, "other", seconds=0.0, trials=1)


def only_dropout(trial: optuna.trial.BaseTrial, config: TrainConfig) -> TrainConfig:
    suggestion: dict[str, Any] = {"dropout": trial.suggest_float("dropout", 0.0, 0.5, step=0.05)}
    return config.changed(**suggestion)


def test_every_setting_that_is_searched_is_one_of_training() -> None:
    study = optuna.create_study()
    for _ in range(20):
        suggestion = suggested(study.ask(), CONFIG)
        assert set(suggestion.flat) == set(CONFIG.flat)
