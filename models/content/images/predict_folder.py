"""A folder of pictures in, the class of every picture out."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contracts.errors import ContractError, UsageError
from models.content.images.decoded_batches import DecodedBatch, decoded_batches
from models.content.images.decoding import Framing, Refusal
from models.content.images.folder import TRAIN, VALIDATION, Part, check_classes, classes_of, part_of
from models.content.images.image_encoder import ImageEncoder
from models.content.images.image_model import ImageModel
from models.content.images.image_model_fit import LabelledPictures, fit_image_model
from models.content.images.training import ImageTrainConfig

log = logging.getLogger(__name__)
HEAD = "class"
MAX_REFUSED = 0.02
"""Share of a part's pictures that may have no pixels before all of it is in doubt."""
_LINE_EVERY = 1024
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class PicturePolicy:
    """How pictures are seen, and how many of them may be broken."""

    encoder: ImageEncoder | None = None
    """Whose vectors are used beside the network."""
    max_refused: float = MAX_REFUSED

    def __post_init__(self) -> None:
        if not 0 <= self.max_refused <= 1:
            raise UsageError(
                f"max_refused: expected a share between 0 and 1, found {self.max_refused:g}"
            )

    def framings(self, size: int) -> tuple[Framing, ...]:
        """Those of a network that sees `size` pixels, and of the encoder."""
        own = Framing(size)
        return (own,) if self.encoder is None else (own, self.encoder.framing)

    def vectors(self, batch: DecodedBatch) -> np.ndarray | None:
        """The encoder's, of a batch of `framings`; None without an encoder."""
        if self.encoder is None or not batch.rows:
            return None
        return self.encoder.vectors(batch.pixels[1])


def fit_folder(folder: Path, config: ImageTrainConfig, policy: PicturePolicy) -> ImageModel:
    """A model of FOLDER/train, chosen and calibrated on FOLDER/validation.

    Raises:
        UsageError: one of the two is missing, or is not laid out in classes.
        ContractError: too many of their pictures cannot be read.
    """
    train, validation = part_of(folder, TRAIN), part_of(folder, VALIDATION)
    classes = classes_of(train)
    check_classes(validation, classes)
    encoder_id = None if policy.encoder is None else policy.encoder.encoder_id
    began = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        of_train, of_validation = (
            _labelled(part, classes, policy, config.shape.size, Path(scratch))
            for part in (train, validation)
        )
        model = fit_image_model(of_train, of_validation, {HEAD: classes}, config, encoder_id)
        said = model.logits(of_validation.pixels, of_validation.vectors)[HEAD].argmax(1).numpy()
        right = said == of_validation.labels[HEAD]
    share, n = float(right.mean()), len(right)
    log.info("learnt in %.0f s of processor time", time.process_time() - began)
    error = 1.96 * math.sqrt(share * (1 - share) / n)
    log.info("validation: accuracy %.3f of %d pictures (within %.3f)", share, n, error)
    return model


def predict_part(model: ImageModel, part: Part, out: Path, policy: PicturePolicy) -> None:
    """Write a line for each file of a part, in their order: file, class, its probability, and `ok`
    or why the picture has no class.

    Raises:
        ContractError: too many pictures cannot be read; the lines are written all the same.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    refused: dict[int, Refusal] = {}
    with out.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        for batch in _batches(part, policy, model.network.shape.size):
            for number, cells in sorted(_cells(model, batch, policy).items()):
                name = part.files[number].translate(_ESCAPED)
                lines.write("\t".join((name, *cells)) + "\n")
            refused.update(batch.refused)
    _check_refused(part, refused, policy.max_refused)
    log.info("%s: %d pictures have a class", part.name, len(part.files) - len(refused))


def _cells(
    model: ImageModel, batch: DecodedBatch, policy: PicturePolicy
) -> dict[int, tuple[str, str, str]]:
    """Class, its probability and status of each number of a batch."""
    cells = {n: ("", "", f"{why.status}: {why.reason}") for n, why in batch.refused.items()}
    if batch.rows:
        probabilities = model.probabilities(batch.pixels[0], policy.vectors(batch))[HEAD]
        for number, of_classes in zip(batch.rows, probabilities, strict=True):
            best = int(of_classes.argmax())
            cells[number] = (model.classes[HEAD][best], f"{of_classes[best]:.4f}", "ok")
    return cells


def _batches(part: Part, policy: PicturePolicy, size: int) -> Iterator[DecodedBatch]:
    """All of a part, with a line of progress now and then."""
    n_seen, total = 0, len(part.files)
    for batch in decoded_batches(part.root, part.files, policy.framings(size)):
        yield batch
        n_seen += len(batch.rows) + len(batch.refused)
        if n_seen % _LINE_EVERY == 0 or n_seen == total:
            log.info("%s: %d of %d pictures are read", part.name, n_seen, total)


def _labelled(
    part: Part, classes: tuple[str, ...], policy: PicturePolicy, size: int, scratch: Path
) -> LabelledPictures:
    """The readable pictures of a part, their pixels in a file of `scratch`: 3 S² bytes each."""
    pixels: np.ndarray = np.memmap(
        scratch / part.name, np.uint8, "w+", shape=(len(part.files), size, size, 3)
    )
    kept: list[int] = []
    vectors: list[np.ndarray] = []
    refused: dict[int, Refusal] = {}
    for batch in _batches(part, policy, size):
        pixels[len(kept) : len(kept) + len(batch.rows)] = batch.pixels[0]
        kept += batch.rows
        refused.update(batch.refused)
        of_batch = policy.vectors(batch)
        if of_batch is not None:
            vectors.append(of_batch)
    _check_refused(part, refused, policy.max_refused)
    return LabelledPictures(
        pixels[: len(kept)],
        {HEAD: part.labels(classes)[kept]},
        np.concatenate(vectors) if vectors else None,
    )


def _check_refused(part: Part, refused: dict[int, Refusal], share: float) -> None:
    if len(refused) <= share * len(part.files):
        if refused:
            log.info("%s: %d pictures cannot be read", part.name, len(refused))
        return
    first = min(refused)
    raise ContractError(
        f"{part.root}: {len(refused)} of {len(part.files)} pictures cannot be read, more than "
        f"{share:.1%}; the first is {part.files[first]} ({refused[first].reason}); repair or "
        "remove them, or allow more with --max-refused"
    )
