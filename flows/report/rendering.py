"""Templates of pages, and how these write numbers and rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from contracts.counts import n_of
from flows.engine.accounting import StageReport

STAGE_NAMES = ("stage", "days", "recomputed", "rows in", "rows out", "seconds", "rows/s")


def render(template: str, **values: Any) -> str:
    """A template of this package, filled in; Markdown is not escaped, HTML is."""
    environment = Environment(
        loader=PackageLoader("flows.report", ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=template.endswith(".html.j2"),
    )
    environment.filters |= {"cells": cells, "n_of": n_of, "code": code}
    return environment.get_template(template).render(**values, stage_names=STAGE_NAMES)


def code(text: str) -> Markup:
    """A text for HTML, where what stands between backticks is a command or a name."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def stage_rows(stages: Iterable[StageReport]) -> list[tuple[str, ...]]:
    """What each stage did, in columns of `STAGE_NAMES`."""
    return [
        (
            s.stage,
            f"{s.days:,}",
            f"{s.recomputed:,}",
            f"{s.rows_in:,}",
            f"{s.rows_out:,}",
            f"{s.seconds:.1f}",
            f"{s.rows_in / s.seconds:,.0f}" if s.seconds else "reused",
        )
        for s in stages
    ]


def seconds(value: float | None) -> str:
    """One digit after the point."""
    return "—" if value is None else f"{value:,.1f}"


def cells(row: Sequence[Any]) -> str:
    """A row of a Markdown table; a bar in a text does not end its cell."""
    return " | ".join(str(cell).replace("|", "\\|") for cell in row)


def number(value: float | None) -> str:
    """Four significant digits, with commas between thousands."""
    if value is None or value != value:
        return "—"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def shares(report: Mapping[str, Any]) -> str:
    """How much of a task's score is the network's; of amounts, of the chance and of the amount."""
    return ", ".join(f"{share:.0%}" for share in report.get("network_shares", [1.0]))


def interval(difference: Mapping[str, float]) -> str:
    """A difference and its interval, each with its sign and three significant digits."""

    def signed(value: float) -> str:
        if value != value:
            return "—"
        return f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.3g}"

    gain, low, high = (signed(difference[name]) for name in ("gain", "low", "high"))
    return f"{gain} ({low} to {high})"
