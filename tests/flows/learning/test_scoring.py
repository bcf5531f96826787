"""A scoring that was killed goes on only where nothing that decides a score has changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.learning import fingerprints
from flows.settings import NightjarSettings
from flows.state.receipts import WITHDRAWN, Fingerprint
from flows.steps.scoring import scratch_of

DAY = date(2025, 5, 13)


@dataclass(frozen=True)
class Found:
    """What a night's training said of the champion that it compared with."""

    day: date
    champion: str | None
    withheld: dict[str, str]
    inputs: str = "examples"


def nights(*verdicts: Found) -> Any:
    """Receipts of these trainings."""
    outputs = {
        f.day: {"champion": f.champion, "gate": {"champion_withheld": f.withheld}} for f in verdicts
    }
    receipts = {
        f.day: SimpleNamespace(outputs=outputs[f.day], fingerprint=Fingerprint("", "", f.inputs))
        for f in verdicts
    }
    return SimpleNamespace(
        days=lambda stage: sorted(receipts), get=lambda stage, day: receipts[day]
    )


def test_what_a_night_finds_of_a_champion_stands_until_it_is_rolled_back() -> None:
    before, after = (DAY + n * timedelta(days=1) for n in (-3, 1))
    receipts = nights(
        Found(before, "m", {"churn_28d": "it loses"}),
        Found(DAY - timedelta(days=2), "other", {"view_7d": "of another model"}),
        Found(DAY - timedelta(days=1), "m", {"like_7d": "it was rolled back"}, WITHDRAWN),
        Found(DAY, "m", {"return_90d": "it ranks", "churn_28d": "again"}),
        Found(after, "m", {"share_7d": "nobody knows yet"}),
    )
    assert fingerprints.withheld_since(receipts, "m", DAY) == {
        "churn_28d": "it loses, as of 2025-05-10"
    }
    assert fingerprints.withheld_tonight(receipts, "m", DAY) == {
        "churn_28d": "it loses, as of 2025-05-10",
        "return_90d": "it ranks, as of 2025-05-13",
    }
    assert fingerprints.withheld_tonight(receipts, None, DAY) == {}
    old: Any = nights(Found(DAY, "m", {}))
    del old.get("train", DAY).outputs["gate"]["champion_withheld"]  # as it was said before
    del old.get("train", DAY).outputs["champion"]
    assert fingerprints.withheld_tonight(old, "m", DAY) == {}


def scratch(
    tmp_path: Path,
    model_id: str = "m",
    digest: str = "d",
    failed_tasks: Any = "null",
    verdicts: Any = (),
    **train: Any,
) -> Path:
    settings = NightjarSettings(home=tmp_path, failed_tasks=failed_tasks)
    settings = settings.model_copy(update={"train": settings.train.changed(**train)})
    of_features = SimpleNamespace(digests=lambda stage, table: {DAY: digest})
    context: Any = SimpleNamespace(settings=settings, as_of=DAY)
    state: Any = SimpleNamespace(fingerprints=of_features, receipts=nights(*verdicts))
    return scratch_of(settings, fingerprints.score_fingerprint(context, state, model_id, DAY))


def test_the_same_scoring_goes_on_in_the_same_place(tmp_path: Path) -> None:
    assert scratch(tmp_path) == scratch(tmp_path)
    assert scratch(tmp_path).parent == tmp_path / "runs/scoring"


@pytest.mark.parametrize(
    "other",
    [
        {"model_id": "other"},
        {"digest": "other"},
        {"accelerator": "cuda"},
        {"failed_tasks": "base_rate"},
        {"verdicts": [Found(DAY, "m", {"churn_28d": "it loses"})]},
    ],
)
def test_another_model_withheld_tasks_other_features_settings_or_another_device_begin_anew(
    tmp_path: Path, other
) -> None:
    assert scratch(tmp_path, **other) != scratch(tmp_path)


@pytest.mark.parametrize("name", ["code_fingerprint", "table_shape"])
def test_other_code_and_other_contracts_begin_anew(tmp_path, monkeypatch, name: str) -> None:
    before = scratch(tmp_path)
    monkeypatch.setattr(fingerprints, name, lambda of: "after a fix")
    assert scratch(tmp_path) != before
