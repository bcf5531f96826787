"""The report of a training that came to no model: a flow says it where nobody wanted one, and
`models/train.py` where nothing could be trained. It alone writes the report of any other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.tables import NO_MODEL

ARTIFACT = "model"
"""Folder of the artifact within a run."""


def untrained(skipped: Mapping[str, str], why: str, folder: str) -> dict[str, Any]:
    """What training says where there was nothing to train, or nobody wanted it."""
    return {
        "model_id": NO_MODEL,
        "run_id": None,
        "folder": folder,
        "skipped": dict(skipped),
        "tasks": {},
        "history": [],
        "rows": {},
        "splits": {},
        "config": {},
        "gate": {
            "decision": "stop",
            "reasons": [why],
            "withheld": {},
            "champion_withheld": {},
            "against": "nothing",
            "comparisons": {},
        },
    }
