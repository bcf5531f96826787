"""Vectors of many texts by pieces."""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import ContractError
from models.content import encode
from models.content.encode import SCHEMA, encode_texts
from models.content.encoders.text_encoder import TextEncoder, load_text_encoder
from tests.models.content.encoders.tiny_encoders import WORDS, D, write_encoder, write_onnx

TEXTS = [*dict.fromkeys(
    " ".join(random.Random(i).choices(WORDS[4:], k=i % 9 + 4)) for i in range(300)
)]  # fmt: skip
pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "PIECE_TEXTS", 40)


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def batches(texts: Sequence[str], size: int = 70) -> Iterator[tuple[list[str], list[str]]]:
    for start in range(0, len(texts), size):
        some = [*texts[start : start + size]]
        yield [hash_of(text) for text in some], some


class Watched:
    """An encoder that counts texts, and at call number `at` does what is asked for."""

    def __init__(self, encoder: TextEncoder, at: int = 0, then: str = ""):
        self._encoder, self._at, self._then = encoder, at, then
        self.encoder_id, self.dimension = encoder.encoder_id, encoder.dimension
        self.n_calls = self.n_texts = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.n_calls += 1
        self.n_texts += len(texts)
        if self.n_calls == self._at and self._then == "raise":
            raise ContractError("stopped")
        if self.n_calls == self._at and self._then == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return self._encoder.encode(texts)


@pytest.fixture
def encoder(tmp_path: Path) -> TextEncoder:
    return load_text_encoder(write_encoder(tmp_path / "encoder"), precision="fp32")


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_each_hash_has_a_row_with_the_vector_of_its_text(
    tmp_path: Path, kind: str, processes: int
) -> None:
    write = write_encoder if kind == "safetensors" else write_onnx
    encoder, path = load_text_encoder(write(tmp_path / "encoder")), tmp_path / "vectors.parquet"
    n = encode_texts(encoder, batches([*TEXTS, *TEXTS[:50]]), path, tmp_path / "s", processes)
    rows = pq.read_table(path)
    by_hash = {hash_of(text): text for text in TEXTS}
    assert rows.schema.equals(SCHEMA)
    assert n == len(TEXTS)
    assert rows["content_hash"].to_pylist() == sorted(by_hash)
    assert set(rows["encoder_id"].to_pylist()) == {encoder.encoder_id}
    assert set(rows["dimension"].to_pylist()) == {D}
    assert rows["reason"].null_count == n
    vectors = np.array(rows["vector"].to_pylist(), np.float32)
    np.testing.assert_array_equal(vectors, encoder.encode([by_hash[h] for h in sorted(by_hash)]))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["encoder", "vectors.parquet"]


def test_what_has_a_row_of_the_encoder_is_not_encoded_again(
    tmp_path: Path, encoder: TextEncoder
) -> None:
    path, scratch = tmp_path / "vectors.parquet", tmp_path / "scratch"
    encode_texts(encoder, batches([*TEXTS, ""]), path, scratch, 1)
    before, first = path.stat(), pq.read_table(path)
    again = Watched(encoder)
    assert encode_texts(again, batches([*TEXTS, ""]), path, scratch, 1) == again.n_texts == 0
    assert path.stat() == before
    changed = [*TEXTS[3:], "day day day", "bad bad", "of of of"]
    assert encode_texts(again, batches(changed), path, scratch, 1) == again.n_texts == 3
    rows = pq.read_table(path)
    assert rows.slice(0, len(first)).equals(first)
    assert rows["content_hash"].to_pylist()[len(first) :] == sorted(map(hash_of, changed[-3:]))


def test_rows_of_another_encoder_are_added_and_those_of_the_first_stay(
    tmp_path: Path, encoder: TextEncoder
) -> None:
    path, scratch = tmp_path / "vectors.parquet", tmp_path / "scratch"
    other = load_text_encoder(write_encoder(tmp_path / "other", pooling="cls"), precision="fp32")
    for each in (encoder, other):
        assert encode_texts(each, batches(TEXTS), path, scratch, 1) == len(TEXTS)
    rows = pq.read_table(path)
    assert rows.group_by("encoder_id").aggregate(
        [("content_hash", "count_distinct")]
    ).to_pylist() == [
        {"encoder_id": each.encoder_id, "content_hash_count_distinct": len(TEXTS)}
        for each in (encoder, other)
    ]


