"""Learn from the train parts of a folder of labelled texts; write a class number for every text of
its other parts."""

from __future__ import annotations

import argparse
from pathlib import Path

from contracts.errors import UsageError
from models.content.encoders.text_encoder import load_text_encoder
from models.content.text.fit import TextConfig
from models.content.text.predict_folder import predict_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="tasks, one in each subfolder")
    parser.add_argument("--out", type=Path, required=True, help="where predictions are written")
    parser.add_argument("--encoder", type=Path, help="folder of an encoder that helps to predict")


def execute(given: argparse.Namespace) -> None:
    """Raises:
    UsageError: there is no such folder.
    ContractError: the texts or the encoder are not as they should be.
    """
    if not given.folder.is_dir():
        raise UsageError(f"{given.folder}: no such folder")
    encoder = None if given.encoder is None else load_text_encoder(given.encoder)
    predict_folder(given.folder, given.out, TextConfig(encoder=encoder))
