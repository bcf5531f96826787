"""How a task comes from probabilities to one class for each text."""

from __future__ import annotations

import numpy as np

from models.content.text.decisions import Decision, choose_decision
from models.content.text.metrics import OFFICIAL

RECALL = OFFICIAL["sentiment"]


def test_a_rare_class_is_preferred_by_its_share_to_the_power() -> None:
    probabilities = np.array([[0.7, 0.3], [0.9, 0.1]], np.float32)

    assert Decision((0.8, 0.2), 0.0).classes(probabilities).tolist() == [0, 0]
    assert Decision((0.8, 0.2), 1.0).classes(probabilities).tolist() == [1, 0]


def test_mean_recall_asks_for_the_rare_class() -> None:
    labels = np.array([0] * 80 + [1] * 20)
    of_rare = np.where(labels == 1, 0.4, 0.1)
    chosen = choose_decision(RECALL, np.stack([1 - of_rare, of_rare], 1).astype("f4"), labels)

    assert chosen.power > 0
    assert chosen.shares == (81 / 102, 21 / 102)


def test_a_gain_that_may_be_chance_leaves_the_most_probable_class() -> None:
    """One text of ten in the rare class is found more."""
    labels = np.array([0] * 90 + [1] * 10)
    of_rare = np.full(100, 0.1)
    of_rare[[0, 1, 2, 3, 4, 5, 6, 90, 91]] = 0.3
    probabilities = np.stack([1 - of_rare, of_rare], 1).astype("f4")

    assert choose_decision(RECALL, probabilities, labels).power == 0.0
