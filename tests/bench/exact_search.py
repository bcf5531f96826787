"""`python -m tests.bench.exact_search`: what the exact search costs per size, as JSON lines.

CPU seconds of one thread for the best 100 of the items of each user, 64 factors, with 50 own items
of each user left out. Beside ours are the limit, the product of the matrices alone into memory that
is used again, and the peer: the same product, own items masked, and `torch.topk`, in blocks of
512 users. Both are measured on a share of the users and counted up. Vectors are drawn from a
normal distribution, which is the hardest case: no item is much better than others.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse

from models.retrieval.exact_search import BLOCK, InnerProducts
from tests.bench.lines import print_line

FACTORS, K, OWN = 64, 100, 50
SIZES = ((200_000, 50_000), (20_000, 200_000), (4_000, 1_000_000))
"""Users and items."""
PEER_BLOCK = 512


def main() -> None:
    torch.set_num_threads(1)
    for n_users, n_items in SIZES:
        rng = np.random.default_rng(0)
        users = rng.standard_normal((n_users, FACTORS), np.float32)
        items = rng.standard_normal((n_items, FACTORS), np.float32)
        own = np.sort(rng.integers(n_items, size=(n_users, OWN)), axis=1)
        size = {"users": n_users, "items": n_items, "factors": FACTORS, "k": K}
        some = slice(0, max(n_users // 50, PEER_BLOCK))
        share = min(some.stop / n_users, 1.0)
        limit = cpu_seconds(lambda u=users[some], i=items: products(u, i)) / share
        print_line(method="product of matrices alone", **size, cpu_seconds=limit)
        peer = cpu_seconds(lambda u=users[some], i=items, o=own[some]: plain(u, i, o)) / share
        print_line(method="product, mask and topk", **size, cpu_seconds=peer)
        found: list[np.ndarray] = []
        ours = cpu_seconds(lambda u=users, i=items, o=own, f=found: f.append(searched(u, i, o)))
        print_line(method="ours", **size, cpu_seconds=ours, beside_limit=ours / limit,
                   beside_peer=ours / peer, **faults(found[0], own),
                   agrees=agreement(found[0][some], plain(users[some], items, own[some])))  # fmt: skip


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def searched(users: np.ndarray, items: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Ours: items (U, k)."""
    search = InnerProducts(items, K)
    lists = []
    for start in range(0, len(users), 8192):
        part = own[start : start + 8192]
        starts = np.arange(len(part) + 1) * OWN
        hidden = sparse.csr_array(
            (np.ones(part.size, bool), part.ravel(), starts), shape=(len(part), len(items))
        )
        lists.append(search.best(users[start : start + 8192], hidden).items)
    return np.concatenate(lists)


def products(users: np.ndarray, items: np.ndarray) -> None:
    scores = torch.empty(len(items), BLOCK)
    for start in range(0, len(users) - BLOCK + 1, BLOCK):
        block = torch.from_numpy(users[start : start + BLOCK])
        torch.mm(torch.from_numpy(items), block.T, out=scores)


def plain(users: np.ndarray, items: np.ndarray, own: np.ndarray) -> np.ndarray:
    """What one would write first: items (U, k)."""
    lists = []
    for start in range(0, len(users), PEER_BLOCK):
        scores = torch.from_numpy(users[start : start + PEER_BLOCK]) @ torch.from_numpy(items).T
        scores.scatter_(1, torch.from_numpy(own[start : start + PEER_BLOCK]), -torch.inf)
        lists.append(scores.topk(K, dim=1).indices.numpy())
    return np.concatenate(lists)


def faults(found: np.ndarray, own: np.ndarray) -> dict[str, int]:
    """Items of their own that users got, and places that stayed empty."""
    size = 1 + max(int(found.max()), int(own.max()))
    keys = np.arange(len(found))[:, None] * size
    return {
        "owned": int(np.isin(keys + found, keys + own).sum()),
        "short": int((found < 0).sum()),
    }


def agreement(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean share of the users' items that are the same."""
    same = [len(np.intersect1d(a, b)) / K for a, b in zip(found, expected, strict=True)]
    return float(np.mean(same))


if __name__ == "__main__":
    main()
