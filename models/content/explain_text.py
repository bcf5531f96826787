"""Which words made a text what it was taken for: what becomes of the answer without each."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from contracts.content import content_hash
from contracts.content_specs import ExplainContentSpec
from contracts.errors import ContractError
from models.content.clean_texts import CleanTexts
from models.content.cut_models import CutModel, load_cut
from models.content.text.examples import Texts
from models.content.text.model import TextModel

MAX_WORDS = 400
"""Words that are left out one after another; what comes behind them is read, but not explained."""


def explain_text(spec: ExplainContentSpec) -> dict[str, Any]:
    """Effects of words by leaving each out: by how much the log-odds of the class are lower without
    it (Li et al., Understanding neural networks through representation erasure, 2016).

    Raises:
        ContractError: the text, or the model that scored it, is not kept any more.
    """
    text = _text(spec)
    learnt, model = _model(spec)
    words = text.split()
    n = min(len(words), MAX_WORDS)
    without = [" ".join(words[:at] + words[at + 1 :]) for at in range(n)]
    probabilities = model.probabilities(Texts([text, *without]))
    heads = []
    for head in learnt.heads:
        of_head = probabilities[head.name].astype(np.float64)
        best = int(of_head[0].argmax())
        p = np.clip(of_head[:, best], 1e-7, 1 - 1e-7)
        log_odds = np.log(p / (1 - p))
        heads.append(
            {
                "head": head.name,
                "class": head.classes[best],
                "probability": float(of_head[0, best]),
                "effects": (log_odds[0] - log_odds[1:]).tolist(),
            }
        )
    return {"words": words[:n], "heads": heads}


def _text(spec: ExplainContentSpec) -> str:
    day = spec.landed_on
    for text in CleanTexts(spec.files).texts(day, day + timedelta(days=1)):
        if content_hash(text) == spec.content_hash:
            return text
    raise ContractError(f"no clean table has that text any more among what landed on {day}")


def _model(spec: ExplainContentSpec) -> tuple[CutModel, TextModel]:
    for folder in spec.models:
        learnt = load_cut(date.min, Path(folder))
        if learnt.model is not None and learnt.model_id == spec.model_id:
            return learnt, learnt.model
    raise ContractError(
        f"the model {spec.model_id} that scored the text is not kept any more; newer texts can be "
        "explained"
    )
