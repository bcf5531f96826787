"""What goes wrong between an event and the log, and a list of all of it.

Each row goes wrong in one way at most, drawn by its place among the day's. Letters: n rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.market import lines
from jobs.market.traits import Dirt

CLEAN = 0
FATES = (
    "clean", "duplicate", "repeated", "conflict", "late", "malformed", "truncated", "encoding",
    "impossible", "skewed", "currency", "anonymous", "bot",
)  # fmt: skip
EXPECTED = {"clean": "clean", "late": "clean", "duplicate": "duplicate", "repeated": "duplicate"}
"""What cleaning must make of a row; what is not named here must be quarantined."""
REPEATED_AFTER, CONFLICT_AFTER, LATE_BY = 2, 1, 3
_VALUE_FAULTS = {
    "impossible": lines.IMPOSSIBLE,
    "skewed": lines.SKEWED,
    "currency": lines.CURRENCY,
    "anonymous": lines.ANONYMOUS,
}
Fates = npt.NDArray[np.int8]


def code(fate: str) -> int:
    return FATES.index(fate)


def draw_fates(n: int, dirt: Dirt, log: lines.Log, rng: np.random.Generator) -> Fates:
    """(n,): what becomes of each row."""
    shares = np.array(
        [
            getattr(dirt, fate)
            if fate not in _VALUE_FAULTS or _VALUE_FAULTS[fate] in log.faults
            else 0.0
            for fate in FATES[1:-1]
        ]
    )
    place = np.searchsorted(np.cumsum(shares), rng.random(n), side="right") + 1
    return np.where(place < len(FATES) - 1, place, CLEAN).astype(np.int8)


def faults_of(fates: Fates) -> npt.NDArray[np.int8]:
    """(n,): what is wrong with each row's values, as `jobs/market/lines.py` names it."""
    faults = np.zeros(len(FATES), np.int8)
    for fate, fault in _VALUE_FAULTS.items():
        faults[code(fate)] = fault
    return faults[fates]


@dataclass(frozen=True)
class Landing:
    """Lines that land on a day: bytes, what became of each, and which are twins of each other."""

    lines: pa.Array
    fates: Fates
    twins: npt.NDArray[np.int64]
    """Rows with the same number are the same line sent twice on this day; -1 has no twin."""


def broken(text: pa.Array, fates: Fates) -> pa.Array:
    """Lines as bytes, with those that are malformed, truncated or badly encoded made so."""
    raw = text.cast(pa.binary())
    n = len(raw)
    for fate in ("malformed", "truncated", "encoding"):
        rows = np.flatnonzero(fates == code(fate))
        if len(rows):
            changed = [_break(raw[int(i)].as_py(), fate) for i in rows]
            mask = np.zeros(n, bool)
            mask[rows] = True
            raw = pc.replace_with_mask(raw, pa.array(mask), pa.array(changed, pa.binary()))
    return raw


def _break(line: bytes, fate: str) -> bytes:
    if fate == "truncated":
        return line[: max(3, len(line) // 3)]
    if fate == "encoding":
        return line[:4] + b"\xff" + line[4:]
    return line[:-1] + b'"' if line.startswith(b"{") else line + b",,x"


def altered(texts: pa.Array) -> pa.Array:
    """The same lines with the last digit of their time, which stands at their end, another."""
    changed = []
    for line in texts.to_pylist():
        place = line.rindex(b"Z") - 1
        digit = (line[place] - 48 + 1) % 10
        changed.append(line[:place] + bytes([48 + digit]) + line[place + 1 :])
    return pa.array(changed, pa.binary())


def land(parts: list[Landing], rng: np.random.Generator) -> tuple[pa.Array, Fates]:
    """All that lands on a day, in a random order, with the fate of each line.

    Of two lines that are the same, the later one is the duplicate and the first is clean.
    """
    text = pa.concat_arrays([part.lines for part in parts])
    fates = np.concatenate([part.fates for part in parts])
    offset, twins = 0, []
    for part in parts:
        twins.append(np.where(part.twins < 0, -1, part.twins + offset))
        offset += len(part.lines)
    order = rng.permutation(len(text))
    fates, twin = fates[order].copy(), np.concatenate(twins)[order]
    repeated = np.flatnonzero(twin >= 0)
    _, first = np.unique(twin[repeated], return_index=True)
    fates[repeated] = code("duplicate")
    fates[repeated[first]] = CLEAN
    return text.take(pa.array(order)), fates
