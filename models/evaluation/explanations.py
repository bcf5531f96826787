"""Why a score is what it is: the features that moved it most, by integrated gradients and TreeSHAP.

The path of integrated gradients (Sundararajan, Taly and Yan, "Axiomatic attribution for deep
networks", 2017) leads from the mean user of the day to the one who is explained. It is followed
twice: through the head and the mixture, which says what each output of the network and each raw
score of the trees contributed to the ranking score; then what they are made of is said by the
gradients of the network, and by TreeSHAP (Lundberg et al., "From local explanations to global
understanding with explainable AI for trees", 2020), from what trees expect of anybody. What the
features contributed adds up to how far the ranking score is from that of the mean user
(completeness), which is checked.

Letters: B rows, K outputs of a head, J raw scores of trees, F features.
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
from contracts.tasks import Task
from models.artifact.model import Model, load_model
from models.data.batches import to_batch
from models.data.numeric_transforms import Floats
from models.data.row_hashes import row_hashes
from models.network.network import PADDING
from models.trees.mixtures import mixed, needs_network, needs_trees
from models.trees.rows import input_names, tree_inputs

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
    network, n_rows = model.network, rows.num_rows
    by_row: list[dict[str, Reasons]] = [{} for _ in range(n_rows)]
    with torch.no_grad():
        inputs, others = (network.inputs(_batch(model, x)) for x in (rows, background))
    baseline = others.mean(dim=0, keepdim=True)
    tree_rows, tree_names = tree_inputs(rows, model.encoder), input_names(model.encoder)
    # last, for it never says anything
    names = [*sorted({*network.owners, *tree_names} - {PADDING}), PADDING]
    owner_at = torch.tensor([names.index(owner) for owner in network.owners])
    tree_at = torch.tensor([names.index(name) for name in tree_names])
    for task in model.published:
        ends = _ends(model, task, inputs, baseline, tree_rows)
        of_outputs, of_raw = _gradients(model, task, ends)
        per_feature = torch.zeros(n_rows, len(names))
        if of_outputs is not None:
            contributions = _of_network(model, task, inputs, baseline, of_outputs)
            per_feature.index_add_(1, owner_at, contributions.float())
        if of_raw is not None:
            contributions = torch.einsum("bj,bjf->bf", of_raw.double(), ends.tree_contributions)
            per_feature.index_add_(1, tree_at, contributions.float())
        score, mean_user = (
            _rank(model, task, own, raw) for own, raw in (ends.user, ends.mean_user)
        )
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
                float(mean_user[i]),
                tuple((names[k], float(per_feature[i, k])) for k in top.tolist()),
                float(gaps[i]),
            )
    return by_row


@dataclass(frozen=True)
class _Ends:
    """Where a task's path begins and ends: outputs (B, K) and raw scores (B, J), or None."""

    user: tuple[Tensor | None, Tensor | None]
    mean_user: tuple[Tensor | None, Tensor | None]
    tree_contributions: Tensor
    """(B, J, F): how far each feature moves each raw score."""


def _ends(model: Model, task: Task, inputs: Tensor, baseline: Tensor, tree_rows: Floats) -> _Ends:
    weights, trees = model.weights_of(task), model.trees.get(task.name)
    own: tuple[Tensor | None, Tensor | None] = (None, None)
    raw: tuple[Tensor | None, Tensor | None] = (None, None)
    parts = torch.zeros(len(inputs), 0, tree_rows.shape[1])
    if needs_network(weights):
        with torch.no_grad():
            user, mean = (model.network.of_inputs(x)[task.name] for x in (inputs, baseline))
        own = (user, mean.expand_as(user))
    if trees is not None and needs_trees(weights):
        contributions = torch.from_numpy(trees.contributions(tree_rows))
        expected, parts = contributions[:, :, -1], contributions[:, :, :-1]
        raw = ((expected + parts.sum(dim=2)).float(), expected.float())
    return _Ends((own[0], raw[0]), (own[1], raw[1]), parts)


def _rank(model: Model, task: Task, own: Tensor | None, raw: Tensor | None) -> Tensor:
    """Uncalibrated ranking scores (B,)."""
    head, spread = model.network.heads[task.name], model.spread_of(task)
    return head.rank(mixed(task.kind, head, model.weights_of(task), own, raw, spread))


def _gradients(model: Model, task: Task, ends: _Ends) -> tuple[Tensor | None, Tensor | None]:
    """How fast the ranking score rises with each output (B, K) and raw score (B, J), in the mean
    over the straight way between the ends."""
    sums: list[Tensor | None] = [None, None]
    for step in range(STEPS):
        share = (step + 0.5) / STEPS
        points = [
            None if start is None or end is None else torch.lerp(start, end, share).requires_grad_()
            for start, end in zip(ends.mean_user, ends.user, strict=True)
        ]
        given = [point for point in points if point is not None]
        gradients = iter(torch.autograd.grad(_rank(model, task, *points).sum(), given))
        for k, point in enumerate(points):
            if point is not None:
                gradient, so_far = next(gradients) / STEPS, sums[k]
                sums[k] = gradient if so_far is None else so_far + gradient
    return sums[0], sums[1]


def _of_network(
    model: Model, task: Task, inputs: Tensor, baseline: Tensor, of_outputs: Tensor
) -> Tensor:
    """What each of the trunk's inputs contributes, (B, inputs), by way of a task's outputs."""

    def moved(x: Tensor, rates: Tensor) -> Tensor:
        return (model.network.of_inputs(x)[task.name] * rates).sum(dim=1)

    contributions: Tensor = IntegratedGradients(moved).attribute(
        inputs, baseline, additional_forward_args=(of_outputs.detach(),), n_steps=STEPS,
        internal_batch_size=4096,
    )  # fmt: skip
    return contributions


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
