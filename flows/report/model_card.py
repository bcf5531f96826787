"""The model card: what scored tonight, what it was trained on, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.counts import n_of
from contracts.splits import LATER_DAYS
from contracts.tables import NO_MODEL
from flows.engine.run_context import RunContext

FAR_OFF = 1.5
"""How many times faster or slower than expected a training is pointed at."""


WHAT_SCORES = {
    "mixture": (
        "a mixture of the network and of LightGBM, of which the network has the share that did "
        "best on validation days (of amounts, one of the chance and one of the amount)"
    ),
    "network": "the network alone",
    "twin": "LightGBM alone",
}
"""`train.mixture` to what scores each task."""


def what_scores(trained: Mapping[str, Any]) -> str:
    """What tonight's model is of each task, in words."""
    return WHAT_SCORES[trained.get("config", {}).get("mixture", "mixture")]


def model_card(
    context: RunContext, trained: Mapping[str, Any], model_id: str
) -> list[tuple[str, str]]:
    """What the card says, a line for each name."""
    config, splits = trained.get("config", {}), trained.get("splits", {})
    network, inputs = config.get("network", {}), config.get("inputs", {})
    days = sorted({day for cut in splits.values() for day in cut.get("train", ())})
    tests = sorted({day for cut in splits.values() for day in cut.get("test", ())})
    rows = trained.get("rows", {})
    on = sorted({task.get("measured_on", LATER_DAYS) for task in trained["tasks"].values()})
    if model_id == NO_MODEL:
        return [("model", "none: nobody is scored in this release")]
    return [
        ("model", model_id if model_id == trained["model_id"]
         else f"{model_id}, trained on an earlier night; tonight nothing was trained"
         if trained["model_id"] == NO_MODEL
         else f"{model_id}, trained on an earlier night; tonight's {trained['model_id']} was not "
         "promoted, and the figures below are its"),
        ("tasks", f"{len(trained['tasks'])}: {', '.join(trained['tasks'])}"),
        ("network", f"{network.get('trunk')} of width {network.get('width')}, events by "
         f"{inputs.get('events')}, text by {inputs.get('text')}; one head per task"),
        ("trained on", f"{n_of(len(days), 'as-of day')}, {days[0]} to {days[-1]}; up to "
         f"{n_of(max(rows.values(), default=0), 'row')} per task" if days else "unknown"),
        *learned_from(trained.get("budget", {})),
        ("tested on", f"{n_of(len(tests), 'day')}, {tests[0]} to {tests[-1]}, used once: "
         + ", ".join(on) if tests else "unknown"),
        ("knows of a user", "counts, amounts and times over 1 to 90 days, last events, country, "
         "attributes; never a name, an address or the user's key"),
        ("not for", "decisions about a single person without a human look: scores are averages "
         "over people who behaved alike; of those whom a task was not trained on, its score "
         "says little"),
        ("users", f"{context.mapping.name}; keyed hashes under key {context.key.id}"),
    ]  # fmt: skip


def learned_from(budget: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Whether time sufficed for all rows; nothing of a training from before there was a budget."""
    if not budget:
        return []
    n, share, speed = budget["rows"], budget["share"], budget["rows_per_second"]
    if share >= 1:
        text = f"all {n_of(n, 'labelled row')}"
    else:
        whole = [
            (f"all of {', '.join(budget.get('whole', ()))}", budget.get("whole")),
            (f"all positive ones of {', '.join(budget['whole_positives'])}",
             budget["whole_positives"]),
        ]  # fmt: skip
        text = " and ".join(
            [f"{share:.1%} of {n_of(n, 'labelled row')}", *(what for what, names in whole if names)]
        )
    text += f"; at most {n_of(budget['max_epochs'], 'epoch')}"
    if budget["minutes"] is not None:
        text += f" in {budget['minutes']:g} minutes"
    expected = budget["expected_rows_per_second"]
    text += f"; {speed:,} rows a second"
    if speed and not 1 / FAR_OFF < speed / expected < FAR_OFF:
        text += f" (train.machine.rows_per_second expects {expected:,})"
    return [("learned from", text)]
