"""`make bench-model`: our trainer and scorer beside a bare loop and libraries, as JSON lines.

One mixture of experts on one synthetic table (20 id fields, 10 numbers, 2 tasks, embeddings of 16, 4
experts of 128, towers of 64, batches of 4,096), on one thread, rates per second of processor time.
The peers run through the script that is handed down for comparisons, each in a process of its own:
`--peers PYTHON` is an interpreter that has them installed (see that script's page).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl
import torch

from contracts.inputs import Inputs
from contracts.splits import Cut
from contracts.tasks import task_named
from contracts.train_config import TrainConfig
from models.data import batches as data_module
from models.data import encoders
from models.data.batches import Examples, read_batches
from models.data.label_layout import Layout
from models.network.network import Network
from models.training import lightning_fit
from models.training.lightning_module import ExampleData, MultiTaskModule
from tests.bench.lines import print_line
from tests.conftest import REPOSITORY

PEERS = REPOSITORY.parent / "shared/bench/peer_bench.py"
FIELDS, NUMBERS, BATCH, WARM, STEPS = 20, 10, 4096, 5, 30
DAY = date(2025, 1, 1)
TASKS = (task_named("churn_28d"), task_named("return_90d"))
INPUTS = Inputs(
    tuple((f"d{i}", "ratio") for i in range(NUMBERS)),
    tuple(f"c{i}" for i in range(FIELDS)),
    events=False,
    text=False,
)
CONFIG = TrainConfig().changed(
    trunk="mmoe", depth=0, n_experts=4, width=128, id_width=16, dropout=0.0, input_dropout=0.0,
    batch_size=BATCH,
    max_grad_norm=None, max_epochs=9, accelerator="cpu", numbers="standard", wide=False,
)  # fmt: skip


def write_table(path: Path, n: int, n_ids: int) -> None:
    """The table of the comparisons: ids log-uniform over `n_ids`, labels by numbers and ids."""
    rng = np.random.default_rng(0)
    ids = np.minimum((n_ids ** rng.random((n, FIELDS), np.float32)).astype(np.int64) - 1, n_ids - 1)
    numbers = rng.standard_normal((n, NUMBERS), np.float32)
    weights = rng.standard_normal((NUMBERS, len(TASKS))).astype(np.float32)
    logits = numbers @ weights * 0.5 + (ids[:, : len(TASKS)] % 7 - 3) * 0.3
    labels = rng.random((n, len(TASKS))) < 1 / (1 + np.exp(-logits))
    columns: dict[str, Any] = {
        "user_key": [f"{i:08d}" for i in range(n)],
        "as_of": pa.array([DAY] * n, pa.date32()),
    }
    columns |= {f"d{i}": numbers[:, i] for i in range(NUMBERS)}
    columns |= {f"c{i}": pa.array(ids[:, i]).cast(pa.string()) for i in range(FIELDS)}
    columns |= {t.label: labels[:, k].astype(np.int32) for k, t in enumerate(TASKS)}
    pq.write_table(pa.table(columns), path, row_group_size=65_536)


class Clock(pl.Callback):
    """Processor time of the steps after the first few; then training ends."""

    class Over(Exception):
        pass

    def __init__(self, steps: int) -> None:
        self.steps, self.n, self.started, self.cpu = steps, 0, 0.0, 0.0

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.n += 1
        if self.n == WARM:
            self.started = time.process_time()
        if self.n == WARM + self.steps:
            self.cpu = (time.process_time() - self.started) / self.steps
            raise Clock.Over


def network_of(path: Path, n_ids: int) -> tuple[Network, encoders.Encoder]:
    torch.manual_seed(0)
    encoders.MAX_WORDS = 0  # all fields are hashed: as many rows of the table as the peers have
    sample = next(iter(read_batches([str(path)], [DAY])))
    encoder = encoders.fit([sample], CONFIG.inputs.id_buckets, INPUTS, hash_buckets=n_ids)
    return Network(CONFIG, Layout(TASKS), encoder), encoder


def train(path: Path, n_ids: int, folder: Path, streamed: bool, **changed: Any) -> float:
    """Samples per second of processor time of our trainer."""
    if streamed:
        data_module.KEPT_BYTES = 0
    config = CONFIG.changed(**changed)
    network, encoder = network_of(path, n_ids)
    cuts = {task.name: Cut((DAY,)) for task in TASKS}
    examples = Examples([str(path)], Layout(TASKS), cuts, encoder, BATCH, 0)
    module = MultiTaskModule(network, config, {task.name: 0.7 for task in TASKS})
    pool = data_module.POOL_ROWS // BATCH
    clock = Clock(3 * pool if streamed else STEPS)  # of a stream, whole pools
    with contextlib.suppress(Clock.Over):
        lightning_fit.fit(module, ExampleData(examples, examples), config, folder, [clock])
    return BATCH / clock.cpu


def forward(path: Path, n_ids: int) -> float:
    """Rows per second of processor time through the network alone."""
    network, encoder = network_of(path, n_ids)
    cuts = {task.name: Cut((DAY,)) for task in TASKS}
    whole = next(iter(Examples([str(path)], Layout(TASKS), cuts, encoder, 400_000)))
    network.eval()
    rows = [torch.arange(s, min(s + BATCH, len(whole))) for s in range(0, len(whole), BATCH)]

    def once() -> None:
        with torch.inference_mode():
            for picked in rows:
                for logits in network(whole.take(picked)).values():
                    torch.sigmoid(logits)

    return _rate(once, len(whole))


def _rate(work: Callable[[], None], n: int) -> float:
    work()
    started = time.process_time()
    work()
    return n / (time.process_time() - started)


def ours(case: str, n: int, n_ids: int) -> None:
    """One case in a process of its own; prints one JSON line."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "table.parquet")
        write_table(path, n, n_ids)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if case == "forward":
            rate = forward(path, n_ids)
        else:
            precision = "bfloat16" if "bf16" in case else "float32"
            balance = case.split(":")[1] if ":" in case else "fixed"
            rate = train(
                path, n_ids, Path(temporary), "streamed" in case,
                precision=precision, balance=balance,
            )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print_line(case=case, rate=rate, rss_mb=peak // 1024, table_mb=before // 1024)


def in_process(command: list[str], **environment: str) -> dict[str, Any]:
    environment_of = {**os.environ, "OMP_NUM_THREADS": "1", "THREADS": "1", **environment}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment_of, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    line: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ids", type=int, nargs="+", default=[100_000, 500_000])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2, help="each case so often, in turn")
    parser.add_argument("--peers", default=None, help="a Python that has the peers")
    parser.add_argument("--case", default=None, help="one case of ours, in this process")
    parser.add_argument(
        "--balances", nargs="*",
        default=["uncertainty", "upgrad", "pcgrad", "mgda"],
    )  # fmt: skip
    o = parser.parse_args()
    if o.case:
        ours(o.case, o.rows, o.ids[0])
        return
    if not PEERS.exists():
        sys.exit(f"{PEERS}: no such script to compare with")

    def peer(python: str, case: str, n_ids: int) -> tuple[float, int]:
        figures = in_process([python, str(PEERS), case], N=str(o.rows), V=str(n_ids))
        rate = figures.get("samples_per_cpu_s", figures.get("rows_per_cpu_s"))
        return float(rate), int(figures.get("rss_mb", 0))

    def mine(case: str, n_ids: int) -> tuple[float, int]:
        arguments = ["--case", case, "--ids", str(n_ids), "--rows", str(o.rows)]
        figures = in_process([sys.executable, "-m", "tests.bench.model", *arguments])
        return float(figures["rate"]), int(figures["rss_mb"])

    able = torch.cpu.get_capabilities()
    has_bfloat16 = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    if not has_bfloat16:
        print_line(note="this processor has no bfloat16, so nothing is said of it")

    def compare(n_ids: int) -> None:
        cases: dict[str, Callable[[], tuple[float, int]]] = {
            "ours": lambda: mine("ours", n_ids),
            "ours_bf16": lambda: mine("ours_bf16", n_ids),
            "ours_streamed": lambda: mine("ours_streamed", n_ids),
            "bare": lambda: peer(sys.executable, "bare:row_fused", n_ids),
            "bare_bf16": lambda: peer(sys.executable, "bare:row_fused_bf16", n_ids),
        }
        if not has_bfloat16:
            cases = {name: run for name, run in cases.items() if "bf16" not in name}
        if o.peers:
            cases["deepctr"] = lambda: peer(o.peers, "deepctr:adam:1e-5", n_ids)
            cases["rechub"] = lambda: peer(o.peers, "rechub:0:1e-5", n_ids)
        rates, memory = _rounds(cases, o.rounds)
        line: dict[str, Any] = {f"{name}_per_cpu_s": round(rate) for name, rate in rates.items()}
        line |= {f"{name}_rss_mb": mb for name, mb in memory.items()}
        line["over_bare"] = rates["ours"] / rates["bare"]
        if has_bfloat16:
            line["bf16_over_bare_bf16"] = rates["ours_bf16"] / rates["bare_bf16"]
        if o.peers:
            best = max(rates["deepctr"], rates["rechub"])
            line |= {
                f"{name.removeprefix('ours').lstrip('_') or 'float32'}_over_best_peer": rate / best
                for name, rate in rates.items()
                if name.startswith("ours")
            }
        print_line(bench="train", ids=n_ids, rows=o.rows, **line)

    for n_ids in o.ids:
        compare(n_ids)
    first = o.ids[0]
    rates, _ = _rounds(
        {
            "ours": lambda: mine("forward", first),
            "bare": lambda: peer(sys.executable, "infer:bare", first),
        },
        o.rounds,
    )
    print_line(bench="forward", over_bare=rates["ours"] / rates["bare"],
         **{f"{name}_per_cpu_s": round(rate) for name, rate in rates.items()})  # fmt: skip
    rates, _ = _rounds(
        {
            name: (lambda name=name: mine(f"balance:{name}", first))
            for name in ("fixed", *o.balances)
        },
        o.rounds,
    )
    print_line(bench="balance", ids=first, **{
        f"{name}_step_over_fixed": rates["fixed"] / rate for name, rate in rates.items()
    })  # fmt: skip


def _rounds(
    cases: dict[str, Callable[[], tuple[float, int]]], n: int
) -> tuple[dict[str, float], dict[str, int]]:
    """The best rate of each case over rounds, cases in turn, and the peak memory in MB."""
    rates: dict[str, float] = {}
    memory: dict[str, int] = {}
    for _ in range(n):
        for name, run in cases.items():
            rate, mb = run()
            rates[name], memory[name] = max(rate, rates.get(name, 0.0)), mb
    return rates, memory


if __name__ == "__main__":
    main()
