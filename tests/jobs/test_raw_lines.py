from __future__ import annotations

import codecs
import encodings
import pkgutil
from pathlib import Path

import pytest

from jobs.raw_lines import is_bytewise
from tests.jobs.reading import read, source


def text_encodings() -> list[str]:
    """Names of all that Python has."""
    names = set()
    for module in pkgutil.iter_modules(encodings.__path__):
        try:
            names.add(codecs.lookup(module.name).name)
            "".encode(module.name)
        except (LookupError, UnicodeError, AttributeError):
            continue  # a module that is no encoding, or one of bytes, or of another system
    return sorted(names)


BYTEWISE = [name for name in text_encodings() if is_bytewise(name)]


def test_most_encodings_of_single_bytes_are_read_as_they_are() -> None:
    assert {"utf-8", "iso8859-1", "cp1252", "koi8-r", "mac-roman", "cp437"} < set(BYTEWISE)
    assert len(BYTEWISE) > 45


@pytest.mark.parametrize("encoding", BYTEWISE)
def test_where_lines_are_told_apart_by_bytes_each_sign_of_ascii_is_its_own_byte(
    encoding: str,
) -> None:
    """A quote that is a second byte too would be found in the text and not among the bytes."""
    for byte in range(256):
        text = bytes([byte]).decode(encoding, "replace")
        assert (text == chr(byte)) if byte < 128 else min(text) >= "\x80"


@pytest.mark.parametrize("encoding", ["mac-arabic", "mac-farsi"])
def test_signs_that_an_encoding_has_twice_are_the_same_signs(tmp_path: Path, encoding: str) -> None:
    """Writing from the right has a quote and a comma of its own."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"1,\xa2two\nlines\xa2\n2,b\n")
    assert read(path, source("csv", header=False, multiline=True, encoding=encoding)) == [
        (1, ["1", "two\nlines"], None),
        (3, ["2", "b"], None),
    ]
