"""Learn from the train parts of a folder of labelled texts; write a class number for every text of
its other parts."""

from __future__ import annotations

import argparse
from pathlib import Path

from contracts.errors import UsageError
from models.content.text.fit import TextConfig
from models.content.text.predict_folder import predict_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="tasks, one in each subfolder")
    parser.add_argument("--out", type=Path, required=True, help="where predictions are written")


def execute(given: argparse.Namespace) -> None:
    """Raises:
    UsageError: there is no such folder.
    """
    if not given.folder.is_dir():
        raise UsageError(f"{given.folder}: no such folder")
    predict_folder(given.folder, given.out, TextConfig())
