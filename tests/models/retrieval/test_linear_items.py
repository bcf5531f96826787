"""EASE beside a ridge regression per item."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from models.retrieval.linear_items import item_weights


def test_weights_are_those_of_a_ridge_regression_of_each_item_on_the_others() -> None:
    own = (np.random.default_rng(0).random((60, 9)) < 0.3).astype(np.float32)
    found = item_weights(sparse.csr_array(own), 3.0)
    for item in range(9):
        others = np.delete(np.arange(9), item)
        features = own[:, others].astype(np.float64)
        expected = np.linalg.solve(
            features.T @ features + 3.0 * np.eye(8), features.T @ own[:, item]
        )
        np.testing.assert_allclose(found[others, item], expected, rtol=1e-5, atol=1e-6)
    assert np.diagonal(found).tolist() == [0] * 9
