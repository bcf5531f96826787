"""Our steps beside those of torch's optimizer."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import Tensor

from models.ranking.adam import AdamW


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, generator=generator).requires_grad_() for n in (5, 3, 2)]


def loss_of(weights: list[Tensor]) -> Tensor:
    """The last one has no part in it."""
    return (weights[0].sum() - 3) ** 2 + (weights[1] ** 4).sum()


def test_steps_are_those_of_torch() -> None:
    ours, theirs = parameters(), parameters()
    optimizer = torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1)
    ours_optimizer = AdamW(ours, 0.01, 0.1)
    for _ in range(20):
        loss_of(ours).backward()
        ours_optimizer.step(max_norm=1.0)
        optimizer.zero_grad()
        loss_of(theirs).backward()
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
    assert ours[0].grad is None


def test_the_compiler_is_not_imported() -> None:
    learn = (
        "import sys, torch; from models.ranking.adam import AdamW;"
        "w = torch.ones(2, requires_grad=True); a = AdamW([w], .1, 0.); w.sum().backward();"
        "a.step(1.0); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", learn], check=False).returncode == 0
