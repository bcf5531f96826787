"""Letters and their accents composed: two ways to write the same text are one (Unicode's NFC)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

_ESCAPED = re.compile(r"\\[^u]|([^\\]?)((?:\\u[0-9a-fA-F]{4})+)")
"""Escapes of JSON: those of one letter, lest the `u` behind `\\\\` be taken for one of four digits,
and runs of those with the character before them."""


def composed(cells: pa.ListArray) -> pa.ListArray:
    """Lists of texts, composed, also as escapes of JSON, for an id may stand in a text of JSON.

    Other texts in ASCII are composed, and are not looked at one by one. Spark has no function for
    it, and Arrow's, called NFC, takes apart but does not compose.
    """
    values = cells.values
    texts = _changed(values, pc.invert(pc.string_is_ascii(values)), _nfc)
    texts = _changed(texts, pc.match_substring(texts, "\\u"), composed_escapes)
    if texts is values:
        return cells
    return pa.ListArray.from_arrays(cells.offsets, texts, mask=cells.is_null())


def _changed(texts: pa.Array, which: pa.Array, change: Callable[[str], str]) -> pa.Array:
    """The texts, some of them changed."""
    which = pc.fill_null(which, False)
    if not pc.any(which).as_py():
        return texts
    changed = [change(text) for text in texts.filter(which).to_pylist()]
    return pc.replace_with_mask(texts, which, pa.array(changed, texts.type))


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def composed_escapes(text: str) -> str:
    r"""A text with what JSON would decode composed: `Jose\u0301` is `Jos\u00e9`. What is composed
    already stays as it is written."""
    return _ESCAPED.sub(_composed_run, text)


def _composed_run(match: re.Match[str]) -> str:
    before, run = match[1], match[2]
    if run is None:
        return match[0]
    letters = bytes.fromhex(run.replace("\\u", "")).decode("utf-16-be", "surrogatepass")
    apart = before + letters
    together = _nfc(apart)
    if together == apart:
        return match[0]
    kept = before if together.startswith(before) else ""
    units = together[len(kept) :].encode("utf-16-be", "surrogatepass").hex()
    return kept + re.sub("(.{4})", r"\\u\1", units)
