"""Learn from FOLDER/train/CLASS/*, choose by FOLDER/validation/CLASS/*, and write the class of
every picture of validation and of all other folders in FOLDER."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from contracts.errors import UsageError
from models.content.images.folder import TRAIN, parts_of
from models.content.images.image_encoder import ImageEncoder, load_image_encoder
from models.content.images.image_model import ImageModel, load_image_model
from models.content.images.predict_folder import (
    MAX_REFUSED,
    PicturePolicy,
    fit_folder,
    predict_part,
)
from models.content.images.training import ImageTrainConfig

log = logging.getLogger(__name__)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="with train/CLASS/* and validation/CLASS/*")
    parser.add_argument("--out", type=Path, required=True, help="where predictions are written")
    parser.add_argument("--encoder", type=Path, help="a folder with an encoder of pictures")
    parser.add_argument("--model", type=Path, help="a saved model, in place of learning one")
    parser.add_argument("--seed", type=int, default=0, help="of what is random (%(default)s)")
    parser.add_argument(
        "--pictures-seen",
        type=int,
        default=ImageTrainConfig.pictures_seen,
        help="how many pictures go through the network while it learns (%(default)s)",
    )
    parser.add_argument(
        "--max-refused",
        type=float,
        default=MAX_REFUSED,
        help="share of a folder's pictures that may be broken (%(default)s)",
    )


def execute(given: argparse.Namespace) -> None:
    """Raises:
    UsageError: the folder is not laid out so, or the model needs another encoder.
    ContractError: too many pictures cannot be read.
    """
    parts = parts_of(given.folder, given.out)
    encoder = None if given.encoder is None else load_image_encoder(given.encoder)
    policy = PicturePolicy(encoder, given.max_refused)
    if given.model is None:
        config = ImageTrainConfig(seed=given.seed, pictures_seen=given.pictures_seen)
        model = fit_folder(given.folder, config, policy)
        model.save(given.out / "model")
        log.info("model %s is in %s", model.model_id, given.out / "model")
    else:
        model = load_image_model(given.model)
        _check_encoder(model, encoder)
    for part in parts:
        if part.name != TRAIN:
            predict_part(model, part, given.out / f"{part.name}_predictions.tsv", policy)


def _check_encoder(model: ImageModel, encoder: ImageEncoder | None) -> None:
    found = None if encoder is None else encoder.encoder_id
    if found != model.encoder_id:
        raise UsageError(
            f"the model was fitted with {_encoder_name(model.encoder_id)}, and now there is "
            f"{_encoder_name(found)}: name with --encoder what it was fitted with"
        )


def _encoder_name(encoder_id: str | None) -> str:
    return "no encoder" if encoder_id is None else f"the encoder {encoder_id[:16]}"
