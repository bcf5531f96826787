"""Pictures of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from models.evaluation.calibration_error import N_BINS, Array, bins_of, ece, ece_by_chance

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw_curves(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Training and validation loss per epoch, and each task's validation loss."""
    epochs = [row["epoch"] for row in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    left.plot(epochs, [row["train_loss"] for row in history], label="training")
    left.plot(epochs, [row["valid_loss"] for row in history], label="validation")
    left.set(title="Loss", xlabel="epoch", ylabel="loss over the constant's")
    left.legend()
    for name in [key for key in history[0] if key.startswith("valid_loss/")]:
        right.plot(
            epochs,
            [row.get(name, np.nan) for row in history],
            label=name.removeprefix("valid_loss/"),
        )
    right.axhline(1.0, color="grey", linewidth=0.8)
    right.set(title="Validation loss by task", xlabel="epoch")
    right.legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


Z = 1.96
"""Standard deviations of the normal distribution between which 95 % lie."""


@dataclass(frozen=True)
class Reliability:
    """Test rows of a binary task, (n,) each."""

    scores: Array
    labels: Array
    users: np.ndarray
    """A number for each user."""

    def bins(self, n_bins: int = N_BINS) -> tuple[Array, Array, Array, Array]:
        """Of bins of equal size, mean score, seen frequency, and its 95 % interval (Wilson, 1927),
        for which the rows of one user count as one."""
        parts = bins_of(self.scores, n_bins)
        predicted = np.array([self.scores[part].mean() for part in parts])
        seen = np.array([self.labels[part].mean() for part in parts])
        n = np.array([len(np.unique(self.users[part])) for part in parts], np.float64)
        middle = (seen + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z * np.sqrt(seen * (1 - seen) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
        return predicted, seen, middle - half, middle + half


def draw_reliability(tasks: Mapping[str, Reliability], path: Path) -> None:
    """Predicted against seen frequency in ten bins of equal size, with the 95 % interval of what
    was seen, per binary task."""
    columns = min(max(len(tasks), 1), 4)
    lines = -(-max(len(tasks), 1) // columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(3.2 * columns, 3.4 * lines),
        layout="constrained",
        squeeze=False,
    )
    for axis in axes.flat[len(tasks) :]:
        axis.set_axis_off()
    for axis, (name, rows) in zip(axes.flat, tasks.items(), strict=False):
        predicted, seen, low, high = rows.bins()
        top = max(predicted.max(), high.max(), 1e-3) * 1.05
        axis.plot([0, top], [0, top], color="grey", linewidth=0.8)
        reach = np.maximum(np.stack([seen - low, high - seen]), 0)
        axis.errorbar(predicted, seen, yerr=reach, marker="o", elinewidth=0.8, capsize=2)
        axis.set(xlabel="predicted", ylabel="seen", xlim=(0, top), ylim=(0, top))
        axis.set_title(
            f"{name}\n{ece(rows.labels, rows.scores):.3f} off, "
            f"{ece_by_chance(rows.scores):.3f} by chance",
            fontsize=10,
        )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_sharing(tasks: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Per task the gain over its single-task and its LightGBM twin, with intervals, as shares of
    the widest interval of the task: right of the line is better."""
    shown = {name: report for name, report in tasks.items() if "single_task" in report}
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.35 * len(shown)), layout="constrained")
    for offset, key, label in (
        (-0.12, "single_task", "over the same network for this task alone"),
        (0.12, "gain_over_twin", "over LightGBM"),
    ):
        for row, report in enumerate(shown.values()):
            gain, low, high = (report[key][k] for k in ("gain", "low", "high"))
            reach = max(
                abs(report[of][k]) for of in ("single_task", "gain_over_twin")
                for k in ("low", "high")
            ) or 1.0  # fmt: skip
            axes.errorbar(
                gain / reach, row + offset,
                xerr=[[max(gain - low, 0) / reach], [max(high - gain, 0) / reach]], fmt="o",
                markersize=4, color="tab:blue" if key == "single_task" else "tab:orange",
                label=label if row == 0 else None,
            )  # fmt: skip
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(shown)), list(shown), fontsize=8)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.set_title("Is one network for all tasks better?  worse ← 0 → better", fontsize=9)
    axes.legend(fontsize=7, loc="best")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_importance(
    importances: Mapping[str, Mapping[str, float]], path: Path, n: int = 25
) -> None:
    """The features whose loss is felt most over all tasks, and by which."""
    means: dict[str, float] = {}
    for of_task in importances.values():
        for feature, worse in of_task.items():
            means[feature] = means.get(feature, 0.0) + max(worse, 0.0) / len(importances)
    top = sorted(means, key=lambda feature: (-means[feature], feature))[:n]
    shares = np.array(
        [[100 * importances[task][feature] for task in importances] for feature in top]
    )
    figure, axes = plt.subplots(
        figsize=(max(2.5 + 0.5 * len(importances), 4.0), 1.5 + 0.27 * len(top)),
        layout="constrained",
    )
    image = axes.imshow(np.maximum(shares, 0) ** 0.5, aspect="auto", cmap="Blues")
    darkest = max(float(np.sqrt(np.maximum(shares, 0)).max(initial=0)), 1.0)
    image.set_clim(0, darkest)
    for (i, k), share in np.ndenumerate(shares):
        if share >= 0.1:
            dark = share**0.5 > 0.6 * darkest
            axes.text(
                k, i, f"{share:.1f}", ha="center", va="center", fontsize=6,
                color="white" if dark else "black",
            )  # fmt: skip
    axes.set_xticks(range(len(importances)), list(importances), rotation=60, ha="right", fontsize=7)
    axes.set_yticks(range(len(top)), top, fontsize=7)
    figure.suptitle("By how many per cent the loss grows\nwhen a feature is shuffled", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
