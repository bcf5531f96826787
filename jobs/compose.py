"""Letters and their accents composed: two ways to write the same text are one (Unicode's NFC)."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pyarrow.compute as pc


def composed(cells: pa.ListArray) -> pa.ListArray:
    """Lists of texts, composed. Texts in ASCII are, and are not looked at one by one.

    Spark has no function for it, and Arrow's, called NFC, takes apart but does not compose.
    """
    texts = cells.values
    other = pc.fill_null(pc.invert(pc.string_is_ascii(texts)), False)
    if not pc.any(other).as_py():
        return cells
    made = [unicodedata.normalize("NFC", text) for text in texts.filter(other).to_pylist()]
    texts = pc.replace_with_mask(texts, other, pa.array(made, texts.type))
    return pa.ListArray.from_arrays(cells.offsets, texts, mask=cells.is_null())
