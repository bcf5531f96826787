"""A search for better settings within a time budget, which goes on where it was left.

Trees of Parzen estimators (Bergstra et al., 2011) by Optuna, with the median rule for trials that
are not worth their end. What is made smaller is the mean validation loss over the constant's: test
days are not looked at.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from contracts.errors import ContractError, NightjarError
from contracts.hashes import short_hash
from contracts.specs import TrainSpec, TuneSpec
from contracts.train_config import PATHS, TrainConfig
from models.progress import without_progress
from models.training.lightning_module import MultiTaskModule
from models.training.multi_task import fit_model
from models.training.task_choice import choose_tasks

_LOG = logging.getLogger(__name__)


def suggested(trial: optuna.trial.BaseTrial, config: TrainConfig) -> TrainConfig:
    """The settings of a trial; what is not searched stays as it is."""
    trunk = trial.suggest_categorical("trunk", ["shared_bottom", "mmoe", "ple", "ensemble"])
    values: dict[str, Any] = {
        "trunk": trunk,
        "numbers": trial.suggest_categorical("numbers", ["standard", "piecewise"]),
        "wide": trial.suggest_categorical("wide", [False, True]),
        "n_values": trial.suggest_categorical("n_values", [0, 64, 1024]),
        "id_width": trial.suggest_categorical("id_width", [4, 8, 16]),
        "width": trial.suggest_categorical("width", [32, 64, 128, 192]),
        "depth": trial.suggest_int("depth", 1, 3),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5, step=0.05),
        "input_dropout": trial.suggest_float("input_dropout", 0.0, 0.4, step=0.05),
        "events": trial.suggest_categorical("events", ["none", "attention", "recurrent"]),
        "text": trial.suggest_categorical("text", ["none", "mean", "convolution"]),
        "sequence_dropout": trial.suggest_float("sequence_dropout", 0.0, 0.8, step=0.1),
        "event_dropout": trial.suggest_float("event_dropout", 0.0, 0.4, step=0.1),
        "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        "id_learning_rate": trial.suggest_float("id_learning_rate", 1e-3, 5e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
        "schedule": trial.suggest_categorical("schedule", ["constant", "one_cycle"]),
        "batch_size": trial.suggest_categorical("batch_size", [256, 512, 1024, 2048]),
        "balance": trial.suggest_categorical("balance", ["fixed", "uncertainty", "upgrad"]),
    }
    if trunk == "ensemble":
        values["members"] = trial.suggest_categorical("members", [4, 8, 16])
    elif trunk in ("mmoe", "ple"):
        values["n_experts"] = trial.suggest_int("n_experts", 2, 6)
    return config.changed(**values)


SEARCHED = frozenset(
    {
        "trunk", "numbers", "wide", "n_values", "id_width", "width", "depth", "dropout",
        "input_dropout", "events", "text", "sequence_dropout", "event_dropout", "learning_rate",
        "id_learning_rate", "weight_decay", "schedule", "batch_size", "balance", "members",
        "n_experts",
    }
)  # fmt: skip
"""Settings that `suggested` may change."""


def study_of(name: str, config: TrainConfig) -> str:
    """The study that a search belongs to: losses under other settings than those that are searched,
    of more epochs say, cannot be compared."""
    kept = sorted((k, v) for k, v in config.flat.items() if k not in SEARCHED)
    return f"{name}-{short_hash(repr(kept))}"


def as_trial(config: TrainConfig) -> dict[str, Any]:
    """The settings in use as the first trial, as far as the search can say them."""
    fixed = optuna.trial.FixedTrial(config.flat)
    try:
        return {k: v for k, v in suggested(fixed, config).flat.items() if k in fixed.params}
    except NightjarError:
        raise
    except ValueError:  # Optuna's, of a value that the search does not offer
        return {}


class PruningCallback(Callback):
    """Tells the trial how each epoch went, and ends it if others were better by then."""

    def __init__(self, trial: optuna.Trial):
        self.trial = trial

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if isinstance(pl_module, MultiTaskModule) and pl_module.history:
            last = pl_module.history[-1]
            self.trial.report(last["best_loss"], int(last["epoch"]))
            if self.trial.should_prune():
                raise optuna.TrialPruned


def tune(spec: TrainSpec, storage: str, name: str, seconds: float, trials: int) -> dict[str, Any]:
    """Search for `seconds` or `trials` more trials, whichever ends first.

    `storage` is a database's URL and `name` the study in it: of the same name, it goes on.

    Returns:
        The best settings that differ from those in use, their validation loss, that of the settings
        in use if they were tried, and how many trials there are.

    Raises:
        ContractError: no task can be trained, or no trial came to its end in time.
    """
    torch.set_num_threads(spec.config.machine.threads)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    chosen = choose_tasks(spec)
    study = _study(spec, storage, name)

    def objective(trial: optuna.Trial) -> float:
        folder = Path(spec.folder, f"trial-{trial.number}")
        trial_spec = replace(
            spec, config=suggested(trial, spec.config), folder=str(folder), checkpoints=None
        )
        try:
            with without_progress():
                history = fit_model(trial_spec, chosen, [PruningCallback(trial)]).history
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return history[-1]["best_loss"]

    study.optimize(objective, n_trials=trials, timeout=seconds, callbacks=[_log_trial])
    return _outcome(study, spec.config, seconds)


def _study(spec: TrainSpec, storage: str, name: str) -> optuna.Study:
    """The study of that name, new or with its earlier trials. The settings in use are the first."""
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        load_if_exists=True,
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=spec.config.seed, n_startup_trials=8),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    )
    before = len(study.trials)
    if before:  # other trials than those that were tried from the same seed
        study.sampler = optuna.samplers.TPESampler(
            seed=spec.config.seed + before, n_startup_trials=max(8 - before, 0)
        )
        _LOG.info(f"going on with {before} trials")
    elif first := as_trial(spec.config):
        study.enqueue_trial(first)
    return study


def _outcome(study: optuna.Study, config: TrainConfig, seconds: float) -> dict[str, Any]:
    """What the trials so far came to."""
    done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    if not done:
        raise ContractError(
            f"no trial came to its end in {seconds:.0f} seconds; the next call goes on"
        )
    first = as_trial(config)
    same = [t.value for t in done if t.params == first and t.value is not None]
    best = suggested(optuna.trial.FixedTrial(study.best_params), config)
    in_use = config.flat
    return {
        "trials": len(study.trials),
        "best": {PATHS[k]: v for k, v in best.flat.items() if v != in_use[k]},
        "valid_loss": study.best_value,
        "valid_loss_in_use": min(same) if same else None,
    }


def _log_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """A line per trial."""
    if trial.value is None:
        _LOG.info(f"trial {trial.number}: given up")
    else:
        best = "  the best so far" if study.best_trial.number == trial.number else ""
        _LOG.info(f"trial {trial.number}: validation loss {trial.value:.4f}{best}")


def search(spec: TuneSpec) -> dict[str, Any]:
    """Search as a process is asked to."""
    study = study_of(spec.name, spec.train.config)
    return tune(spec.train, spec.storage, study, spec.seconds, spec.trials)
