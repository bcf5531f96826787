"""Why a score is what it is: the features that moved it most, by integrated gradients.

Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017. The path leads from the
mean user of the day to the one who is explained; what the features contributed adds up to how far
the ranking score is from the mean user's (completeness), which is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from contracts.errors import ContractError
from contracts.specs import ExplainSpec
from models.artifact.model import Model, load_model
from models.data.batches import to_batch
from models.data.row_hashes import row_hashes
from models.network.network import PADDING

BACKGROUND_ROWS, STEPS, MAX_GAP = 1024, 128, 0.02
"""Users whose mean the path starts from; steps of the path; and how far, as a share of the sum of
all contributions, they may miss the score."""


@dataclass(frozen=True)
class Reasons:
    """What moved one task's ranking score of one user, strongest first."""

    score: float
    """The uncalibrated ranking score."""
    mean_user: float
    """That of the mean user."""
    features: tuple[tuple[str, float], ...]
    """Feature and what it contributed; `events` and `text` stand for the sequences as a whole."""
    gap: float
    """What the contributions of all features miss of the difference."""


def reasons(
    model: Model, rows: pa.Table, background: pa.Table, n: int = 3
) -> list[dict[str, Reasons]]:
    """The `n` strongest reasons per row and task whose scores are published.

    Raises:
        ContractError: the contributions do not add up.
    """
    network = model.network
    by_row: list[dict[str, Reasons]] = [{} for _ in range(rows.num_rows)]
    with torch.no_grad():
        inputs, others = (network.inputs(_batch(model, x)) for x in (rows, background))
    baseline = others.mean(dim=0, keepdim=True)
    names = [*sorted({*network.owners} - {PADDING}), PADDING]  # last, for it never says anything
    place = torch.tensor([names.index(owner) for owner in network.owners])
    for task in model.published:
        head = network.heads[task.name]

        def rank(x: Tensor, name: str = task.name, head: Any = head) -> Tensor:
            ranked: Tensor = head.rank(network.of_inputs(x)[name])
            return ranked

        contributions = IntegratedGradients(rank).attribute(
            inputs, baseline, n_steps=STEPS, internal_batch_size=4096
        )
        per_feature = torch.zeros(len(inputs), len(names)).index_add_(
            1, place, contributions.float()
        )
        with torch.no_grad():
            score, mean_user = rank(inputs), rank(baseline)
        gaps = score - mean_user - per_feature.sum(dim=1)
        for i, row in enumerate(by_row):
            allowed = MAX_GAP * max(float(per_feature[i].abs().sum()), 0.1)
            if abs(float(gaps[i])) > allowed:
                raise ContractError(
                    f"{task.name}: contributions miss the score by {float(gaps[i]):.3g}, "
                    f"{allowed:.3g} allowed"
                )
            top = per_feature[i].abs().argsort(descending=True, stable=True)[:n]
            row[task.name] = Reasons(
                float(score[i]),
                float(mean_user[0]),
                tuple((names[k], float(per_feature[i, k])) for k in top.tolist()),
                float(gaps[i]),
            )
    return by_row


def _batch(model: Model, rows: pa.Table) -> Any:
    labels = torch.full((rows.num_rows, 1), float("nan")).numpy()
    return to_batch(model.encoder.encode(rows), labels)


def explain(spec: ExplainSpec) -> dict[str, Any]:
    """The reasons of the first row of `rows`, a Parquet file, among the users of `background`."""
    torch.set_num_threads(spec.threads)
    model = load_model(Path(spec.model)).without(spec.withheld)
    row = pq.ParquetFile(spec.rows).read().slice(0, 1)
    explained = reasons(model, row, sample(spec.background), spec.n)[0]
    return {
        name: {"score": r.score, "mean_user": r.mean_user, "features": r.features, "gap": r.gap}
        for name, r in explained.items()
    }


def sample(files: Sequence[str]) -> pa.Table:
    """Up to `BACKGROUND_ROWS` rows of Parquet files, chosen by a hash of user and day."""
    kept: pa.Table | None = None
    for path in files:
        for batch in pq.ParquetFile(path).iter_batches(16_384):
            both = pa.Table.from_batches([batch])
            both = both if kept is None else pa.concat_tables([kept, both])
            order = row_hashes(both).argsort(kind="stable")[:BACKGROUND_ROWS]
            kept = both.take(pa.array(order))
    if kept is None:
        raise ContractError("there is nobody to compare with: no rows of features")
    return kept
