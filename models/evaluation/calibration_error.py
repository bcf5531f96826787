"""How far probabilities are from what happens, beside what chance alone comes to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

Array = npt.NDArray[np.float64]
N_BINS = 10


def bins_of(scores: Array, n_bins: int = N_BINS) -> list[npt.NDArray[np.intp]]:
    """Numbers of the rows in bins of equally many rows, by rising score, (n,) in all."""
    parts = np.array_split(np.argsort(scores, kind="stable"), n_bins)
    return [rows for rows in parts if len(rows)]


def ece(labels: Array, scores: Array) -> float:
    """Expected calibration error (Naeini, Cooper, Hauskrecht, 2015) over bins of equally many rows:
    how far, on average, the share that happened is from the score. Both are (n,)."""
    gaps = [len(rows) * abs(scores[rows].mean() - labels[rows].mean()) for rows in bins_of(scores)]
    return float(sum(gaps) / max(len(labels), 1))


def ece_by_chance(scores: Array) -> float:
    """The `ece` that scores, (n,), come to on average where each is exactly the chance of its row:
    what happens differs from its chance, the more so the fewer rows a bin has.

    The mean deviation of a binomial (De Moivre, 1730), of bins in which all rows have the mean
    score. Rows are taken for independent; those of one user are less so, and come to more.
    """
    gaps = []
    for rows in bins_of(scores):
        n, p = len(rows), float(scores[rows].mean())
        least = int(np.floor(n * p)) + 1
        gaps.append(2 * least * (1 - p) * float(binom.pmf(least, n, p)))
    return float(sum(gaps) / max(len(scores), 1))
