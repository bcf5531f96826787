"""Vectors of many texts, each content once, by several processes; what is done stays done.

Texts are first set down by the beginning of their hash, so that memory holds a piece of them at a
time. A piece depends on no other, and its rows come out by ascending hash, however texts come in.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import ContractError
from models.content.encoders.text_encoder import TextEncoder
from models.distributed import rank
from models.pieces import Piece, do_pieces, wait_for_ranks

N_SHELVES = 64
"""Files in which texts are set down."""
PIECE_TEXTS = 4096
"""Texts of a piece at least, and of a row group at most."""
SCHEMA = pa.schema(
    [
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("encoder_id", pa.string(), nullable=False),
        pa.field("dimension", pa.int32(), nullable=False),
        pa.field("vector", pa.list_(pa.float32())),
        pa.field("reason", pa.string()),
    ]
)
"""Of a file of vectors: one row for each hash and encoder. `reason` says why there is no vector."""
EMPTY = "the text is empty"
NO_TOKENS = "the text has no tokens"
NOT_FINITE = "the encoder's numbers are not finite"

_TEXTS = pa.schema([("content_hash", pa.string()), ("text", pa.string())])
_HASH = re.compile("[0-9a-f]{64}")


def encode_texts(
    encoder: TextEncoder,
    batches: Iterable[tuple[Sequence[str], Sequence[str]]],
    path: Path,
    scratch: Path,
    processes: int | None = None,
) -> int:
    """Add the vector of each text to a Parquet file of `SCHEMA`; how many were added.

    What the file holds stays, and what it holds of this encoder is not encoded again; where nothing
    is added to it, it is not touched.

    Args:
        encoder: what makes the vectors.
        batches: hashes (64 hexadecimal digits) and their texts, some at a time, the same in each
            try and each rank. Of a hash that comes again, the first text counts.
        path: the file; what is added is there whole or not at all.
        scratch: a folder of its own, which is removed in the end. Where encoding is stopped, texts
            are removed from it and pieces that are done stay: another try goes on with them.
        processes: how many work at once; None: as `models.pieces` has it.

    Raises:
        ContractError: the file is none of vectors, or a hash is none.
    """
    shelves = scratch / f"texts-{rank()}"
    shelves.mkdir(parents=True, exist_ok=True)
    try:
        known = _known(path, encoder.encoder_id)
        pieces = _pieces(encoder, _shelved(batches, known, shelves), scratch)
        do_pieces(pieces, processes, "--processes")
    finally:
        shutil.rmtree(shelves)
    n = sum(pq.read_metadata(piece.path).num_rows for piece in pieces)
    if rank() == 0 and (n or not path.exists()):
        _join([*([path] if path.exists() else []), *(piece.path for piece in pieces)], path)
    wait_for_ranks()
    if rank() == 0:
        shutil.rmtree(scratch)
    return n


def _known(path: Path, encoder_id: str) -> np.ndarray:
    """(N,) the hashes of which a file has rows of an encoder, as 32 bytes each, ascending."""
    hashes = [np.empty(0, "S32")]
    if path.exists():
        file = pq.ParquetFile(path)
        if not file.schema_arrow.equals(SCHEMA):
            raise ContractError(
                f"{path} is no file of vectors: expected columns {', '.join(SCHEMA.names)}, found "
                f"{', '.join(file.schema_arrow.names)}; name another file"
            )
        for batch in file.iter_batches(columns=SCHEMA.names[:2], use_threads=False):
            of_encoder = batch.column(0).filter(pc.equal(batch.column(1), encoder_id))
            hashes.append(_bytes(of_encoder.to_pylist()))
    return np.sort(np.concatenate(hashes))


def _bytes(hashes: Sequence[str]) -> np.ndarray:
    """(N,) hashes as 32 bytes each."""
    if wrong := [each for each in hashes if not (each and _HASH.fullmatch(each))]:
        raise ContractError(
            f"content_hash: expected 64 hexadecimal digits in lower case, found {wrong[0]!r}"
        )
    return np.array([bytes.fromhex(each) for each in hashes], "S32")


def _shelved(
    batches: Iterable[tuple[Sequence[str], Sequence[str]]], known: np.ndarray, folder: Path
) -> list[tuple[Path, int, bytes]]:
    """Set down the texts whose hash is not known by the beginning of their hash.

    Returns:
        The files, how many texts each has, and a digest of all its hashes.
    """
    paths = [folder / f"{number}.arrows" for number in range(N_SHELVES)]
    writers = [pa.ipc.new_stream(str(path), _TEXTS) for path in paths]
    counts, digests = [0] * N_SHELVES, [hashlib.sha256() for _ in paths]
    for hashes, texts in batches:
        values = _bytes(hashes)
        is_new = np.searchsorted(known, values, "left") == np.searchsorted(known, values, "right")
        rows: dict[int, list[int]] = {}
        for i in np.flatnonzero(is_new).tolist():
            rows.setdefault(int(hashes[i][:2], 16) * N_SHELVES // 256, []).append(i)
        for number, at in rows.items():
            of_shelf = [hashes[i] for i in at]
            writers[number].write_table(pa.table([of_shelf, [texts[i] for i in at]], schema=_TEXTS))
            counts[number] += len(at)
            digests[number].update("".join(of_shelf).encode())
    for writer in writers:
        writer.close()
    return [
        (path, n, digest.digest()) for path, n, digest in zip(paths, counts, digests, strict=True)
    ]


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
    is_finite = np.isfinite(vectors).all(axis=1)
    is_there = is_finite & vectors.any(axis=1)
    reasons = [
        None if there else _reason(text, finite)
        for there, text, finite in zip(is_there, texts, is_finite, strict=True)
    ]
    ends = np.cumsum(is_there * dimension)
    columns = [
        pa.array(hashes, pa.string()),
        pa.repeat(encoder.encoder_id, n),
        pa.repeat(pa.scalar(dimension, pa.int32()), n),
        pa.ListArray.from_arrays(
            pa.array(np.concatenate([[0], ends]), pa.int32()),
            pa.array(vectors[is_there].ravel()),
            mask=pa.array(~is_there),
        ),
        pa.array(reasons, pa.string()),
    ]
    return pa.table(columns, schema=SCHEMA)


def _reason(text: str, is_finite: bool) -> str:
    if not is_finite:
        return NOT_FINITE
    return NO_TOKENS if text.strip() else EMPTY


def _join(parts: Sequence[Path], path: Path) -> None:
    """All rows of some files, one file after the other, a row group in memory at a time."""
    partial_path = path.with_name(f"{path.name}.partial")
    with pq.ParquetWriter(partial_path, SCHEMA, compression="zstd") as writer:
        for part in parts:
            file = pq.ParquetFile(part)
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group, use_threads=False))
    os.replace(partial_path, path)
