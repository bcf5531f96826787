"""A linear model of items by items: EASE.

Steck, Embarrassingly shallow autoencoders for sparse data (2019). A user's score of an item is the
sum of the weights that lead to it from the user's own.

Letters: I items, U users.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse

Floats = npt.NDArray[np.float32]


def fit_weights(matrix: sparse.csr_array, regularisation: float) -> Floats:
    """Weights (I, I), from the row's item to the column's, of the users' (U, I) own items.

    Of all matrices with zeros on the diagonal the one that gives back `matrix` best.
    """
    gram = torch.from_numpy((matrix.T @ matrix).toarray().astype(np.float64))
    gram.diagonal().add_(regularisation)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = -inverse / inverse.diagonal()
    weights.fill_diagonal_(0)
    return weights.float().numpy()
