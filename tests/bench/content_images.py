"""`make bench-content`: how well labelled pictures are classified, and how fast, as JSON lines.

The image model learns from `train` of a folder of pictures
([docs/content.md](../../docs/content.md#pictures)) and is calibrated on `validation`. Each part that
has the same classes has a line per model: `default` is the network of our own, `encoder` its mixture
with the encoder in the folder `--image-encoder`. `pictures_per_cpu_second` is of one thread, with
reading and decoding; a line of the part `train` has the seconds that learning takes.
"""

from __future__ import annotations

import argparse
import math
import resource
import sys
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.content.images.decoded_batches import decoded_batches
from models.content.images.folder import TRAIN, Part, part_of, parts_of
from models.content.images.image_encoder import load_image_encoder
from models.content.images.image_model import ImageModel
from models.content.images.predict_folder import HEAD, PicturePolicy, fit_folder
from models.content.images.training import NOT_LABELLED, ImageTrainConfig
from tests.bench.lines import print_figures
from tests.conftest import REAL_DATA

N_TIMED = 8192
"""Pictures that are classified for a model's speed, the same ones again where there are fewer."""


def bench(
    folder: Path, config: ImageTrainConfig, policy: PicturePolicy, n_timed: int = N_TIMED
) -> Iterator[dict[str, Any]]:
    """Lines of the models that are fitted on a folder of pictures."""
    began = cpu_seconds()
    model = fit_folder(folder, config, policy)
    yield {
        "task": folder.name, "part": TRAIN, "model": "default", "metric": "cpu_seconds",
        "value": cpu_seconds() - began,
    }  # fmt: skip
    alone = ImageModel(model.network, model.classes, {HEAD: (1.0, 0.0)}, {})
    models = [("default", alone, PicturePolicy(None, policy.max_refused))]
    if policy.encoder is not None:
        models.append(("encoder", model, policy))
    parts = [part for part in parts_of(folder, folder / "nothing") if part.name != TRAIN]
    for name, one, own_policy in models:
        speed = pictures_per_cpu_second(one, part_of(folder, TRAIN), own_policy, n_timed)
        for part in parts:
            labels = part.labels(one.classes[HEAD])
            if (labels == NOT_LABELLED).any():
                continue
            numbers, classes = classified(one, part, part.files, own_policy)
            value = float((labels[numbers] == classes).mean())
            error = 1.96 * math.sqrt(value * (1 - value) / len(numbers))
            yield {
                "task": folder.name, "part": part.name, "model": name, "metric": "accuracy",
                "value": value, "low": value - error, "high": value + error,
                "pictures_per_cpu_second": speed,
            }  # fmt: skip


def classified(
    model: ImageModel, part: Part, files: Sequence[str], policy: PicturePolicy
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the files that are pictures, and their classes."""
    numbers: list[int] = []
    classes: list[int] = []
    framings = policy.framings(model.network.shape.size)
    for batch in decoded_batches(part.root, files, framings):
        if batch.rows:
            logits = model.logits(batch.pixels[0], policy.vectors(batch))[HEAD]
            numbers += batch.rows
            classes += logits.argmax(1).tolist()
    return np.array(numbers, dtype=np.int64), np.array(classes, dtype=np.int64)


def pictures_per_cpu_second(
    model: ImageModel, part: Part, policy: PicturePolicy, n_timed: int
) -> float:
    """With reading, decoding, and the start of the process that decodes."""
    n_timed = n_timed if policy.encoder is None else -(-n_timed // 16)
    files = [*islice(cycle(part.files), n_timed)]
    classified(model, part, files[:64], policy)
    began = cpu_seconds()
    classified(model, part, files, policy)
    return len(files) / (cpu_seconds() - began)


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path, default=REAL_DATA / "clothing")
    parser.add_argument("--image-encoder", type=Path, help="folder of an encoder of pictures")
    parser.add_argument("--pictures-seen", type=int, default=ImageTrainConfig.pictures_seen)
    o = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if not o.pictures.is_dir():
        print(f"{o.pictures}: its data are not there, so it is left out", file=sys.stderr)
        return
    encoder = None if o.image_encoder is None else load_image_encoder(o.image_encoder)
    config = ImageTrainConfig(pictures_seen=o.pictures_seen)
    for line in bench(o.pictures, config, PicturePolicy(encoder)):
        print_figures(line)


if __name__ == "__main__":
    main()
