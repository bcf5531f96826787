"""Trunks: what the tasks share. Adding one is a class here and its name in `TRUNKS`.

Letters: B rows, F inputs, D width, T tasks, E experts, M members of an ensemble.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from contracts.train_config import NetworkConfig
from models.network.dropout import Dropout


class Trunk(nn.Module, ABC):
    """Two steps, between which gradients of the tasks can be balanced."""

    members: int = 1
    width: int
    """D of what each task gets."""

    @abstractmethod
    def shared(self, inputs: Tensor) -> Tensor:
        """(B, F) to the representation that all tasks share, (B, M, D)."""

    @abstractmethod
    def split(self, shared: Tensor) -> Tensor:
        """(B, M, D) to what each task gets of it, (B, T, M, D)."""


class ResidualBlock(nn.Module):
    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) to (B, D)."""
        return x + self.layers(x)


def _residual(config: NetworkConfig, n_inputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_inputs, config.width),
        *(ResidualBlock(config.width, config.dropout) for _ in range(config.depth)),
        nn.LayerNorm(config.width),
    )


class SharedBottom(Trunk):
    """One network for all tasks (Caruana, 1997)."""

    def __init__(self, config: NetworkConfig, n_inputs: int, n_tasks: int):
        super().__init__()
        self.n_tasks, self.width = n_tasks, config.width
        self.layers = _residual(config, n_inputs)

    def shared(self, inputs: Tensor) -> Tensor:
        representation: Tensor = self.layers(inputs).unsqueeze(1)
        return representation

    def split(self, shared: Tensor) -> Tensor:
        return shared.unsqueeze(1).expand(-1, self.n_tasks, -1, -1)


class MixtureOfExperts(Trunk):
    """MMoE (Ma et al., 2018): a gate per task over shared experts.

    All experts' layers are one matrix product, and so are all gates.
    """

    def __init__(self, config: NetworkConfig, n_inputs: int, n_tasks: int):
        super().__init__()
        self.n_tasks, self.n_experts, self.width = n_tasks, config.n_experts, config.width
        self.below = _residual(config, n_inputs) if config.depth else nn.Identity()
        n_below = config.width if config.depth else n_inputs
        self.experts = nn.Linear(n_below, config.n_experts * config.width)
        self.gates = nn.Linear(n_below, n_tasks * config.n_experts)

    def shared(self, inputs: Tensor) -> Tensor:
        representation: Tensor = self.below(inputs).unsqueeze(1)
        return representation

    def split(self, shared: Tensor) -> Tensor:
        x = shared.squeeze(1)
        experts = torch.relu(self.experts(x)).view(-1, self.n_experts, self.width)
        gates = self.gates(x).view(-1, self.n_tasks, self.n_experts).softmax(dim=2)
        return (gates @ experts).unsqueeze(2)