def test_what_has_no_vector_has_a_reason(tmp_path: Path, encoder: TextEncoder) -> None:
    class Overflowing(Watched):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            vectors = super().encode(texts)
            vectors[[text == "bad" for text in texts]] = np.inf
            vectors[[text == "?" for text in texts]] = 0
            return vectors

    path = tmp_path / "vectors.parquet"
    texts = ["", " \t", "?", "bad", "good"]
    assert encode_texts(Overflowing(encoder), batches(texts), path, tmp_path / "s", 1) == 5
    rows = {row["content_hash"]: row for row in pq.read_table(path).to_pylist()}
    assert [(rows[hash_of(text)]["vector"], rows[hash_of(text)]["reason"]) for text in texts] == [
        (None, "the text is empty"),
        (None, "the text is empty"),
        (None, "the text has no tokens"),
        (None, "the encoder's numbers are not finite"),
        (encoder.encode(["good"])[0].tolist(), None),
    ]


def test_a_last_batch_of_one_row_is_as_any(tmp_path: Path, encoder: TextEncoder) -> None:
    path = tmp_path / "vectors.parquet"
    texts = [text for text in TEXTS if hash_of(text) < "04"][:1] + [
        text for text in TEXTS if hash_of(text) >= "04"
    ][:40]
    assert encode_texts(encoder, batches(texts, 40), path, tmp_path / "s", 1) == 41
    sizes = [pq.read_metadata(path).row_group(i).num_rows for i in range(2)]
    assert sizes == [40, 1]
    for row in pq.read_table(path).to_pylist():
        text = next(each for each in texts if hash_of(each) == row["content_hash"])
        assert row["vector"] == encoder.encode([text])[0].tolist()


@pytest.mark.parametrize("then", ["raise", "kill"])
def test_pieces_that_are_done_stay_where_encoding_was_stopped(
    tmp_path: Path, encoder: TextEncoder, then: str
) -> None:
    path, scratch = tmp_path / "vectors.parquet", tmp_path / "scratch"
    stopped = Watched(encoder, 3, then)
    if then == "raise":
        with pytest.raises(ContractError, match="stopped"):
            encode_texts(stopped, batches(TEXTS), path, scratch, 1)
        assert [*tmp_path.rglob("*.arrows")] == []
    else:
        arguments = (stopped, batches(TEXTS), path, scratch, 1)
        child = get_context("fork").Process(target=encode_texts, args=arguments)
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert not path.exists()
    done = sum(pq.read_metadata(part).num_rows for part in scratch.glob("*.parquet"))
    assert 40 <= done < len(TEXTS)
    again = Watched(encoder)
    assert encode_texts(again, batches(TEXTS), path, scratch, 1) == len(TEXTS)
    assert again.n_texts == len(TEXTS) - done
    whole = tmp_path / "whole.parquet"
    encode_texts(encoder, batches(TEXTS), whole, tmp_path / "s", 1)
    assert path.read_bytes() == whole.read_bytes()
    assert not scratch.exists()


def test_no_texts_are_a_file_without_rows(tmp_path: Path, encoder: TextEncoder) -> None:
    path = tmp_path / "vectors.parquet"
    assert encode_texts(encoder, [], path, tmp_path / "scratch", 1) == 0
    assert pq.read_table(path).equals(SCHEMA.empty_table())


@pytest.mark.parametrize("wrong", ["x1", "AB" * 32, None])
def test_what_is_no_hash_is_refused(tmp_path: Path, encoder: TextEncoder, wrong: str) -> None:
    with pytest.raises(ContractError) as error:
        encode_texts(encoder, [([wrong], ["text"])], tmp_path / "v", tmp_path / "s", 1)
    assert str(error.value) == (
        f"content_hash: expected 64 hexadecimal digits in lower case, found {wrong!r}"
    )


def test_a_file_of_something_else_is_left_alone(tmp_path: Path, encoder: TextEncoder) -> None:
    path = tmp_path / "users.parquet"
    pq.write_table(pa.table({"user_key": ["u1"]}), path)
    with pytest.raises(ContractError) as error:
        encode_texts(encoder, batches(TEXTS), path, tmp_path / "s", 1)
    assert str(error.value) == (
        f"{path} is no file of vectors: expected columns content_hash, encoder_id, dimension, "
        "vector, reason, found user_key; name another file"
    )
    assert pq.read_table(path).num_rows == 1
