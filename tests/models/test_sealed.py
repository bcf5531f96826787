"""Weights that are sealed where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.table import CallError, ContractError
from models import sealed

KEY, OTHER = "01" * 32, "02" * 32


@pytest.fixture(autouse=True)
def _no_key():
    yield
    sealed.use(None)


def test_what_is_sealed_opens_with_its_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    sealed.write(path, b"weights" * 100)
    assert path.read_bytes() == b"weights" * 100
    sealed.use(sealed.key_from(KEY))
    sealed.write(path, b"weights" * 100)
    assert not path.exists()  # nothing stays open beside it
    closed = path.with_name("model.safetensors.sealed")
    assert b"weights" not in closed.read_bytes()
    assert sealed.read(path) == b"weights" * 100
    again = closed.read_bytes()
    sealed.write(path, b"weights" * 100)
    assert closed.read_bytes() == again  # the same content is the same file
    sealed.use(sealed.key_from(OTHER))
    with pytest.raises(ContractError, match="sealed with another key, or changed since"):
        sealed.read(path)
    sealed.use(None)
    with pytest.raises(ContractError, match="is sealed: set weights_key_file, or NIGHTJAR_WEIGHTS"):
        sealed.read(path)


def test_a_changed_byte_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "w"
    sealed.use(sealed.key_from(KEY))
    sealed.write(path, b"weights")
    closed = tmp_path / "w.sealed"
    content = bytearray(closed.read_bytes())
    content[-1] ^= 1
    closed.write_bytes(bytes(content))
    with pytest.raises(ContractError, match="changed since"):
        sealed.read(path)


def test_a_key_that_is_none_is_said_and_not_repeated() -> None:
    assert sealed.key_from(None) is None
    assert sealed.key_from("") is None
    with pytest.raises(CallError) as error:
        sealed.key_from("my secret")
    assert str(error.value) == (
        "NIGHTJAR_WEIGHTS_KEY: expected 64 hex digits, found 9 characters; "
        "`nightjar new-key FILE` makes one"
    )
