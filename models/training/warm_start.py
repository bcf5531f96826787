"""A warm start: the new network begins with the champion's weights, as far as they fit."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from contracts.splits import Split
from models.artifact.model import Model
from models.data.encoders import Encoder, Part
from models.data.label_layout import Layout
from models.network.network import Network


def may_start_from(champion: Model, splits: dict[str, Split]) -> bool:
    """Whether the champion has seen nothing that the new network is chosen or tested by.

    All days that it was trained, validated or calibrated on must come before every validation
    and test day of tonight; else what is held out would not be.
    """
    seen = max(max(split.used) for split in champion.splits.values())
    return all(seen < min((*split.valid, *split.test)) for split in splits.values())


def start_from(network: Network, layout: Layout, encoder: Encoder, champion: Model) -> list[str]:
    """Copy what fits; the rest stays as it was begun.

    Ids keep their embedding wherever they stand now: a vocabulary may have grown or shrunk. Towers
    follow their tasks by name, and what depends on their order follows them only if it is the same.

    Returns:
        Names of the weights that were taken over.
    """
    ours, theirs = network.state_dict(), champion.network.state_dict()
    same_tasks = [t.name for t in layout.tasks] == [t.name for t in champion.layout.tasks]
    taken = []
    with torch.no_grad():
        for name, weight in ours.items():
            if name.startswith("ids."):
                if _ids_fit(network, champion):
                    _by_word(weight, theirs[name], encoder, champion.encoder)
                    taken.append(name)
            elif (
                name in theirs
                and theirs[name].shape == weight.shape
                and (same_tasks or not name.startswith("trunk.") or "gate" not in name)
                and _same_classes(name, layout, champion.layout)
            ):
                weight.copy_(theirs[name])
                taken.append(name)
    return taken


def _ids_fit(network: Network, champion: Model) -> bool:
    """Whether both keep their ids in a table of one kind and width, whatever its length."""
    ours, theirs = network.state_dict(), champion.network.state_dict()
    names = [name for name in ours if name.startswith("ids.")]
    return all(name in theirs and ours[name].shape[1:] == theirs[name].shape[1:] for name in names)


def _by_word(weight: Tensor, before: Tensor, now: Encoder, then: Encoder) -> None:
    """Copy rows of the one embedding table, feature by feature and word by word."""
    before_of = {part.feature: (start, part) for start, part in _placed(then)}
    for start, part in _placed(now):
        if part.feature not in before_of:
            continue
        old, other = before_of[part.feature]
        if part.buckets or other.buckets:
            if part.buckets == other.buckets:
                weight[start : start + part.size] = before[old : old + part.size]
            continue
        known = {word: old + 1 + i for i, word in enumerate(other.words)}
        weight[start] = before[old]  # unseen or missing
        for i, word in enumerate(part.words):
            if word in known:
                weight[start + 1 + i] = before[known[word]]


def _placed(encoder: Encoder) -> Iterator[tuple[int, Part]]:
    """Every feature's part of the table, and where it begins."""
    start = 0
    for part in encoder.parts:
        yield start, part
        start += part.size


def _same_classes(name: str, now: Layout, then: Layout) -> bool:
    """A tower of a multi-label task speaks of the same classes."""
    if not name.startswith("towers."):
        return True
    task = name.split(".")[1]
    return now.classes.get(task) == then.classes.get(task)
