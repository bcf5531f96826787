"""Errors of libraries are told without the values that they quote."""

from __future__ import annotations

import pytest
from pyspark.errors import AnalysisException, PySparkException

from jobs.spark.error_sentences import spark_sentence


class Failed(PySparkException):
    """An error as Spark raises it while it runs."""

    def __init__(self, text: str, condition: str | None = None):
        super().__init__(text)
        self._text, self._condition = text, condition

    def __str__(self) -> str:
        return self._text

    def getCondition(self) -> str | None:
        return self._condition


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            Failed(
                "[CAST_INVALID_INPUT] The value 'jane.roe@example.com' of the type \"STRING\" cannot "
                'be cast to "BIGINT" because it is malformed. SQLSTATE: 22018',
                "CAST_INVALID_INPUT",
            ),
            "CAST_INVALID_INPUT",
        ),
        (
            Failed(
                'Traceback (most recent call last):\n  File "/x/jobs/landing/read.py", line 71, in read\n'
                '  File "/y/pyarrow/lib.py", line 3, in f\nValueError: jane.roe@example.com is odd'
            ),
            "ValueError in jobs/landing/read.py:71",
        ),
        (
            Failed("Job aborted.\nCaused by: java.io.IOException: No space left on device"),
            "the disk is full",
        ),
        (Failed("java.lang.IllegalStateException: jane@example.com"), "IllegalStateException"),
        (Failed("jane@example.com"), "Failed"),
    ],
)
def test_what_spark_says_is_told_by_kind_and_place(error: PySparkException, message: str) -> None:
    assert spark_sentence(error) == message


def test_what_analysis_says_is_told_for_it_saw_no_cell() -> None:
    assert spark_sentence(AnalysisException("\n[UNRESOLVED] no `x`\n'Project\n")) == (
        "[UNRESOLVED] no `x`"
    )
