"""Cells of a line of CSV: a quote stands around one or is doubled inside one, or it is stray."""

from __future__ import annotations

import re
from collections.abc import Callable


class StrayQuoteError(ValueError):
    """A quote is not where a quote may be."""


def blank_separated(text: str) -> list[str]:
    return re.split("[ \t]+", text.strip(" \t"))


def padded_edges(separator: str | None) -> Callable[[str], bool]:
    """Whether a line may have a cell with blanks around it."""
    if separator is None:
        return lambda text: False
    before, after = f" {separator}", f"{separator} "
    tabs = "\t" not in separator

    def edges(text: str) -> bool:
        return (
            before in text
            or after in text
            or (tabs and "\t" in text)
            or text[0] == " "
            or text[-1] == " "
        )

    return edges


def splitter(separator: str, quote: str) -> Callable[[str], list[str]]:
    """Splits a record with quotes into cells; blanks may stand around a quoted one.

    Raises:
        StrayQuoteError: a quote is neither around a cell nor doubled inside one, or is not closed.
    """
    if not quote:
        return lambda text: text.split(separator)
    q = re.escape(quote)
    if separator == "whitespace":
        blank, end = "", r"([ \t]+|\Z)"
        bare = rf"[^{q}\s]*"
    else:
        blank = "" if separator == " " else "[ ]*" if "\t" in separator else r"[ \t]*"
        end = rf"({re.escape(separator)}|\Z)"
        bare = rf"(?:(?!{re.escape(separator)})[^{q}\n])*"
    quoted = re.compile(rf"{blank}{q}((?:[^{q}]+|{q}{q})*+){q}{blank}{end}")
    plain = re.compile(rf"({bare}){end}")

    def split(text: str) -> list[str]:
        if separator == "whitespace":
            text = text.strip(" \t")
        cells, at = [], 0
        while True:
            match = quoted.match(text, at)
            if match is not None:
                cells.append(match[1].replace(quote + quote, quote))
            else:
                match = plain.match(text, at)
                if match is None:
                    raise StrayQuoteError
                cells.append(match[1])
            at = match.end()
            if not match[2]:
                return cells

    return split
