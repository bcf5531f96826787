"""What pictures show, beside the drawing itself."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.plots import Reliability, draw_reliability


def test_a_bin_has_the_frequency_that_was_seen_and_an_interval_over_users(tmp_path) -> None:
    scores = np.repeat([0.2, 0.8], 100)
    labels = np.r_[np.repeat([1.0, 0.0], [30, 70]), np.repeat([1.0, 0.0], [70, 30])]
    alone = Reliability(scores, labels, np.arange(200))
    predicted, seen, low, high = alone.bins(2)
    assert predicted.tolist() == pytest.approx([0.2, 0.8])
    assert seen.tolist() == pytest.approx([0.3, 0.7])
    assert low.tolist() == pytest.approx([0.2189, 0.6042], abs=1e-4)  # Wilson's, of 30 in 100
    assert high.tolist() == pytest.approx([0.3958, 0.7811], abs=1e-4)
    in_pairs = Reliability(scores, labels, np.arange(200) // 2)  # 50 users in each bin
    _, _, wider, _ = in_pairs.bins(2)
    assert wider.tolist() == pytest.approx([0.1910, 0.5625], abs=1e-4)
    draw_reliability({"purchase_7d": alone}, tmp_path / "reliability.png")
    assert (tmp_path / "reliability.png").stat().st_size > 5_000
