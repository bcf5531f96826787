"""The network: inputs, event encoder, shared trunk, one tower per task.

Letters: B rows, F numeric inputs, I ids, L events, D width, E experts, T tasks, K outputs of a
head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from contracts.measures import EVENT_VERBS, TEXT_BUCKETS
from contracts.tasks import Task
from models.config import TrainConfig
from models.data import Batch
from models.heads import head_of, within
from models.layout import Layout

EVENT_WIDTH = 24
TEXT_WIDTH = 16


class EventEncoder(nn.Module):
    """The last events as one vector: attention pooling with one learnt query per half."""

    def __init__(self, config: TrainConfig):
        super().__init__()
        self.verb = nn.Embedding(len(EVENT_VERBS) + 1, EVENT_WIDTH, padding_idx=0)
        self.item = nn.Embedding(config.id_buckets + 1, config.id_width, padding_idx=0)
        self.mix = nn.Linear(EVENT_WIDTH + config.id_width + 2, EVENT_WIDTH)
        self.query = nn.Linear(EVENT_WIDTH, 2)
        self.width = 2 * EVENT_WIDTH

    def forward(self, verbs: Tensor, items: Tensor, times: Tensor) -> Tensor:
        """(B, L), (B, L), (B, L, 2) to (B, 2 * EVENT_WIDTH); zeros for users without events."""
        events = torch.cat([self.verb(verbs), self.item(items), times], dim=2)
        events = torch.relu(self.mix(events))
        there = (verbs > 0).unsqueeze(2)
        weights = self.query(events).masked_fill(~there, -1e9).softmax(dim=1)
        weights = torch.where(there, weights, torch.zeros_like(weights))
        return torch.einsum("blq,bld->bqd", weights, events).flatten(1)


class TextEncoder(nn.Module):
    """The words of a user as one vector: the mean of their embeddings, and how many there are."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(
            TEXT_BUCKETS + 1, TEXT_WIDTH, mode="mean", padding_idx=0, include_last_offset=False
        )
        nn.init.normal_(self.words.weight, std=0.1)
        self.width = TEXT_WIDTH + 1

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, K) to (B, TEXT_WIDTH + 1); zeros for users without words."""
        share = (tokens > 0).to(self.words.weight.dtype).mean(dim=1, keepdim=True)
        return torch.cat([self.words(tokens), share], dim=1)


class ResidualBlock(nn.Module):
    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        return x + self.layers(x)


class SharedBottom(nn.Module):
    """One network for all tasks."""

    def __init__(self, config: TrainConfig, n_inputs: int, n_tasks: int):
        super().__init__()
        self.n_tasks = n_tasks
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, config.width),
            *(ResidualBlock(config.width, config.dropout) for _ in range(config.depth)),
            nn.LayerNorm(config.width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) to (B, T, D), the same for every task."""
        return self.layers(x).unsqueeze(1).expand(-1, self.n_tasks, -1)


class MixtureOfExperts(nn.Module):
    """MMoE (Ma et al., 2018): a gate per task over shared experts.

    All experts' layers are one matrix product, and so are all gates.
    """

    def __init__(self, config: TrainConfig, n_inputs: int, n_tasks: int):
        super().__init__()
        self.n_tasks, self.n_experts, self.width = n_tasks, config.n_experts, config.width
        self.below = nn.Sequential(
            nn.Linear(n_inputs, config.width),
            *(ResidualBlock(config.width, config.dropout) for _ in range(config.depth)),
            nn.LayerNorm(config.width),
        )
        self.experts = nn.Linear(config.width, config.n_experts * config.width)
        self.gates = nn.Linear(config.width, n_tasks * config.n_experts)

    def forward(self, x: Tensor) -> Tensor:
        """(B, F) to (B, T, D)."""
        x = self.below(x)
        experts = torch.relu(self.experts(x)).view(-1, self.n_experts, self.width)
        gates = self.gates(x).view(-1, self.n_tasks, self.n_experts).softmax(dim=2)
        return gates @ experts


TRUNKS = {"shared_bottom": SharedBottom, "mmoe": MixtureOfExperts}


class Network(nn.Module):
    """Everything between a batch and the heads' outputs."""

    def __init__(
        self, config: TrainConfig, layout: Layout, n_numeric: int, id_sizes: Sequence[int]
    ):
        super().__init__()
        self.layout, self.tasks = layout, layout.tasks
        tasks = layout.tasks
        self.heads = {t.name: head_of(t.kind, layout.classes.get(t.name, ())) for t in tasks}
        self.ids = nn.Embedding(sum(id_sizes), config.id_width)
        self.events, self.text = EventEncoder(config), TextEncoder()
        n_inputs = n_numeric + len(id_sizes) * config.id_width + self.events.width + self.text.width
        self.trunk = TRUNKS[config.trunk](config, n_inputs, len(self.tasks))
        self.towers = nn.ModuleDict(
            {
                task.name: nn.Sequential(
                    nn.Linear(config.width, config.tower_width),
                    nn.ReLU(),
                    nn.Dropout(config.dropout),
                    nn.Linear(config.tower_width, self.heads[task.name].n_outputs),
                )
                for task in tasks
            }
        )

    def start_from(self, labels: Mapping[str, Tensor]) -> None:
        """Let every head start as the constant that fits its training labels best: (n,), or (n, C)
        for a multi-label task."""
        for task in self.tasks:
            last = list(self.towers[task.name].children())[-1]
            if not isinstance(last, nn.Linear):
                raise TypeError(f"the tower of {task.name} must end in a linear layer")
            with torch.no_grad():
                last.weight.mul_(0.1)
                last.bias.copy_(self.heads[task.name].start(labels[task.name]))
                if self._outer(task):
                    inner, outer = labels[task.name].mean(), labels[task.within or ""].mean()
                    last.bias.fill_(torch.logit((inner / outer.clamp_min(1e-3)).clamp(0.02, 0.98)))

    def _outer(self, task: Task) -> bool:
        return task.within is not None and task.within in self.heads

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Outputs per task, each (B, K)."""
        inputs = torch.cat(
            [
                batch.numeric,
                self.ids(batch.ids).flatten(1),
                self.events(batch.verbs, batch.items, batch.times),
                self.text(batch.tokens),
            ],
            dim=1,
        )
        shared = self.trunk(inputs)
        outputs = {
            task.name: self.towers[task.name](shared[:, i]) for i, task in enumerate(self.tasks)
        }
        for task in self.tasks:
            if self._outer(task):
                outputs[task.name] = within(outputs[task.name], outputs[task.within or ""])
        return outputs
