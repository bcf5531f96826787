"""Embedding tables of any size: a step costs as much as the rows it reads, not as the table has.

Letters: N ids of a batch, repeats included, D dimensions.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn

DENSE_ROWS = 32_768
"""Tables of fewer rows are cheaper to update whole, by the optimizer of everything else."""


class RowTable(nn.Module):
    """Rows that are read by id, and updated by row-wise Adagrad where they were read.

    Adagrad (Duchi, Hazan, Singer, 2011) with one accumulator a row: the mean square of the row's
    gradient (Naumov et al., "Deep learning recommendation model", 2019). The gradient is taken on
    the gathered rows, merged by id, and only rows that were read are written. The weight is no
    parameter of any optimizer.
    """

    squares: Tensor

    def __init__(self, n_rows: int, width: int, std: float = 0.05):
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(n_rows, width).normal_(std=std), requires_grad=False)
        self.register_buffer("squares", torch.zeros(n_rows))
        self._read: list[tuple[Tensor, Tensor]] = []

    def forward(self, ids: Tensor) -> Tensor:
        """Ids of any shape to (…, D)."""
        places = ids.reshape(-1)
        rows = self.weight.index_select(0, places)
        if self.training and torch.is_grad_enabled():
            rows.requires_grad_()
            self._read.append((places, rows))
        return rows.view(*ids.shape, self.width)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update the rows that were read since the last step; their gradients are there."""
        read = [(ids, rows.grad) for ids, rows in self._read if rows.grad is not None]
        self._read = []
        if not read:
            return
        ids, gradients = (torch.cat(parts) for parts in zip(*read, strict=True))
        ids, gradients = _of_all_ranks(ids, gradients.float())
        once, place = torch.unique(ids, return_inverse=True)
        merged = gradients.new_zeros(len(once), self.width).index_add_(0, place, gradients)
        squares = self.squares[once] + merged.square().mean(dim=1)
        self.squares[once] = squares
        steps = merged * (-rate / (squares.sqrt() + 1e-8)).unsqueeze(1)
        self.weight.index_add_(0, once, steps)


def table_of(n_rows: int, width: int) -> nn.Embedding | RowTable:
    """A table that is updated whole where it is small, else by the rows that were read."""
    if n_rows >= DENSE_ROWS:
        return RowTable(n_rows, width)
    table = nn.Embedding(n_rows, width)
    nn.init.normal_(table.weight, std=0.1)  # rare ids stay near nothing instead of being noise
    return table


def _of_all_ranks(ids: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """What every rank read, so that all make the same step; the gradient is the ranks' mean."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return ids, gradients
    n = dist.get_world_size()
    every = (
        [torch.empty_like(ids) for _ in range(n)],
        [torch.empty_like(gradients) for _ in range(n)],
    )
    dist.all_gather(every[0], ids)
    dist.all_gather(every[1], gradients.contiguous())
    return torch.cat(every[0]), torch.cat(every[1]) / n
