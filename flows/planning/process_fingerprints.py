"""What each stage that a process computes is a function of, day by day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date

from flows.engine.run import Night
from flows.learning.fingerprints import score_fingerprint, train_fingerprint
from flows.monitor.scoreboard import scoreboard_fingerprint
from flows.state.receipts import Fingerprint

FINGERPRINTS: Mapping[str, Callable[[Night, date, str | None], Fingerprint]] = {
    "train": lambda night, day, model_id: train_fingerprint(night, night.example_days),
    "score": lambda night, day, model_id: score_fingerprint(night, model_id, day),
    "scoreboard": lambda night, day, model_id: scoreboard_fingerprint(night, day),
}
"""Stage to a function of the run, the day, and the model that scores if it is known."""
