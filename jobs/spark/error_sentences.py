"""What Spark says when something fails, told without the values that it puts into it."""

from __future__ import annotations

import re

from pyspark.errors import AnalysisException, ParseException, PySparkException

_PLACE = re.compile(r'File "[^"]*/((?:contracts|jobs)/[\w/]+\.py)", line (\d+)')
_KIND = re.compile(r"\b(?:[a-z_]\w*\.)*([A-Z]\w*(?:Error|Exception))\b")
_KNOWN = {
    "No space left on device": "the disk is full",
    "OutOfMemoryError": "Spark has too little memory; spark.memory says how much it takes",
}
"""Parts of messages that say what to do, and how that is told."""


def spark_sentence(error: PySparkException) -> str:
    """The kind of Spark's error, and where in our code it came up."""
    text = str(error)
    for part, sentence in _KNOWN.items():
        if part in text:
            return sentence
    condition = error.getCondition()
    if isinstance(error, AnalysisException | ParseException):  # about columns: it saw no cell
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[0] if lines else condition or type(error).__name__
    kinds = _KIND.findall(text)
    kind = condition or (kinds[-1] if kinds else type(error).__name__)
    places = _PLACE.findall(text)
    return f"{kind} in {places[-1][0]}:{places[-1][1]}" if places else kind