class ExtractionLevel(nn.Module):
    """One level of PLE: experts of each task beside shared ones, and gates over both."""

    def __init__(self, width: int, n_tasks: int, n_own: int, n_shared: int, last: bool):
        super().__init__()
        self.n_tasks, self.n_own, self.n_shared, self.width = n_tasks, n_own, n_shared, width
        self.own = nn.Parameter(torch.empty(n_tasks, width, n_own * width))
        self.own_bias = nn.Parameter(torch.zeros(n_tasks, 1, n_own * width))
        nn.init.uniform_(self.own, -(width**-0.5), width**-0.5)
        self.common = nn.Linear(width, n_shared * width)
        self.gates = nn.Parameter(torch.zeros(n_tasks, width, n_own + n_shared))
        self.common_gate = None if last else nn.Linear(width, n_tasks * n_own + n_shared)

    def forward(self, of_tasks: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
        """(T, B, D) of the tasks and (B, D) of all to the same of the next level."""
        n = common.shape[0]
        own = torch.relu(torch.baddbmm(self.own_bias, of_tasks, self.own))
        own = own.view(self.n_tasks, n, self.n_own, self.width)
        shared = torch.relu(self.common(common)).view(n, self.n_shared, self.width)
        every = torch.cat([own, shared.expand(self.n_tasks, -1, -1, -1)], dim=2)
        gates = torch.bmm(of_tasks, self.gates).softmax(dim=2).unsqueeze(2)
        mixed = (gates @ every).squeeze(2)
        if self.common_gate is None:
            return mixed, common
        whole = torch.cat([own.permute(1, 0, 2, 3).flatten(1, 2), shared], dim=1)
        gate = self.common_gate(common).softmax(dim=1).unsqueeze(1)
        return mixed, (gate @ whole).squeeze(1)


class ProgressiveExtraction(Trunk):
    """PLE (Tang et al., 2020): levels of experts, some shared and some of one task alone."""

    def __init__(self, config: NetworkConfig, n_inputs: int, n_tasks: int):
        super().__init__()
        self.n_tasks, self.width = n_tasks, config.width
        self.below = _residual(config, n_inputs)
        self.levels = nn.ModuleList(
            ExtractionLevel(config.width, n_tasks, 1, config.n_experts, last)
            for last in (False, True)
        )

    def shared(self, inputs: Tensor) -> Tensor:
        representation: Tensor = self.below(inputs).unsqueeze(1)
        return representation

    def split(self, shared: Tensor) -> Tensor:
        common = shared.squeeze(1)
        of_tasks = common.expand(self.n_tasks, -1, -1)
        for level in self.levels:
            of_tasks, common = level(of_tasks, common)
        return of_tasks.transpose(0, 1).unsqueeze(2)


class EnsembleLinear(nn.Module):
    """One weight for all members; each has its own scales of inputs and outputs, and its own bias
    (BatchEnsemble: Wen, Tran, Ba, 2020). A member alone has a weight and a bias."""

    def __init__(self, n_inputs: int, n_outputs: int, members: int):
        super().__init__()
        self.members = members
        self.weight = nn.Parameter(torch.empty(n_inputs, n_outputs))
        nn.init.uniform_(self.weight, -(n_inputs**-0.5), n_inputs**-0.5)
        if members > 1:
            self.scale_in = nn.Parameter(torch.ones(members, n_inputs))
            self.scale_out = nn.Parameter(torch.ones(members, n_outputs))
        self.bias = nn.Parameter(
            torch.empty(members, n_outputs).uniform_(-(n_inputs**-0.5), n_inputs**-0.5)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, inputs) to (B, M, outputs)."""
        if self.members == 1:
            return torch.addmm(self.bias.squeeze(0), x.squeeze(1), self.weight).unsqueeze(1)
        return (x * self.scale_in) @ self.weight * self.scale_out + self.bias


class EnsembleBlock(nn.Module):
    def __init__(self, width: int, members: int, dropout: float):
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            EnsembleLinear(width, width, members),
            nn.ReLU(),
            Dropout(dropout),
            EnsembleLinear(width, width, members),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, D) to (B, M, D)."""
        return x + self.layers(x)


class Ensemble(Trunk):
    """Members that share nearly all weights and are trained together, each on its own loss (TabM:
    Gorishniy et al., 2025). They differ from the start by random signs."""

    def __init__(self, config: NetworkConfig, n_inputs: int, n_tasks: int):
        super().__init__()
        self.n_tasks, self.members, self.width = n_tasks, config.members, config.width
        self.first = nn.Linear(n_inputs, config.width)
        self.signs = nn.Parameter(
            torch.randint(0, 2, (config.members, config.width)).float() * 2 - 1
        )
        self.shifts = nn.Parameter(torch.zeros(config.members, config.width).uniform_(-0.1, 0.1))
        self.blocks = nn.Sequential(
            *(
                EnsembleBlock(config.width, config.members, config.dropout)
                for _ in range(config.depth)
            ),
            nn.LayerNorm(config.width),
        )
        self.dropout = Dropout(config.dropout)

    def shared(self, inputs: Tensor) -> Tensor:
        x = self.first(inputs).unsqueeze(1) * self.signs + self.shifts
        representation: Tensor = self.blocks(self.dropout(torch.relu(x)))
        return representation

    def split(self, shared: Tensor) -> Tensor:
        return shared.unsqueeze(1).expand(-1, self.n_tasks, -1, -1)


TRUNKS: Mapping[str, Callable[[NetworkConfig, int, int], Trunk]] = {
    "shared_bottom": SharedBottom,
    "mmoe": MixtureOfExperts,
    "ple": ProgressiveExtraction,
    "ensemble": Ensemble,
}
