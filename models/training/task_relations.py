"""Tasks that are related, and two ways to make them learn from one another while training.

Both are penalties: they change what is learnt, not what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from contracts.kinds import Binary, Kind, ZeroInflatedLogNormal
from contracts.tasks import Task
from models.network.network import Network, Tower


def related(tasks: Sequence[Task]) -> Iterator[tuple[Task, Task]]:
    """Pairs of one kind: the same question of another horizon, or of another action."""
    for one, two in combinations(tasks, 2):
        same_window = one.horizon == two.horizon and one.mask == two.mask
        if type(one.kind) is type(two.kind) and (one.target == two.target or same_window):
            yield one, two


def apart(network: Network) -> Tensor:
    """How far the towers of related tasks lie apart: the mean square between their first layers
    (Evgeniou and Pontil, "Regularized multi-task learning", 2004), ()."""
    gaps = []
    for one, two in related(network.tasks):
        towers = network.towers[one.name], network.towers[two.name]
        if isinstance(towers[0], Tower) and isinstance(towers[1], Tower):
            gaps.append((towers[0].first.weight - towers[1].first.weight).square().mean())
    return torch.stack(gaps).mean() if gaps else next(network.parameters()).new_zeros(())


def at_odds(tasks: Sequence[Task], outputs: Mapping[str, Tensor]) -> Tensor:
    """How far two answers to one question lie apart: the mean square between the probabilities of
    an amount above 0 and of the event that it needs, over rows and members, ()."""
    gaps = [
        (torch.sigmoid(outputs[one.name][..., 0]) - torch.sigmoid(outputs[two.name][..., 0]))
        .square()
        .mean()
        for one, two in asked_twice(tasks)
    ]
    first = next(iter(outputs.values()))
    return torch.stack(gaps).mean() if gaps else first.new_zeros(())


def asked_twice(tasks: Sequence[Task]) -> Iterator[tuple[Task, Task]]:
    """A task of amounts beside the binary one of the same window and users."""
    kinds: tuple[type[Kind], type[Kind]] = (ZeroInflatedLogNormal, Binary)
    for one in tasks:
        for two in tasks:
            if (
                (type(one.kind), type(two.kind)) == kinds
                and (one.horizon, one.mask, one.needs) == (two.horizon, two.mask, two.needs)
            ):  # fmt: skip
                yield one, two
