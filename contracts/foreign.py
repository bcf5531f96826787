"""What libraries say when something fails, told without the values that they put into it.

They quote the cell that they could not read: a mail in an error would go to the terminal, to
Prefect and into alerts.
"""

from __future__ import annotations

import re

_HIDDEN = "…"
_VALUE = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"            # quoted
    |(?<![^\s'"])[^\s'"@＠﹫]*[@＠﹫][^\s'"]*            # a mail or a mention
    |(?<![A-Za-z_\d])[-+]?\d[\d.,:eE+-]*|\d{5,}       # a number, or an id within a word""",
    re.VERBOSE,
)


def without_values(text: str) -> str:
    """A message with whatever is quoted, mails and every number hidden; `x1` may name a column."""
    return _VALUE.sub(_HIDDEN, text)


def library_message(error: BaseException) -> str:
    """What an error says, on one line and without values; its kind where it says nothing else."""
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror
    words = without_values(" ".join(str(error).split()))
    return words if re.search(r"[^\W\d]", words) else type(error).__name__
