"""The multi-task network with an item side: what a user is like, what an item is like, and what
both have to do with each other; one output per event, and one that orders a user's candidates.

Letters: C candidates, F features, D width of a tower, E events, U users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as nnf

from contracts.errors import ContractError
from models.network.adamw import AdamW
from models.ranking.samples import Sample

EPOCHS = 2
"""Passes over what is learned from."""
WIDTH = 32
USERS_OF_STEP = 32
RATE = 2e-3
DECAY = 1e-2
MAX_NORM = 1.0
"""Of gradients."""
CHUNK = 4096
"""Candidates that go through the network together, padded to as many: a product of another size may
add up in another order, and the same candidate have another score in another shard."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Which of the F features say what of whom."""

    user: tuple[int, ...]
    item: tuple[int, ...]

    @classmethod
    def of(cls, names: Sequence[str]) -> Columns:
        return cls(
            tuple(i for i, name in enumerate(names) if name.startswith("user_")),
            tuple(i for i, name in enumerate(names) if name.startswith("item_")),
        )


class Numbers(nn.Module):
    """Features on a scale that a network can learn from: signed logarithms, standardised, 0 where
    one is not known, and whether it is."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, n: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n))
        self.register_buffer("deviation", torch.ones(n))

    def fit(self, features: Tensor) -> None:
        logs = _logs(features).double()
        known = ~logs.isnan()
        n = known.sum(dim=0).clamp(min=1)
        mean = logs.nan_to_num().sum(dim=0) / n
        spread = (((logs - mean).nan_to_num() ** 2).sum(dim=0) / n).sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, features: Tensor) -> Tensor:
        """(C, F) to (C, 2F)."""
        scaled = ((_logs(features) - self.mean) / self.deviation).clamp(-5, 5)
        return torch.cat([scaled.nan_to_num(), features.isnan().float()], dim=1)


class ItemNetwork(nn.Module):
    """A user tower, an item tower, their product, and everything else, to E + 1 outputs."""

    def __init__(self, names: Sequence[str], n_events: int):
        super().__init__()
        self.columns = Columns.of(names)
        self.numbers = Numbers(len(names))
        self.user = _tower(2 * len(self.columns.user))
        self.item = _tower(2 * len(self.columns.item))
        self.first = nn.Linear(2 * len(names) + 3 * WIDTH, 2 * WIDTH)
        self.second = nn.Linear(2 * WIDTH, WIDTH)
        self.dropout = nn.Dropout(0.1)
        self.heads = nn.Linear(WIDTH, 1 + n_events)

    def forward(self, features: Tensor) -> Tensor:
        """(C, F) to (C, 1 + E): what orders, and the logit of each event."""
        numbers = self.numbers(features)
        n = features.shape[1]
        user, item = (
            tower(numbers[:, [*at, *(i + n for i in at)]])
            for tower, at in ((self.user, self.columns.user), (self.item, self.columns.item))
        )
        x = torch.cat([numbers, user, item, user * item], dim=1)
        x = self.dropout(torch.relu(self.first(x)))
        outputs: Tensor = self.heads(self.dropout(torch.relu(self.second(x))))
        return outputs

    def scores(self, features: Floats) -> Doubles:
        """(C, 1 + E) of features (C, F)."""
        self.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(features), CHUNK):
                part = torch.from_numpy(features[start : start + CHUNK])
                padded = nnf.pad(part, (0, 0, 0, CHUNK - len(part)))
                parts.append(self(padded)[: len(part)].double().numpy())
        width = self.heads.out_features
        return np.concatenate(parts) if parts else np.zeros((0, width))

    def to_bytes(self) -> bytes:
        """As safetensors."""
        return save({name: t.contiguous() for name, t in sorted(self.state_dict().items())})

    @staticmethod
    def of_bytes(content: bytes, names: Sequence[str], n_events: int) -> ItemNetwork:
        """The network that `to_bytes` gave.

        Raises:
            ContractError: it is another one.
        """
        network = ItemNetwork(names, n_events)
        try:
            network.load_state_dict(load(content))
        except (SafetensorError, RuntimeError):
            raise ContractError("the network is of another version; fit the ranker anew") from None
        return network.eval()


def fit_network(sample: Sample, n_events: int, epochs: int, seed: int) -> ItemNetwork:
    """The network after so many passes over the users of the sample."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ItemNetwork(sample.names, n_events)
        network.numbers.fit(torch.from_numpy(sample.features))
        optimizer = AdamW(network.parameters(), DECAY)
        for _ in range(epochs):
            network.train()
            for users in torch.randperm(len(sample)).split(USERS_OF_STEP):
                loss = _loss(network, sample, np.sort(users.numpy()), n_events)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
                optimizer.step(RATE)
    return network.eval()


def _loss(network: ItemNetwork, sample: Sample, users: npt.NDArray[np.int64], n: int) -> Tensor:
    """Cross entropy of each event, and of the softmax over each user's candidates of what orders
    (ListNet: Cao et al., 2007)."""
    sizes = np.diff(sample.starts)[users]
    before = np.cumsum(sizes) - sizes
    at = np.repeat(sample.starts[users] - before, sizes) + np.arange(sizes.sum())
    outputs = network(torch.from_numpy(sample.features[at]))
    bits = sample.events[at][:, None] >> np.arange(n) & 1
    weights = torch.from_numpy(sample.weights[at] / sample.weights[at].mean())[:, None]
    of_events = nnf.binary_cross_entropy_with_logits(
        outputs[:, 1:], torch.from_numpy(bits.astype(np.float32)), weight=weights
    )
    of = torch.from_numpy(np.repeat(np.arange(len(users)), sizes))
    totals = torch.zeros(len(users)).index_add(0, of, outputs[:, 0].exp())
    chosen = torch.from_numpy(sample.is_goal[at].astype(np.float32))
    counts = torch.zeros(len(users)).index_add(0, of, chosen).clamp(min=1)
    of_order = -(chosen * (outputs[:, 0] - totals.log()[of]) / counts[of]).sum() / len(users)
    return of_order + 5 * of_events


def _tower(n_inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))


def _logs(features: Tensor) -> Tensor:
    return features.sign() * features.abs().log1p()
