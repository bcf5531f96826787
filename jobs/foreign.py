"""What libraries say when something fails, told without the values that they put into it.

Spark and Arrow quote the cell that they could not read: a mail in an error would go to the
terminal, to Prefect and into alerts.
"""

from __future__ import annotations

import re

from pyspark.errors import AnalysisException, ParseException, PySparkException

_HIDDEN = "…"
_VALUE = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"            # quoted
    |(?<![^\s'"])[^\s'"@＠﹫]*[@＠﹫][^\s'"]*            # a mail or a mention
    |(?<![A-Za-z_\d])[-+]?\d[\d.,:eE+-]*|\d{5,}       # a number, or an id within a word""",
    re.VERBOSE,
)
_PLACE = re.compile(r'File "[^"]*/((?:contracts|jobs)/[\w/]+\.py)", line (\d+)')
_KIND = re.compile(r"\b(?:[a-z_]\w*\.)*([A-Z]\w*(?:Error|Exception))\b")
_KNOWN = {
    "No space left on device": "the disk is full",
    "OutOfMemoryError": "Spark has too little memory; spark.memory says how much it takes",
}
"""Parts of messages that say what to do, and how that is told."""


def without_values(text: str) -> str:
    """A message with whatever is quoted, mails and every number hidden; `x1` may name a column."""
    return _VALUE.sub(_HIDDEN, text)


def spark_sentence(error: PySparkException) -> str:
    """The kind of Spark's error, and where in our code it came up."""
    text = str(error)
    for part, told in _KNOWN.items():
        if part in text:
            return told
    condition = error.getCondition()
    if isinstance(error, AnalysisException | ParseException):  # about columns: it saw no cell
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[0] if lines else condition or type(error).__name__
    kinds = _KIND.findall(text)
    kind = condition or (kinds[-1] if kinds else type(error).__name__)
    places = _PLACE.findall(text)
    return f"{kind} in {places[-1][0]}:{places[-1][1]}" if places else kind
