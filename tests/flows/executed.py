"""What of our code runs while a stage is brought up to date."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from flows.engine import spark_stages
from flows.engine.code_hash import PACKAGES
from flows.engine.run import Run
from tests.conftest import REPOSITORY

Executed = dict[str, set[str]]
"""Stages to the dotted names of functions, as far as they run in this process."""


@contextmanager
def recorded() -> Iterator[Executed]:
    """What the stages of nights in this process execute, in the threads that bring them up."""
    executed: Executed = {}
    patch = pytest.MonkeyPatch()
    for name, stage_of in (("compute", str), ("land", lambda source: "land")):
        function = getattr(spark_stages, name)
        patch.setattr(spark_stages, name, _recording(function, stage_of, executed))
    yield executed
    patch.undo()


def _recording(
    function: Callable[..., Any], stage_of: Callable[[Any], str], executed: Executed
) -> Callable[..., Any]:
    def call(night: Run, what: Any, *others: Any) -> Any:
        names = executed.setdefault(stage_of(what), set())
        seen: set[CodeType] = set()

        def look(frame: FrameType, event: str, _: Any) -> None:
            if frame.f_code not in seen:
                seen.add(frame.f_code)
                names.update(_ours(frame.f_code))

        before = sys.gettrace()
        sys.settrace(look)  # it hears of calls alone, as long as it returns nothing
        try:
            return function(night, what, *others)
        finally:
            sys.settrace(before)

    return call


def _ours(code: CodeType) -> Iterator[str]:
    path = Path(code.co_filename)
    if path.is_relative_to(REPOSITORY):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        if parts[0] in PACKAGES and not code.co_qualname.startswith("<"):
            yield ".".join((*parts, code.co_qualname))
