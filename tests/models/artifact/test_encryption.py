"""Weights that are sealed where they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ContractError, UsageError
from models.artifact import encryption

KEY, OTHER = "01" * 32, "02" * 32


@pytest.fixture(autouse=True)
def _no_key():
    yield
    encryption.use(None)


def test_what_is_sealed_opens_with_its_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    encryption.write(path, b"weights" * 100)
    assert path.read_bytes() == b"weights" * 100
    encryption.use(encryption.key_from(KEY))
    encryption.write(path, b"weights" * 100)
    assert not path.exists()  # nothing stays open beside it
    closed = path.with_name("model.safetensors.sealed")
    assert b"weights" not in closed.read_bytes()
    assert encryption.read(path) == b"weights" * 100
    again = closed.read_bytes()
    encryption.write(path, b"weights" * 100)
    assert closed.read_bytes() == again  # the same content is the same file
    encryption.use(encryption.key_from(OTHER))
    with pytest.raises(ContractError, match="sealed with another key, or changed since"):
        encryption.read(path)
    encryption.use(None)
    with pytest.raises(ContractError, match="is sealed: set weights_key_file, or NIGHTJAR_WEIGHTS"):
        encryption.read(path)


def test_a_changed_byte_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "w"
    encryption.use(encryption.key_from(KEY))
    encryption.write(path, b"weights")
    closed = tmp_path / "w.sealed"
    content = bytearray(closed.read_bytes())
    content[-1] ^= 1
    closed.write_bytes(bytes(content))
    with pytest.raises(ContractError, match="changed since"):
        encryption.read(path)


def test_a_key_that_is_none_is_said_and_not_repeated() -> None:
    assert encryption.key_from(None) is None
    assert encryption.key_from("") is None
    with pytest.raises(UsageError) as error:
        encryption.key_from("my secret")
    assert str(error.value) == (
        "NIGHTJAR_WEIGHTS_KEY: expected 64 hex digits, found 9 characters; "
        "`nightjar new-key FILE` makes one"
    )
