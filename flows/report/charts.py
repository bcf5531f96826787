"""Pictures of reports and pages, as SVG inside an `img`; what they show stands in a table too."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from contracts.tasks import Task
from flows.release.drift import Drifted

_WEEK = timedelta(days=7)
_BLUE, _GREY, _GREEN = "#1f5fa8", "#6b7280", "#1b7f4b"


@dataclass(frozen=True)
class Bin:
    """Users whose score is in `[low, high)`."""

    low: float
    high: float
    n: int


def quality(
    task: Task, trained: Sequence[Mapping[str, Any]], scored: Sequence[Mapping[str, Any]]
) -> str | None:
    """The main metric by day: on test days at training, of the twin, and of published scores."""
    lines = [
        ("model, on its test days", _BLUE, [(r["day"], r["model"]) for r in trained]),
        ("LightGBM, on the same", _GREY, [(r["day"], r["twin"]) for r in trained]),
        ("published scores", _GREEN, [(r["as_of"], r["value"]) for r in scored]),
    ]
    if not any(points for _, _, points in lines):
        return None
    figure = Figure(figsize=(8, 3), layout="constrained")
    axis = figure.subplots()
    for name, colour, points in lines:
        known = [(day, value) for day, value in points if value is not None]
        if known:
            axis.plot(*zip(*known, strict=True), marker="o", color=colour, label=name)
    metric = (trained or scored)[0]["metric"]
    axis.set(ylabel=metric, title=f"{task.name} by night")
    axis.legend(frameon=False, fontsize=8)
    axis.tick_params(axis="x", rotation=30)
    days = [day for _, _, points in lines for day, _ in points]
    if max(days) - min(days) < _WEEK:  # a day alone would stand amid years
        axis.set_xlim(min(days) - _WEEK, max(days) + _WEEK)
    return _svg(figure)


def histogram(task: Task, bins: Sequence[Bin]) -> str | None:
    """How many users have which score."""
    if not bins:
        return None
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axis = figure.subplots()
    width = bins[0].high - bins[0].low
    axis.bar([b.low for b in bins], [b.n for b in bins], width=width, align="edge", color=_BLUE)
    axis.set(xlabel=task.score_columns()[0].name, ylabel="users", title="Users by score")
    return _svg(figure)


def drifts(drifted: Sequence[Drifted]) -> str | None:
    """The two columns that moved most: shares of users in bins, before and now."""
    shown = [d for d in drifted if d.index > 0][:2]
    if not shown:
        return None
    figure = Figure(figsize=(10, 3), layout="constrained")
    for axis, d in zip(figure.subplots(1, 2, squeeze=False)[0], shown, strict=False):
        places = range(len(d.before))
        axis.bar([x - 0.2 for x in places], d.before, 0.4, color=_GREY, label="release before")
        axis.bar([x + 0.2 for x in places], d.now, 0.4, color=_BLUE, label="this release")
        edges = [f"{cut:.3g}" for cut in d.cuts]
        axis.set_xticks(list(places), ["none", *(f"≤ {e}" for e in edges), "more"], rotation=45)
        axis.set(title=f"{d.column}: {d.index:.3f}", ylabel="share of users")
        axis.tick_params(labelsize=7)
        axis.legend(frameon=False, fontsize=8)
    return _svg(figure)


def scoreboard(history: Mapping[str, Sequence[tuple[Any, float]]]) -> str | None:
    """Each task's main metric over the days that were scored, of published scores."""
    shown = {task: points for task, points in history.items() if len(points) > 1}
    if not shown:
        return None
    columns = min(len(shown), 4)
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(3 * columns, 2 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for axis, (task, points) in zip(axes, shown.items(), strict=False):
        axis.plot(*zip(*points, strict=True), marker="o", markersize=3, color=_GREEN)
        axis.set_title(task, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.tick_params(axis="x", rotation=30)
    for axis in list(figure.axes)[len(shown) :]:
        axis.set_axis_off()
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """As a data address; without a date, so that the same rows give the same picture."""
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "nightjar"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode()
