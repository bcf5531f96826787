"""The network: inputs, encoders of sequences, shared trunk, one tower per task.

Letters: B rows, F numeric features, N bins, I ids, D width, T tasks, M members of an ensemble,
K outputs of a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as nnf

from contracts.tasks import Task
from contracts.train_config import InputConfig, NetworkConfig, TrainConfig
from models.data.batches import Batch
from models.data.encoders import Encoder
from models.data.label_layout import Layout
from models.network.dropout import Dropout
from models.network.embedding_tables import RowTable, table_of
from models.network.heads import head_of, within
from models.network.sequences import EVENT_ENCODERS, TEXT_ENCODERS
from models.network.trunks import TRUNKS, EnsembleLinear

ALIGNMENT = 16
"""Inputs come in multiples of so many: other widths cost a product half as much again."""
PADDING = ""
"""The owner of inputs that are always 0."""


class StandardNumbers(nn.Module):
    """Standardised values and their indicators as they are."""

    width: int
    owners: list[int]
    """The feature that each column is of, by its place."""

    def __init__(self, config: InputConfig, edges: Sequence[Sequence[float]]):
        super().__init__()
        self.width = 3 * len(edges)
        self.owners = [*range(len(edges))] * 3

    def forward(self, numeric: Tensor) -> Tensor:
        """(B, 3F) to (B, 3F)."""
        return numeric


class PiecewiseNumbers(nn.Module):
    """Piecewise-linear embeddings on quantiles (Gorishniy, Rubachev, Babenko, 2022).

    A value fills the bins below its own and its share of that one; each feature has a linear layer
    of its own over bins, value and indicators. All features are one batched product.
    """

    left: Tensor
    rise: Tensor
    """One over a bin's size; 0 for bins that a feature lacks, which stay empty."""
    width: int
    owners: list[int]

    def __init__(self, config: InputConfig, edges: Sequence[Sequence[float]]):
        super().__init__()
        n_bins = max([len(e) - 1 for e in edges] + [1])
        left, rise = torch.zeros(2, len(edges), 1, n_bins)
        for f, e in enumerate(edges):
            if len(e) > 1:
                left[f, 0, : len(e) - 1] = torch.tensor(e[:-1])
                rise[f, 0, : len(e) - 1] = 1 / torch.tensor(e).diff()
        self.register_buffer("left", left, persistent=False)
        self.register_buffer("rise", rise, persistent=False)
        self.n_bins, self.n_features = n_bins, len(edges)
        self.width = len(edges) * config.numeric_width
        self.owners = [f for f in range(len(edges)) for _ in range(config.numeric_width)]
        n_channels = n_bins + 3
        self.weight = nn.Parameter(torch.empty(len(edges), n_channels, config.numeric_width))
        nn.init.normal_(self.weight, std=0.3)
        with torch.no_grad():
            self.weight[:, :n_bins] *= 0.3
        self.bias = nn.Parameter(torch.zeros(len(edges), 1, config.numeric_width))

    def forward(self, numeric: Tensor) -> Tensor:
        """(B, 3F) to (B, F * numeric_width)."""
        given = numeric.view(len(numeric), 3, self.n_features).permute(2, 0, 1)
        channels = given.new_empty(self.n_features, len(numeric), self.n_bins + 3)
        channels[:, :, self.n_bins :] = given
        filled, missing = channels[:, :, : self.n_bins], given[:, :, 1:2]
        torch.sub(given[:, :, :1], self.left, out=filled)
        filled.mul_(self.rise).clamp_(0, 1).mul_(1 - missing)
        output = torch.baddbmm(self.bias, channels, self.weight)
        return output.transpose(0, 1).flatten(1)


NUMBERS: Mapping[str, type[StandardNumbers] | type[PiecewiseNumbers]] = {
    "standard": StandardNumbers,
    "piecewise": PiecewiseNumbers,
}


class Tower(nn.Module):
    """A task's own layers; members of an ensemble share the first but for scales."""

    def __init__(
        self, config: NetworkConfig, n_inputs: int, members: int, n_outputs: int, n_wide: int
    ):
        super().__init__()
        self.wide = nn.Linear(n_wide, n_outputs, bias=False) if config.wide else None
        if self.wide is not None:
            nn.init.zeros_(self.wide.weight)
        self.first = EnsembleLinear(n_inputs, config.tower_width, members)
        self.dropout = Dropout(config.dropout)
        bound = config.tower_width**-0.5
        self.weight = nn.Parameter(
            torch.empty(members, config.tower_width, n_outputs).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.zeros(members, n_outputs))

    def forward(self, x: Tensor, wide: Tensor | None) -> Tensor:
        """What the trunk gave, (B, M, D), and what the wide part made of its inputs, (B, K), to
        (B, M, K)."""
        hidden = self.dropout(torch.relu(self.first(x)))
        output = torch.einsum("bmh,mhk->bmk", hidden, self.weight) + self.bias
        return output if wide is None else output + wide.unsqueeze(1)


