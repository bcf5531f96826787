"""Pictures of a folder by batches: their pixels in each framing that is asked for, or a reason.

Letters: B pictures, S side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.content.images.decoder_process import Decoder
from models.content.images.decoding import Framing, Limits, Refusal
from models.content.images.references import PictureFolder

BATCH = 64
"""Pictures that are in memory at once."""


@dataclass(frozen=True)
class DecodedBatch:
    """Up to `BATCH` pictures that follow each other."""

    rows: list[int]
    """Numbers of those that have pixels, in order."""
    pixels: tuple[np.ndarray, ...]
    """Of each framing, (B, S, S, 3), uint8: a picture for each of `rows`."""
    refused: dict[int, Refusal]
    """Numbers of the others, and why they have none."""


def decoded_batches(
    root: Path,
    references: Sequence[str],
    framings: Sequence[Framing],
    limits: Limits | None = None,
) -> Iterator[DecodedBatch]:
    """The pictures that `references` name below `root`. A picture has pixels of all framings or of
    none."""
    with ExitStack() as opened:
        folder = opened.enter_context(PictureFolder(root, limits))
        decoders = [opened.enter_context(Decoder(framing, limits)) for framing in framings]
        for start in range(0, len(references), BATCH):
            rows: list[int] = []
            seen: list[list[np.ndarray]] = []
            refused: dict[int, Refusal] = {}
            for number, reference in enumerate(references[start : start + BATCH], start):
                found = _decoded(folder, reference, decoders)
                if isinstance(found, Refusal):
                    refused[number] = found
                else:
                    rows.append(number)
                    seen.append(found)
            yield DecodedBatch(rows, _stacked(seen, framings), refused)


def _decoded(
    folder: PictureFolder, reference: str, decoders: Sequence[Decoder]
) -> list[np.ndarray] | Refusal:
    """Pixels (S, S, 3) of each decoder's framing."""
    data, pixels = folder.read(reference), []
    if isinstance(data, Refusal):
        return data
    for decoder in decoders:
        one = decoder.decode(data)
        if isinstance(one, Refusal):
            return one
        pixels.append(one)
    return pixels


def _stacked(seen: list[list[np.ndarray]], framings: Sequence[Framing]) -> tuple[np.ndarray, ...]:
    return tuple(
        np.stack([of_picture[place] for of_picture in seen])
        if seen
        else np.zeros((0, framing.size, framing.size, 3), dtype=np.uint8)
        for place, framing in enumerate(framings)
    )
