"""Vectors of many texts, each content once, by several processes; what is done stays done.

Texts are first set down by the beginning of their hash, so that memory holds a piece of them at a
time. A piece depends on no other, and rows come out by ascending hash, however texts come in.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import ContractError
from models.content.encoders.text_encoder import TextEncoder
from models.distributed import rank
from models.pieces import Piece, do_pieces

N_SHELVES = 64
"""Files in which texts are set down."""
PIECE_TEXTS = 4096
"""Texts of a piece at least, and of a row group at most."""
_TEXTS = pa.schema([("content_hash", pa.string()), ("text", pa.string())])
SCHEMA = pa.schema(
    [
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("encoder_id", pa.string(), nullable=False),
        pa.field("dimension", pa.int32(), nullable=False),
        pa.field("vector", pa.list_(pa.float32()), nullable=False),
    ]
)


def encode_texts(
    encoder: TextEncoder,
    batches: Iterable[tuple[Sequence[str], Sequence[str]]],
    path: Path,
    scratch: Path,
    processes: int | None = None,
) -> int:
    """Write the vector of each text to a Parquet file, by ascending hash; how many there are.

    Args:
        encoder: what makes the vectors.
        batches: hashes (64 hexadecimal digits) and their texts, some at a time, the same in each
            try and each rank. Of a hash that comes again, the first text counts.
        path: the file; it is there whole or not at all.
        scratch: a folder for texts, which are removed in the end, and for pieces that are done:
            another try goes on with them.
        processes: how many work at once; None: as `models.pieces` has it.
    """
    shelves = scratch / f"texts-{rank()}"
    shelves.mkdir(parents=True, exist_ok=True)
    pieces = _pieces(encoder, _shelved(batches, shelves), scratch)
    do_pieces(pieces, processes)
    if rank() == 0:
        partial_path = path.with_name(f"{path.name}.partial")
        with pq.ParquetWriter(partial_path, SCHEMA, compression="zstd") as writer:
            for piece in pieces:
                file = pq.ParquetFile(piece.path)
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group, use_threads=False))
        os.replace(partial_path, path)
    for number in range(N_SHELVES):
        _shelf(shelves, number).unlink()
    return sum(pq.read_metadata(piece.path).num_rows for piece in pieces)


def _shelf(folder: Path, number: int) -> Path:
    return folder / f"{number}.arrows"


def _shelved(
    batches: Iterable[tuple[Sequence[str], Sequence[str]]], folder: Path
) -> list[tuple[Path, int, bytes]]:
    """The files with texts by the beginning of their hash: how many, and a digest of all hashes."""
    paths = [_shelf(folder, number) for number in range(N_SHELVES)]
    writers = [pa.ipc.new_stream(str(path), _TEXTS) for path in paths]
    counts, digests = [0] * N_SHELVES, [hashlib.sha256() for _ in paths]
    for hashes, texts in batches:
        rows: dict[int, list[int]] = {}
        for i, content_hash in enumerate(hashes):
            rows.setdefault(_number(content_hash), []).append(i)
        for number, at in rows.items():
            of_shelf = [hashes[i] for i in at]
            writers[number].write_table(pa.table([of_shelf, [texts[i] for i in at]], _TEXTS))
            counts[number] += len(at)
            digests[number].update("".join(of_shelf).encode())
    for writer in writers:
        writer.close()
    return [
        (path, n, digest.digest()) for path, n, digest in zip(paths, counts, digests, strict=True)
    ]


def _number(content_hash: str) -> int:
    try:
        return int(content_hash[:2], 16) * N_SHELVES // 256
    except ValueError:
        raise ContractError(
            f"content_hash: expected hexadecimal digits, found {content_hash!r}"
        ) from None


def _pieces(
    encoder: TextEncoder, shelves: Sequence[tuple[Path, int, bytes]], scratch: Path
) -> list[Piece]:
    """Neighbouring files together where they hold few texts. A piece's file is named for the
    encoder and for the hashes of its texts: it is never taken for another's."""
    pieces: list[Piece] = []
    paths: list[Path] = []
    n, digest = 0, hashlib.sha256(encoder.encoder_id.encode())
    for i, (path, n_texts, of_shelf) in enumerate(shelves):
        paths.append(path)
        n += n_texts
        digest.update(of_shelf)
        if n >= PIECE_TEXTS or (n and i == len(shelves) - 1):
            part = scratch / f"vectors-{len(pieces)}-{digest.hexdigest()[:16]}.parquet"
            work = partial(_encode, encoder, tuple(paths), part)
            pieces.append(Piece(f"vectors {len(pieces)}", part, work, cost=n))
            paths, n, digest = [], 0, hashlib.sha256(encoder.encoder_id.encode())
    return pieces


def _encode(encoder: TextEncoder, shelves: Sequence[Path], path: Path) -> str:
    """Write the vectors of some files of texts; how many."""
    texts: dict[str, str] = {}
    for shelf in shelves:
        with pa.ipc.open_stream(str(shelf)) as reader:
            for batch in reader:
                for content_hash, text in zip(*(c.to_pylist() for c in batch.columns), strict=True):
                    texts.setdefault(content_hash, text)
    hashes = sorted(texts)
    partial_path = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with pq.ParquetWriter(partial_path, SCHEMA, compression="zstd") as writer:
        for start in range(0, len(hashes), PIECE_TEXTS):
            some = hashes[start : start + PIECE_TEXTS]
            writer.write_table(_table(encoder, some, [texts[each] for each in some]))
    os.replace(partial_path, path)
    return f"{len(hashes)} texts"


def _table(encoder: TextEncoder, hashes: Sequence[str], texts: Sequence[str]) -> pa.Table:
    vectors = encoder.encode(texts)
    n, dimension = vectors.shape
    offsets = pa.array(np.arange(n + 1) * dimension, pa.int32())
    columns = [
        pa.array(hashes, pa.string()),
        pa.repeat(encoder.encoder_id, n),
        pa.repeat(pa.scalar(dimension, pa.int32()), n),
        pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
    ]
    return pa.table(columns, SCHEMA)
