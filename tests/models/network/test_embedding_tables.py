"""Embedding tables of which a step costs as much as the rows that it reads."""

from __future__ import annotations

import torch
from torch import nn

from models.network.embedding_tables import DENSE_ROWS, RowTable, table_of


def test_a_table_by_row_steps_as_adagrad_over_merged_rows_does() -> None:
    torch.manual_seed(0)
    table = RowTable(50, 4)
    dense = nn.Embedding(50, 4)
    with torch.no_grad():
        dense.weight.copy_(table.weight)
    squares = torch.zeros(50)
    before = table.weight.clone()
    for step in range(3):
        ids = torch.tensor([[3, 3, 7], [7, 3, 40 + step]])
        for embedded in (table(ids), dense(ids)):
            (embedded.sin() * torch.arange(4.0)).sum().backward()
        table.step(0.1)
        with torch.no_grad():
            gradient = dense.weight.grad
            squares += gradient.square().mean(dim=1)
            dense.weight -= 0.1 * gradient / (squares.sqrt() + 1e-8).unsqueeze(1)
            dense.weight.grad = None
    torch.testing.assert_close(table.weight, dense.weight)
    idle = [i for i in range(50) if i not in (3, 7, 40, 41, 42)]
    assert (table.weight[idle] == before[idle]).all()
    assert not table.weight.requires_grad
    table.eval()(torch.tensor([1]))
    table.step(0.1)  # nothing was read to learn from
    assert (table.weight[1] == before[1]).all()


def test_small_tables_are_updated_whole() -> None:
    assert isinstance(table_of(100, 4), nn.Embedding)
    assert isinstance(table_of(DENSE_ROWS, 4), RowTable)
