"""Which models of content a night asks for."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from contracts.content import LEARN_DAYS, cut_of
from contracts.source_tables.reviews import REVIEWS
from flows.engine.accounting import Work
from flows.state.receipts import Fingerprint
from flows.steps.content import model_name
from tests.flows.steps.simulated_scores import FIRST, SETS, SimulatedNight, nights_in

CUT = cut_of(FIRST)


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedNight:
    return nights_in(tmp_path, monkeypatch)(0, SETS[-1])


def landed(night: SimulatedNight, day: date, digest: str) -> None:
    """Reviews of a day are clean."""
    stage = f"clean_{REVIEWS.name}"
    outputs = {day: {REVIEWS.name: {"digest": digest, "rows": 1, "snapshot": 1}}}
    work = Work(stage, {day: Fingerprint("code", "config", digest)}, 1, 1, 0.1, 1)
    night.note(work, outputs, print)
    night.fingerprints.invalidate(stage)


def test_a_model_is_made_anew_where_something_that_it_learns_from_is_another(
    night: SimulatedNight,
) -> None:
    day = timedelta(days=1)
    landed(night, CUT - day, "a")
    name = model_name(night.days, CUT)
    assert name.startswith(f"{CUT}-")
    landed(night, CUT, "of the days that it scores")
    landed(night, CUT - (LEARN_DAYS + 1) * day, "of long ago")
    assert model_name(night.days, CUT) == name
    landed(night, CUT - 2 * day, "of another day before")
    more = model_name(night.days, CUT)
    landed(night, CUT - day, "changed")
    assert len({name, more, model_name(night.days, CUT)}) == 3
