"""Lines that end in CR alone, as on old Macs: to a reader of LF, any number of them are one."""

from __future__ import annotations

import re
from collections.abc import Callable

from jobs.mapping.raw_row import UnreadableError

CR_ALONE = (
    "a line of it ends in CR alone, as on old Macs, which ends no line here: write the file again "
    "with LF, such as by tr '\\r' '\\n'"
)
MIN_JOINED = 3
"""CRs in a line by which it is taken for several rows."""


def check_first_line(line: bytes, quote: bytes) -> None:
    """Refuse a file whose header reaches beyond a CR, or that is one line for that reason.

    Raises:
        UnreadableError: there is a CR outside of quotes.
    """
    if quote:
        q = re.escape(quote)
        line = re.sub(rb"%b[^%b]*(%b|\Z)" % (q, q, q), b"", line)
    if b"\r" in line:
        raise UnreadableError(CR_ALONE)


def check_no_row(line: bytes, is_row: Callable[[bytes], bool]) -> None:
    """Refuse a file in which a line that is no row is several, with a CR behind each.

    Raises:
        UnreadableError: most of what stands between its CRs is a row.
    """
    if line.count(b"\r") >= MIN_JOINED:
        parts = [part for part in line.split(b"\r") if part]
        if sum(map(is_row, parts)) * 2 > len(parts):
            raise UnreadableError(CR_ALONE)
