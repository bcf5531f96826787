"""Our steps beside those of torch's optimizer."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import Tensor

from models.network.adamw import AdamW
from tests.conftest import REPOSITORY

STEPS = 20


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, generator=generator).requires_grad_() for n in (5, 3, 2)]


def loss_of(weights: list[Tensor]) -> Tensor:
    """The last one has no part in it."""
    return (weights[0].sum() - 3) ** 2 + (weights[1] ** 4).sum()


def test_steps_are_those_of_torch_to_the_bit() -> None:
    ours, theirs = parameters(), parameters()
    optimizer = torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1)
    our_optimizer = AdamW(ours, 0.1)
    for step in range(STEPS):
        rate = 0.01 * (1 - step / STEPS)
        loss_of(ours).backward()
        our_optimizer.step(rate)
        loss_of(theirs).backward()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
    assert [p.tolist() for p in ours] == [p.tolist() for p in theirs]
    assert ours[0].grad is None


def test_the_compiler_is_not_imported() -> None:
    learn = (
        "import sys, torch; from models.network.adamw import AdamW;"
        "w = torch.ones(2, requires_grad=True); a = AdamW([w], .1); w.sum().backward();"
        "torch.nn.utils.clip_grad_norm_([w], 1.0); a.step(.1);"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", learn], cwd=REPOSITORY, check=False)
    assert done.returncode == 0
