"""The text model of a cut: trained on what was known before it, and chosen against the one before.

A model learns from labels of `LEARN_DAYS` before its cut, but for the newest `LEARN_EVERY_DAYS`,
which calibrate it and choose: between it and the model of the cut before, neither of which has
learnt from them. So what scores a day's content is a function of content and labels that had landed
before, whichever night asks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.content import FIXED_CLASSES, LEARN_DAYS, LEARN_EVERY_DAYS, MAX_CLASSES, MAX_EXAMPLES
from contracts.content_specs import ContentHead
from models.content.clean_texts import CleanTexts, LabelledText
from models.content.text.artifact import load_text_model, save_text_model, text_model_id
from models.content.text.examples import MISSING, Examples, Head, Texts
from models.content.text.fit import TextConfig, fit_text_model
from models.content.text.model import TextModel

Floats = NDArray[np.float64]
MIN_LABELS = 50
"""Labelled texts that a head needs to learn from."""
MIN_VALIDATION = 30
"""Labelled texts that a head needs to be judged by."""
_RESAMPLES = 200
_HEADS, _MODEL = "heads.json", "model"


@dataclass(frozen=True)
class HeadFit:
    """What became of a head as of a cut."""

    name: str
    n_train: int
    n_validation: int
    log_loss: float | None
    """Mean over the validation texts; None where the head is off."""
    constant_log_loss: float | None
    """That of the shares of its classes among the texts that it has learnt from."""
    off: str | None
    """Why the head is off; None: it is on."""


@dataclass(frozen=True)
class CutModel:
    """What has been learnt as of a cut."""

    cut: date
    model: TextModel | None
    """None: no head is on."""
    model_id: str
    fits: tuple[HeadFit, ...]

    @property
    def heads(self) -> tuple[Head, ...]:
        """Heads that are on."""
        on = {fit.name for fit in self.fits if fit.off is None}
        return () if self.model is None else tuple(h for h in self.model.heads if h.name in on)


def fit_cut(cut: date, texts: CleanTexts, asked: Sequence[ContentHead], folder: Path) -> str:
    """Train the model of a cut, and leave it in a folder; what came of it, in few words."""
    train, validation = _learnt_from(cut, texts, asked)
    heads, fits = _heads(asked, train, validation)
    fitted = None
    if heads:
        fitted = fit_text_model(heads, _examples(train, heads), _examples(validation, heads),
                                TextConfig())  # fmt: skip
        fits |= _judged(fitted, heads, train, validation)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    if fitted is not None:
        save_text_model(fitted, partial / _MODEL)
    listed = [asdict(fits[head.name]) for head in asked]
    (partial / _HEADS).write_text(json.dumps(listed, indent=1))
    os.replace(partial, folder)
    return "; ".join(_said(HeadFit(**fit)) for fit in listed)


def load_cut(cut: date, folder: Path) -> CutModel:
    """What `fit_cut` has left in a folder."""
    fits = tuple(HeadFit(**fit) for fit in json.loads((folder / _HEADS).read_text()))
    if not (folder / _MODEL).is_dir():
        return CutModel(cut, None, "", fits)
    model = load_text_model(folder / _MODEL)
    return CutModel(cut, model, text_model_id(model), fits)


def chosen(
    cut: date,
    texts: CleanTexts,
    asked: Sequence[ContentHead],
    challenger: CutModel,
    champion: CutModel | None,
) -> tuple[CutModel, str]:
    """The model that scores what lands from a cut on, and why: the new one, unless it has lost a
    head or is surely worse than the one before."""
    if champion is None or champion.model is None or not champion.heads:
        return challenger, "the first model" if challenger.heads else "no head is on"
    start = cut - timedelta(days=LEARN_EVERY_DAYS)
    validation = sorted(texts.labelled(start, cut, asked), key=_order)
    for head in champion.heads:
        if challenger.model is None or head.name not in {h.name for h in challenger.heads}:
            return champion, f"the new one lacks {head.name}"
        ours = _losses(challenger.model, head, validation)
        theirs = _losses(champion.model, head, validation)
        if len(ours) < MIN_VALIDATION:
            return champion, f"{len(ours)} labels of {head.name} are too few to compare"
        if _low_of_mean(ours - theirs) > 0:
            return champion, f"the new one is worse at {head.name}"
    return challenger, "not worse than the one before"


def _learnt_from(
    cut: date, texts: CleanTexts, asked: Sequence[ContentHead]
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Texts to learn from, the newest `MAX_EXAMPLES`, and those to be judged by; in an order that
    depends on no file."""
    start, since = (cut - timedelta(days=n) for n in (LEARN_DAYS, LEARN_EVERY_DAYS))
    newest: list[LabelledText] = []
    for text in texts.labelled(start, since, asked):
        newest.append(text)
        if len(newest) >= 2 * MAX_EXAMPLES:
            newest = sorted(newest, key=_order)[-MAX_EXAMPLES:]
    train = sorted(newest, key=_order)[-MAX_EXAMPLES:]
    validation = sorted(texts.labelled(since, cut, asked), key=_order)[-MAX_EXAMPLES:]
    return train, validation


