"""Add the vectors of texts to a Parquet file, by an encoder in a folder: each content once."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from contracts.errors import ContractError, UsageError
from models.content.encode import encode_texts
from models.content.encoders.precision import PRECISIONS
from models.content.encoders.text_encoder import load_text_encoder

_LOG = logging.getLogger(__name__)

_BATCH = 4096
"""Texts that are read at a time."""
_COLUMNS = ("content_hash", "text")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "texts",
        type=Path,
        help="a Parquet file, or a folder of such, with content_hash and text; or a text per line",
    )
    parser.add_argument("--encoder", type=Path, required=True, help="the encoder's folder")
    parser.add_argument("--out", type=Path, required=True, help="the Parquet file of vectors")
    parser.add_argument("--precision", choices=(*PRECISIONS, "auto"), help="of safetensors")
    parser.add_argument("--processes", type=int, help="how many work at once")


def execute(given: argparse.Namespace) -> None:
    """Raises:
    UsageError: there is nothing to read, or nowhere to write.
    ContractError: the encoder or the texts are not as they should be.
    """
    if not given.texts.exists():
        raise UsageError(f"{given.texts}: no such file or folder")
    if given.out.is_dir() or not given.out.parent.is_dir():
        raise UsageError(f"{given.out}: expected the name of a file in a folder that is there")
    if given.processes is not None and given.processes < 1:
        raise UsageError(f"--processes: expected 1 or more, found {given.processes}")
    encoder = load_text_encoder(given.encoder, precision=given.precision)
    _LOG.info(f"encoder {encoder.encoder_id}, {encoder.dimension} numbers a text")
    scratch = given.out.with_name(f"{given.out.name}.scratch")
    n = encode_texts(encoder, read_texts(given.texts), given.out, scratch, given.processes)
    _LOG.info(f"{n} texts encoded; {given.out} has {pq.read_metadata(given.out).num_rows} rows")


def read_texts(texts: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Hashes and texts of Parquet files or of the lines of a text file, some at a time.

    A text that is null is empty; the hash of a line is the SHA-256 of its UTF-8 bytes.

    Raises:
        ContractError: a file has other columns, or is not UTF-8.
    """
    if texts.is_dir():
        files = sorted(texts.rglob("*.parquet"))
        if not files:
            raise ContractError(f"{texts}: expected Parquet files (*.parquet), found none")
    elif texts.suffix == ".parquet":
        files = [texts]
    else:
        yield from _lines(texts)
        return
    for path in files:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        if missing := [name for name in _COLUMNS if name not in names]:
            raise ContractError(
                f"{path}: expected columns {' and '.join(_COLUMNS)}, found no {missing[0]} among "
                f"{', '.join(names)}"
            )
        for batch in file.iter_batches(_BATCH, columns=[*_COLUMNS], use_threads=False):
            hashes, values = (batch[name].to_pylist() for name in _COLUMNS)
            yield hashes, [text or "" for text in values]


def _lines(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        try:
            while lines := [line.rstrip("\r\n") for line in islice(file, _BATCH)]:
                yield [hashlib.sha256(line.encode()).hexdigest() for line in lines], lines
        except UnicodeDecodeError as error:
            raise ContractError(f"{path} is not UTF-8: {error.reason}") from None