class Network(nn.Module):
    """Everything between a batch and the heads' outputs."""

    def __init__(self, config: TrainConfig, layout: Layout, encoder: Encoder):
        super().__init__()
        self.layout, self.tasks = layout, layout.tasks
        tasks, inputs = layout.tasks, encoder.inputs
        self.heads = {t.name: head_of(t.kind, layout.classes.get(t.name, ())) for t in tasks}
        given = config.inputs
        self.numbers = NUMBERS[given.numbers](given, encoder.edges)
        self.ids = table_of(max(sum(part.size for part in encoder.parts), 1), given.id_width)
        events, text = EVENT_ENCODERS.get(given.events), TEXT_ENCODERS.get(given.text)
        self.events = events(given) if events is not None and inputs.events else None
        self.text = text() if text is not None and inputs.text else None
        self.owners = [inputs.numeric[f][0] for f in self.numbers.owners]
        self.owners += [part.feature for part in encoder.parts for _ in range(given.id_width)]
        for name, part in (("events", self.events), ("text", self.text)):
            self.owners += [name] * (part.width if part is not None else 0)
        self.owners += [name for name, width in inputs.vectors for _ in range(width)]
        self.owners += [name for name, _ in inputs.vectors]
        self.n_padding = -len(self.owners) % ALIGNMENT
        self.owners += [PADDING] * self.n_padding
        self.input_dropout = Dropout(config.network.input_dropout)
        self.sequence_dropout = config.network.sequence_dropout
        self.trunk = TRUNKS[config.network.trunk](config.network, len(self.owners), len(tasks))
        self.towers = nn.ModuleDict(
            {
                task.name: Tower(
                    config.network,
                    self.trunk.width,
                    self.trunk.members,
                    self.heads[task.name].n_outputs,
                    len(self.owners),
                )
                for task in tasks
            }
        )

    @property
    def tables(self) -> list[RowTable]:
        """Tables that are updated by row, and not by the optimizer."""
        return [part for part in self.modules() if isinstance(part, RowTable)]

    def start_from(self, labels: Mapping[str, Tensor]) -> None:
        """Let every head start as the constant that fits its training labels best: (n,), or (n, C)
        for a multi-label task."""
        for task in self.tasks:
            tower = self.towers[task.name]
            if not isinstance(tower, Tower):
                raise TypeError(f"{task.name} has no tower")
            with torch.no_grad():
                tower.weight.mul_(0.1)
                tower.bias.copy_(
                    self.heads[task.name].start(labels[task.name]).expand_as(tower.bias)
                )
                if self._outer(task):
                    inner, outer = labels[task.name].mean(), labels[task.within or ""].mean()
                    start = torch.logit((inner / outer.clamp_min(1e-3)).clamp(0.02, 0.98))
                    tower.bias.fill_(float(start))

    def _outer(self, task: Task) -> bool:
        return task.within is not None and task.within in self.heads

    def inputs(self, batch: Batch) -> Tensor:
        """What the trunk is given, (B, inputs); `owners` says which feature each column is of."""
        parts = [self.numbers(batch.numeric), self.ids(batch.ids).flatten(1)]
        if self.events is not None:
            events = self.events(batch.verbs, batch.items, batch.categories, batch.times)
            parts.append(self._or_none(events))
        if self.text is not None:
            parts.append(self._or_none(self.text(batch.tokens)))
        if batch.vectors.shape[1]:
            parts.append(batch.vectors)
        parts.append(parts[0].new_zeros(len(batch), self.n_padding))
        return torch.cat(parts, dim=1)

    def _or_none(self, sequence: Tensor) -> Tensor:
        """While training, nothing of some rows' sequences; they are not made up for, (B, D)."""
        if not self.training or not self.sequence_dropout:
            return sequence
        kept = torch.rand(len(sequence), 1, device=sequence.device) >= self.sequence_dropout
        return sequence * kept

    def entered(self, batch: Batch) -> Tensor:
        """The inputs of which, while training, some are dropped, (B, inputs)."""
        dropped: Tensor = self.input_dropout(self.inputs(batch))
        return dropped

    def raw(self, split: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """What each tower makes of what the trunk gave its task, (B, T, M, D) to (B, M, K)."""
        # Apart at once: backwards, one slice after the other would fill zeros for all the rest.
        parts = zip(self.towers.items(), split.unbind(1), self._wide(inputs), strict=True)
        return {name: tower(part, wide) for (name, tower), part, wide in parts}

    def _wide(self, inputs: Tensor) -> Sequence[Tensor | None]:
        """What the wide part of each tower makes of the inputs, (B, K): one product for all, which
        reads the inputs once."""
        towers = self.towers.named_parameters()
        weights: list[Tensor] = [weight for name, weight in towers if name.endswith(".wide.weight")]
        if not weights:
            return [None] * len(self.towers)
        products = nnf.linear(inputs, torch.cat(weights))
        return products.split([len(weight) for weight in weights], dim=1)

    def bound(self, raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs in which a task stays within the one that it implies."""
        outputs = dict(raw)
        for task in self.tasks:
            if self._outer(task):
                outputs[task.name] = within(outputs[task.name], outputs[task.within or ""])
        return outputs

    def of_tasks(self, split: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """What the trunk gave each task, (B, T, M, D), and what it was given, (B, inputs), to
        outputs per task, each (B, M, K)."""
        return self.bound(self.raw(split, inputs))

    def members(self, batch: Batch) -> dict[str, Tensor]:
        """Outputs per task of each member of the ensemble, (B, M, K)."""
        inputs = self.entered(batch)
        return self.of_tasks(self.trunk.split(self.trunk.shared(inputs)), inputs)

    def of_inputs(self, inputs: Tensor) -> dict[str, Tensor]:
        """Outputs per task, each (B, K), of what the trunk is given."""
        by_member = self.of_tasks(self.trunk.split(self.trunk.shared(inputs)), inputs)
        return {name: outputs.mean(dim=1) for name, outputs in by_member.items()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Outputs per task, each (B, K): the mean over members."""
        return {name: outputs.mean(dim=1) for name, outputs in self.members(batch).items()}
