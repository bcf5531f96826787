"""Train, calibrate and test one multi-task model; write the artifact and the MLflow run."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from contracts.counts import n_of
from contracts.errors import NightjarError
from contracts.specs import TrainSpec
from contracts.train_config import TrainConfig
from contracts.training import untrained
from models.artifact.model import DamagedArtifact, Model, load_model, save_model
from models.distributed import rank
from models.evaluation.cross_validation import cross_validate
from models.evaluation.gate import NO_CHAMPION
from models.evaluation.held_out import held_out_rows
from models.evaluation.metrics import constant_scores
from models.evaluation.model_test import Champion, Members, evaluate_model
from models.evaluation.plots import draw_sharing
from models.evaluation.single_task_twins import single_task_twins
from models.mlflow_run import log_run
from models.training.mixture_fit import FittedMixture, fit_members, fit_mixture
from models.training.multi_task import Fitted
from models.training.task_choice import Chosen, NoTrainableTask, choose_tasks

_LOG = logging.getLogger(__name__)


def train(spec: TrainSpec, tracking_uri: str | None = None) -> dict[str, Any]:
    """Train and test; the report is what the flow, MLflow and the run's page show.

    `tracking_uri` is MLflow's database, which `spec.run` is logged to. Where no task can be trained
    there is no model, and the report says why.
    """
    started = time.monotonic()
    folder = Path(spec.folder)
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(spec.config.machine.threads)
    try:
        chosen = choose_tasks(spec)
    except NoTrainableTask as nothing:
        _LOG.info(str(nothing))
        return untrained(nothing.skipped, "no task can be trained", spec.folder)
    _log_tasks(chosen)
    champion = champion_of(spec)  # what is wrong with it is said before hours of training
    fitted, trees = fit_members(spec, chosen)
    if rank():
        return {}  # the first one goes on
    mixture = fit_mixture(fitted.model, trees, spec.files, chosen)
    trained = time.monotonic()
    model, report = _evaluated(spec, chosen, mixture, champion)
    model_id = save_model(model, folder / "model")
    report |= _description(chosen, fitted, model) | {
        "model_id": model_id,
        "seconds_training": round(trained - started, 3),
        "seconds_testing": round(time.monotonic() - trained, 3),
        "folder": str(folder),
        "run_id": None,
    }
    if spec.run is not None:
        try:
            report["run_id"] = log_run(tracking_uri, spec.run, report, model, folder)
        except Exception as error:  # hours of training are worth more than their record
            ours = isinstance(error, NightjarError)  # what a library says may quote values
            report["tracking_error"] = str(error) if ours else type(error).__name__
    return report


def _log_tasks(chosen: Chosen) -> None:
    """What is trained, and what is not."""
    for name, why in chosen.skipped.items():
        _LOG.info(f"task {name} is off tonight: {why}")
    by_user = [name for name, split in chosen.splits.items() if split.by_user]
    if by_user:
        _LOG.info(
            f"too little history to be tested on later days: {', '.join(by_user)}; these learn "
            "from some users and are tested on others of the same days"
        )
    _LOG.info(f"training {n_of(len(chosen.tasks), 'task')} on {_span(chosen)}")
    if chosen.budget is not None and chosen.budget.is_tight:
        share, n_rows = chosen.sampling.share, chosen.budget.n_rows
        _LOG.info(
            f"the network learns from {share:.1%} of {n_rows:,} rows, and from all of what there "
            f"is little, in {n_of(chosen.budget.max_epochs, 'epoch')}: train.minutes says how long"
        )


def _evaluated(
    spec: TrainSpec, chosen: Chosen, mixture: FittedMixture, champion: Champion
) -> tuple[Model, dict[str, Any]]:
    """The model, with the tasks that are withheld, and what its test came to."""
    config, folder = spec.config, Path(spec.folder)
    model = replace(mixture.model, base_rates=base_rates(chosen))
    _LOG.info("the model is calibrated; testing it beside its LightGBM twins")
    cuts = chosen.cuts("test", config.evaluation.test_max_rows)
    held_out = held_out_rows(spec.files, chosen.layout, cuts)
    members = Members(
        *held_out.predictions_of_all([model, mixture.network, mixture.twin], spec.files)
    )
    report = evaluate_model(model, chosen.labels, held_out, members, spec.files, champion, folder)
    if spec.champion is not None and champion.model is None:
        report["champion_error"] = champion.why_none
    model = replace(model, withheld=report["gate"]["withheld"])
    for name, why in model.withheld.items():
        _LOG.info(f"task {name} is not fit to be published: {why}")
    if spec.single_task_twins:
        for name, twin in single_task_twins(spec, chosen, held_out, members.network).items():
            report["tasks"][name]["single_task"] = twin
        draw_sharing(report["tasks"], folder / "sharing.png")
    if config.evaluation.folds:
        report["folds"] = cross_validate(spec)
    return model, report


def _description(chosen: Chosen, fitted: Fitted, model: Model) -> dict[str, Any]:
    """How the model came about, for the report."""
    return {
        "skipped": chosen.skipped,
        "history": fitted.history,
        "student": fitted.student,
        "budget": _budget(model.config, chosen, fitted),
        "towers": {name: asdict(refit) for name, refit in fitted.towers.items()},
        "calibrations": {name: c.method for name, c in model.calibrations.items()},
        "rows": {name: n["train"] for name, n in chosen.rows.items()},
        "splits": {
            name: {
                part: [d.isoformat() for d in getattr(s, part)]
                for part in ("train", "valid", "test")
            }
            for name, s in chosen.splits.items()
        },
        "config": asdict(model.config),
    }


def _budget(config: TrainConfig, chosen: Chosen, fitted: Fitted) -> dict[str, Any]:
    """How much was learned from, and how fast."""
    budget = chosen.budget
    if budget is None:
        return {}
    return {
        "minutes": config.minutes,
        "rows": budget.n_rows,
        "share": budget.sampling.share,
        "whole_positives": list(budget.sampling.rare),
        "whole": list(budget.sampling.few),
        "max_epochs": budget.max_epochs,
        "rows_per_second": round(fitted.rows_per_second),
        "expected_rows_per_second": config.machine.rows_per_second,
    }


def base_rates(chosen: Chosen) -> dict[str, dict[str, Any]]:
    """Per task the best answer that is the same for everybody, by suffix of the score columns."""
    return {
        task.name: {
            suffix: values[0].tolist()
            for suffix, values in constant_scores(
                task, chosen.labels[task.name].double().numpy(), 1
            ).items()
        }
        for task in chosen.tasks
    }


def _span(chosen: Chosen) -> str:
    days = sorted({d for split in chosen.splits.values() for d in split.train})
    return f"{len(days)} as-of days, {days[0]} to {days[-1]}"


def champion_of(spec: TrainSpec) -> Champion:
    """The champion, or why there is none to compare with: it was fitted on other features, say.

    Raises:
        DamagedArtifact: a file of it has changed. Damage must not make way for a challenger.
    """
    if spec.champion is None:
        return Champion(None, NO_CHAMPION)
    try:
        return Champion(load_model(Path(spec.champion)).without(spec.champion_withheld), "")
    except DamagedArtifact:
        raise
    except NightjarError as error:
        why = f"the champion could not be compared with: {error}"
        _LOG.info(why)
        return Champion(None, why)
