"""`python -m models.content encode`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models.content.__main__ import main
from models.content.encode_command import read_texts
from models.content.encoders.text_encoder import load_text_encoder
from tests.models.content.encoders.tiny_encoders import write_encoder

pytestmark = pytest.mark.usefixtures("no_network")


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def encode(texts: Path, encoder: Path, *options: str) -> int:
    out = str(texts.parent / "out.parquet")
    return main(["encode", str(texts), "--encoder", str(encoder), "--out", out, *options])


@pytest.mark.parametrize("processes", ["1", "2"])
def test_lines_of_a_file_are_texts_and_each_is_encoded_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], processes: str
) -> None:
    folder = write_encoder(tmp_path / "encoder")
    encoder = load_text_encoder(folder, precision="fp32")
    texts = tmp_path / "texts.txt"
    texts.write_bytes(b"good news\r\nbad day\n\ngood news\nthe day")
    options = ("--precision", "fp32", "--processes", processes)
    assert encode(texts, folder, *options) == 0
    rows = {row["content_hash"]: row for row in pq.read_table(tmp_path / "out.parquet").to_pylist()}
    known = ["good news", "bad day", "the day"]
    assert set(rows) == {*map(hash_of, known), hash_of("")}
    for text, vector in zip(known, encoder.encode(known), strict=True):
        assert rows[hash_of(text)]["vector"] == vector.tolist()
    assert rows[hash_of("")]["reason"] == "the text is empty"
    texts.write_text("good news\nbad day\nnews news\n")
    assert encode(texts, folder, *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"encoder {encoder.encoder_id}, 8 numbers a text"
    assert f"4 texts encoded; {tmp_path}/out.parquet has 4 rows" in lines
    assert lines[-1] == f"1 texts encoded; {tmp_path}/out.parquet has 5 rows"


def test_a_changed_byte_of_the_folder_is_another_encoder(tmp_path: Path) -> None:
    folder, texts = write_encoder(tmp_path / "encoder"), tmp_path / "texts.txt"
    texts.write_text("good news\n")
    assert encode(texts, folder) == 0
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert encode(texts, folder) == 0
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert rows[0]["encoder_id"] != rows[1]["encoder_id"]
    assert rows[0]["vector"] == rows[1]["vector"]


def test_files_of_a_folder_are_read_by_name_with_their_own_hashes(tmp_path: Path) -> None:
    (tmp_path / "day=2").mkdir()
    for name, hashes, texts in (
        ("b.parquet", ["b" * 64], ["bad"]),
        ("day=2/c.parquet", ["c" * 64, "d" * 64], [None, "day"]),
        ("a.parquet", ["a" * 64], ["good"]),
    ):
        table = {
            "text": pa.array(texts, pa.string()),
            "other": [0] * len(texts),
            "content_hash": hashes,
        }
        pq.write_table(pa.table(table), tmp_path / name)
    (tmp_path / "_SUCCESS").touch()
    assert [*read_texts(tmp_path)] == [
        (["a" * 64], ["good"]),
        (["b" * 64], ["bad"]),
        (["c" * 64, "d" * 64], ["", "day"]),
    ]


def test_what_cannot_be_read_or_written_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, texts = write_encoder(tmp_path / "encoder"), tmp_path / "texts.txt"

    def refusal(texts: Path, *options: str) -> tuple[int, str]:
        code = encode(texts, folder, *options)
        return code, capsys.readouterr().err.strip().replace(f"{tmp_path}/", "")

    assert refusal(texts) == (2, "texts.txt: no such file or folder")
    texts.write_bytes(b"caf\xe9\n")
    assert refusal(texts) == (1, "texts.txt is not UTF-8: invalid continuation byte")
    assert refusal(texts, "--processes", "0") == (2, "--processes: expected 1 or more, found 0")
    nowhere = str(tmp_path / "none/out.parquet")
    assert refusal(texts, "--out", nowhere) == (
        2, "none/out.parquet: expected the name of a file in a folder that is there",
    )  # fmt: skip
    table = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"text": ["good"], "id": [1]}), table)
    assert refusal(table) == (
        1, "texts.parquet: expected columns content_hash and text, found no content_hash among text, id",
    )  # fmt: skip
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(empty) == (1, "empty: expected Parquet files (*.parquet), found none")
    (folder / "config.json").unlink()
    assert refusal(texts) == (1, "encoder: expected config.json beside model.safetensors")
    assert not (tmp_path / "out.parquet").exists()