def _order(text: LabelledText) -> tuple[date, str, list[tuple[str, str]]]:
    return text.landed_on, text.content_hash, sorted(text.labels.items())


def _heads(
    asked: Sequence[ContentHead], train: Sequence[LabelledText], validation: Sequence[LabelledText]
) -> tuple[tuple[Head, ...], dict[str, HeadFit]]:
    """Heads that can be learnt, with their classes, and why others are off."""
    heads, fits = [], {}
    for head in asked:
        name = head.name
        found = [text.labels[name] for text in train if name in text.labels]
        classes = FIXED_CLASSES.get(name) or tuple(sorted(set(found)))
        found = [label for label in found if label in classes]
        n_validation = sum(text.labels.get(name) in classes for text in validation)
        off = None
        if len(found) < MIN_LABELS:
            off = f"{len(found)} labelled texts are fewer than {MIN_LABELS}"
        elif len(set(found)) < 2:
            off = f"all labels are {found[0]}"
        elif len(classes) > MAX_CLASSES:
            off = f"{len(classes)} classes are more than {MAX_CLASSES}"
        elif n_validation < MIN_VALIDATION:
            off = f"{n_validation} newest labels are fewer than {MIN_VALIDATION} to judge it by"
        else:
            heads.append(Head(name, classes))
        fits[name] = HeadFit(name, len(found), n_validation, None, None, off)
    return tuple(heads), fits


def _examples(texts: Sequence[LabelledText], heads: Sequence[Head]) -> Examples:
    """Labels as numbers of classes; one that is no class of its head is missing."""
    labels = {
        head.name: np.array([_class_number(head, text) for text in texts], np.int64)
        for head in heads
    }
    return Examples(Texts([text.text for text in texts]), labels)


def _class_number(head: Head, text: LabelledText) -> int:
    label = text.labels.get(head.name)
    return head.classes.index(label) if label in head.classes else MISSING


def _judged(
    model: TextModel,
    heads: Sequence[Head],
    train: Sequence[LabelledText],
    validation: Sequence[LabelledText],
) -> dict[str, HeadFit]:
    """Each head beside the shares of its classes; one that is not surely better is off."""
    judged = {}
    for head in heads:
        learnt = [_class_number(head, text) for text in train]
        shares = np.bincount([n for n in learnt if n != MISSING], minlength=len(head.classes)) + 1.0
        shares /= shares.sum()
        numbers = [n for text in validation if (n := _class_number(head, text)) != MISSING]
        constants = -np.log(shares[numbers])
        losses = _losses(model, head, validation)
        is_better = _low_of_mean(constants - losses) > 0
        off = None if is_better else "it is not surely better than the shares of its classes"
        n_train = sum(n != MISSING for n in learnt)
        judged[head.name] = HeadFit(
            head.name, n_train, len(numbers), float(losses.mean()), float(constants.mean()), off
        )
    return judged


def _losses(model: TextModel, head: Head, texts: Sequence[LabelledText]) -> Floats:
    """Log loss of each text that has a label of the head, (N,); of a class that the model has never
    seen it is bounded."""
    labelled = [text for text in texts if _class_number(head, text) != MISSING]
    own = next(h for h in model.heads if h.name == head.name)
    texts_alone = Texts([text.text for text in labelled])
    probabilities = model.probabilities(texts_alone)[head.name]
    known = [_class_number(own, text) for text in labelled]
    seen = np.array(
        [p[n] if n != MISSING else 0.0 for p, n in zip(probabilities, known, strict=True)]
    )
    return -np.log(np.maximum(seen, 1e-6))


def _low_of_mean(values: Floats) -> float:
    """2.5th percentile of the mean of resamples."""
    rows = np.random.default_rng(0).integers(0, len(values), (_RESAMPLES, len(values)))
    return float(np.quantile(values[rows].mean(axis=1), 0.025))


def _said(fit: HeadFit) -> str:
    if fit.off is not None:
        return f"{fit.name} is off: {fit.off}"
    return (
        f"{fit.name} has log loss {fit.log_loss:.3f} where shares have {fit.constant_log_loss:.3f}"
    )
