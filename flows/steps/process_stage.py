"""What planning and running a stage takes that a process of its own computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flows.engine.run import Run
from flows.planning.process_fingerprints import FingerprintOf, ReadsOf
from flows.planning.stage_list import StageDays
from flows.steps.writers import Writer

Execute = Callable[[Run, StageDays, Mapping[str, Any]], Any]
"""Takes the run, the entry of its list, and the results of processes before it."""


@dataclass(frozen=True)
class ProcessStage:
    """How a stage is planned and executed."""

    fingerprint: FingerprintOf
    """What a day of it is a function of."""
    execute: Execute
    """Brings its days up to date, and returns its result."""
    writer: Writer | None = None
    """Writes the files of its table on a release's branch; None if it writes none there."""
    reads: ReadsOf | None = None
    """What a day of it reads, where that is more than its declaration can say."""
