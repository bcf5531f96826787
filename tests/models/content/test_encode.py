"""Vectors of many texts by pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from models.content.encode import encode_texts
from models.content.encoders.hashed_text import HashedTextEncoder

TEXTS = [f"text number {i} of many" for i in range(9000)]
Batch = tuple[list[str], list[str]]


def batches(texts: Sequence[str], size: int = 1000) -> Iterator[Batch]:
    for start in range(0, len(texts), size):
        some = [*texts[start : start + size]]
        yield [hashlib.sha256(text.encode()).hexdigest() for text in some], some


class Failing(HashedTextEncoder):
    """Fails at the second piece."""

    calls = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.calls += 1
        if self.calls > 1:
            raise ContractError("stopped")
        return super().encode(texts)


class Counting(HashedTextEncoder):
    texts = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += len(texts)
        return super().encode(texts)


@pytest.mark.parametrize("processes", [1, 2])
def test_each_hash_has_a_row_by_ascending_hash_and_no_text_stays(
    tmp_path: Path, processes: int
) -> None:
    encoder, path = HashedTextEncoder(), tmp_path / "vectors.parquet"
    twice = [*TEXTS, *TEXTS[:500]]
    assert encode_texts(encoder, batches(twice), path, tmp_path / "scratch", processes) == 9000
    rows = pq.read_table(path)
    by_hash = dict(zip(*next(batches(TEXTS, 9000)), strict=True))
    assert rows["content_hash"].to_pylist() == sorted(by_hash)
    assert set(rows["encoder_id"].to_pylist()) == {encoder.encoder_id}
    assert set(rows["dimension"].to_pylist()) == {128}
    vectors = np.array(rows["vector"].to_pylist(), np.float32)
    np.testing.assert_array_equal(vectors, encoder.encode([by_hash[h] for h in sorted(by_hash)]))
    assert [*tmp_path.rglob("*.arrows")] == []


def test_pieces_that_are_done_stay_where_encoding_was_stopped(tmp_path: Path) -> None:
    path, scratch = tmp_path / "vectors.parquet", tmp_path / "scratch"
    with pytest.raises(ContractError, match="stopped"):
        encode_texts(Failing(), batches(TEXTS), path, scratch, 1)
    assert not path.exists()
    (part,) = scratch.glob("*.parquet")
    done = pq.read_metadata(part).num_rows
    encoder = Counting()
    assert encode_texts(encoder, batches(TEXTS), path, scratch, 1) == 9000
    assert 0 < encoder.texts == 9000 - done


def test_no_texts_are_a_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "vectors.parquet"
    assert encode_texts(HashedTextEncoder(), [], path, tmp_path / "scratch", 1) == 0
    assert pq.read_table(path).num_rows == 0


def test_what_is_no_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as error:
        encode_texts(HashedTextEncoder(), [(["x1"], ["text"])], tmp_path / "v", tmp_path, 1)
    assert str(error.value) == "content_hash: expected hexadecimal digits, found 'x1'"
