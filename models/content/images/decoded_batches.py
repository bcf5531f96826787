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
"""Pictures whose pixels are in memory at once."""
_GROUP_BYTES = 1 << 20
"""Bytes of files that are in memory at once, and those of one picture more."""


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
            seen: dict[int, list[np.ndarray]] = {}
            refused: dict[int, Refusal] = {}
            for group in _groups(folder, references[start : start + BATCH], start, refused):
                _decode(group, decoders, seen, refused)
            yield DecodedBatch(list(seen), _stacked([*seen.values()], framings), refused)


def _groups(
    folder: PictureFolder, references: Sequence[str], start: int, refused: dict[int, Refusal]
) -> Iterator[dict[int, bytes]]:
    """Files by their numbers, some at a time; those that cannot be read are put among `refused`."""
    group: dict[int, bytes] = {}
    n_bytes = 0
    for number, reference in enumerate(references, start):
        data = folder.read(reference)
        if isinstance(data, Refusal):
            refused[number] = data
            continue
        group[number] = data
        n_bytes += len(data)
        if n_bytes >= _GROUP_BYTES:
            yield group
            group, n_bytes = {}, 0
    if group:
        yield group


def _decode(
    group: dict[int, bytes],
    decoders: Sequence[Decoder],
    seen: dict[int, list[np.ndarray]],
    refused: dict[int, Refusal],
) -> None:
    """Put each picture of a group among those that have pixels of all framings, or the others."""
    answers = [decoder.decode_group([*group.values()]) for decoder in decoders]
    for number, of_framings in zip(group, zip(*answers, strict=True), strict=True):
        why = next((one for one in of_framings if isinstance(one, Refusal)), None)
        if why is not None:
            refused[number] = why
        else:
            seen[number] = [one for one in of_framings if isinstance(one, np.ndarray)]


def _stacked(seen: list[list[np.ndarray]], framings: Sequence[Framing]) -> tuple[np.ndarray, ...]:
    return tuple(
        np.stack([of_picture[place] for of_picture in seen])
        if seen
        else np.zeros((0, framing.size, framing.size, 3), dtype=np.uint8)
        for place, framing in enumerate(framings)
    )
