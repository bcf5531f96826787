"""Ids of encoders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from contracts.errors import ContractError
from models.content.encoders.encoder_id import encoder_id
from models.content.encoders.precision import precision_of


def test_an_id_is_the_hash_of_files_and_settings_by_their_names(tmp_path: Path) -> None:
    weights = tmp_path / "model.onnx"
    weights.write_bytes(b"weights")
    file = hashlib.sha256(b"weights").hexdigest()
    whole = f'{{"files": {{"weights": "{file}"}}, "settings": {{"a": 1, "b": "mean"}}}}'
    expected = hashlib.sha256(whole.encode()).hexdigest()
    assert encoder_id({"weights": weights}, {"b": "mean", "a": 1}) == expected
    assert encoder_id({"weights": weights}, {"b": "mean", "a": 2}) != expected
    assert encoder_id({"tokenizer": weights}, {"b": "mean", "a": 1}) != expected


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("avx512f avx512_bf16", "bf16"), ("amx_bf16", "bf16"), ("avx2 fma", "fp32")],
)
def test_precision_follows_the_processor_unless_it_is_set(
    tmp_path: Path, flags: str, precision: str
) -> None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(f"processor : 0\nflags\t: sse {flags} ht\n")
    assert precision_of(None, cpu) == precision_of("auto", cpu) == precision
    assert (precision_of("fp32", cpu), precision_of("bf16", cpu)) == ("fp32", "bf16")
    assert precision_of("auto", tmp_path / "none") == "fp32"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ContractError) as error:
        precision_of("fp16")
    assert str(error.value) == "precision 'fp16' is not known: expected fp32, bf16 or auto"
