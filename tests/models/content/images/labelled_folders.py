"""Folders of labelled pictures that tests draw: two classes that a colour tells apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.models.content.images.drawn_pictures import saved

COLOURS = {"dress": (190, 40, 40), "shoes": (40, 60, 190)}


def drawn(name: str, number: int) -> bytes:
    """A JPEG of a class, each a little different."""
    random = np.random.default_rng([number, len(name)])
    pixels = random.normal(COLOURS[name], 25, (40, 30, 3)).clip(0, 255).astype(np.uint8)
    return saved(Image.fromarray(pixels), "JPEG")


def write_pictures(folder: Path, n: int) -> None:
    """So many pictures, of the two classes by turns, each in the folder of its class."""
    for number in range(n):
        name = sorted(COLOURS)[number % 2]
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{number:03}.jpg").write_bytes(drawn(name, number))


def write_labelled(folder: Path, n_train: int = 20, n_validation: int = 6) -> Path:
    write_pictures(folder / "train", n_train)
    write_pictures(folder / "validation", n_validation)
    return folder
