"""The text model of a cut: trained on what was known before it, and chosen against the one before.

A model learns from labels of `LEARN_DAYS` before its cut, but for those of the newest
`LEARN_EVERY_DAYS`: of the texts among these that it has not learnt from, half calibrate it, and the
other half says whether its heads are on, and whether it or the model of the cut before scores. So
what scores a day's content is a function of content and labels that had landed before, whichever
night asks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from heapq import nlargest
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
MIN_HELD_OUT = 10
"""Labelled texts that a head needs to be calibrated by, and as many to be judged by."""
_RESAMPLES = 200
_HEADS, _MODEL = "heads.json", "model"


@dataclass(frozen=True)
class HeadFit:
    """What became of a head as of a cut."""

    name: str
    n_train: int
    n_judged: int
    log_loss: float | None
    """Mean over the texts that judge it; None where it was not fitted."""
    constant_log_loss: float | None
    """That of the shares of its classes among the texts that calibrate it."""
    off: str | None
    """Why the head is off; None: it is on."""


@dataclass(frozen=True)
class Labelled:
    """Texts with labels as of a cut, each once, in an order that depends on no file."""

    train: Sequence[LabelledText]
    calibration: Sequence[LabelledText]
    judged: Sequence[LabelledText]


@dataclass(frozen=True)
class CutModel:
    """What has been learnt as of a cut."""

    cut: date
    model: TextModel | None
    """None: no head could be fitted."""
    model_id: str
    fits: tuple[HeadFit, ...]

    @property
    def heads(self) -> tuple[Head, ...]:
        """Heads that are on."""
        on = {fit.name for fit in self.fits if fit.off is None}
        return () if self.model is None else tuple(h for h in self.model.heads if h.name in on)


def fit_cut(cut: date, texts: CleanTexts, asked: Sequence[ContentHead], folder: Path) -> str:
    """Train the model of a cut, and leave it in a folder; what came of it, in few words."""
    known = labelled_as_of(cut, texts, asked)
    heads, fits = _heads(asked, known)
    fitted = None
    if heads:
        train, calibration = (_examples(part, heads) for part in (known.train, known.calibration))
        fitted = fit_text_model(heads, train, calibration, TextConfig())
        fits |= _judged(fitted, heads, known)
    partial = folder.with_name(f"partial-{os.getpid()}-{folder.name}")
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
    champion: CutModel,
) -> tuple[CutModel, str]:
    """The model that scores what lands from a cut on, and why: the new one, unless it has lost a
    head or is surely worse than the one before."""
    if champion.model is None or not champion.heads:
        return challenger, "it is the first" if challenger.heads else "no head is on"
    lost = {head.name for head in champion.heads} - {head.name for head in challenger.heads}
    if challenger.model is None or lost:
        return champion, f"a newer one lacks {', '.join(sorted(lost))}"
    judged = labelled_as_of(cut, texts, asked).judged
    either = [
        Head(head.name, tuple(sorted({*head.classes, *other.classes})))
        for head in champion.heads
        for other in challenger.heads
        if other.name == head.name
    ]
    ours = _losses(challenger.model, either, judged)
    theirs = _losses(champion.model, either, judged)
    for name in ours:
        if _low_of_mean(ours[name] - theirs[name]) > 0:
            return champion, f"a newer one is worse at {name}"
    return challenger, "it is not worse than the one before"


def labelled_as_of(cut: date, texts: CleanTexts, asked: Sequence[ContentHead]) -> Labelled:
    """What a model of a cut may learn from, and what tells how good it is: other texts, which
    landed later."""
    start, since = (cut - timedelta(days=n) for n in (LEARN_DAYS, LEARN_EVERY_DAYS))
    held_out = _newest(texts.labelled(since, cut, asked))
    held = {text.content_hash for text in held_out}
    before = _newest(texts.labelled(start, since, asked))
    train = [text for text in before if text.content_hash not in held]
    halves: tuple[list[LabelledText], list[LabelledText]] = ([], [])
    for text in held_out:
        halves[int(text.content_hash[0], 16) % 2].append(text)
    return Labelled(train, *halves)


def _newest(rows: Iterable[LabelledText]) -> list[LabelledText]:
    """Each text once, with its newest label of each head (of those of a day the first by name); of
    each head the newest `MAX_EXAMPLES`. The same whatever the order of rows."""
    by_head: dict[str, dict[str, tuple[date, str, str]]] = {}
    for row in rows:
        for head, label in row.labels.items():
            kept = by_head.setdefault(head, {})
            before = kept.get(row.content_hash)
            if before is None or (row.landed_on, before[1]) > (before[0], label):
                kept[row.content_hash] = (row.landed_on, label, row.text)
            if len(kept) >= 2 * MAX_EXAMPLES:
                by_head[head] = _trimmed(kept)
    merged: dict[str, LabelledText] = {}
    for head, kept in sorted(by_head.items()):
        for hash_, (landed_on, label, text) in _trimmed(kept).items():
            other = merged.get(hash_, LabelledText(landed_on, hash_, text, {}))
            merged[hash_] = LabelledText(
                max(landed_on, other.landed_on), hash_, text, {**other.labels, head: label}
            )
    return sorted(merged.values(), key=lambda text: (text.landed_on, text.content_hash))


def _trimmed(
    kept: Mapping[str, tuple[date, str, str]],
) -> dict[str, tuple[date, str, str]]:
    """The newest `MAX_EXAMPLES`; of those of a day, by hash."""
    if len(kept) <= MAX_EXAMPLES:
        return dict(kept)
    return dict(nlargest(MAX_EXAMPLES, kept.items(), key=lambda item: (item[1][0], item[0])))


def _heads(
    asked: Sequence[ContentHead], known: Labelled
) -> tuple[tuple[Head, ...], dict[str, HeadFit]]:
    """Heads that can be learnt, with their classes, and why others are off."""
    heads, fits = [], {}
    for head in asked:
        name = head.name
        found = [text.labels[name] for text in known.train if name in text.labels]
        classes = FIXED_CLASSES.get(name) or tuple(sorted(set(found)))
        found = [label for label in found if label in classes]
        n_calibration, n_judged = (
            sum(text.labels.get(name) in classes for text in part)
            for part in (known.calibration, known.judged)
        )
        off = None
        if len(found) < MIN_LABELS:
            off = f"{len(found)} labelled texts are fewer than {MIN_LABELS}"
        elif len(set(found)) < 2:
            off = f"all labels are {found[0]}"
        elif len(classes) > MAX_CLASSES:
            off = f"{len(classes)} classes are more than {MAX_CLASSES}"
        elif min(n_calibration, n_judged) < MIN_HELD_OUT:
            off = (
                f"of {n_calibration + n_judged} newest labels of other texts {n_calibration} "
                f"calibrate it and {n_judged} judge it: it needs {MIN_HELD_OUT} of each"
            )
        else:
            heads.append(Head(name, classes))
        fits[name] = HeadFit(name, len(found), n_judged, None, None, off)
    return tuple(heads), fits


def _examples(texts: Sequence[LabelledText], heads: Sequence[Head]) -> Examples:
    """Labels as numbers of classes; one that is no class of its head is missing."""
    labels = {head.name: _class_numbers(head, texts) for head in heads}
    return Examples(Texts([text.text for text in texts]), labels)


def _class_numbers(head: Head, texts: Sequence[LabelledText]) -> NDArray[np.int64]:
    """(N,), `MISSING` where a text has no label of the head, or one that is no class of it."""
    numbers = {label: n for n, label in enumerate(head.classes)}
    found = (numbers.get(text.labels.get(head.name, ""), MISSING) for text in texts)
    return np.fromiter(found, np.int64, len(texts))


def _judged(model: TextModel, heads: Sequence[Head], known: Labelled) -> dict[str, HeadFit]:
    """Each head beside the shares of its classes; one that is not surely better is off."""
    judged, losses = {}, _losses(model, heads, known.judged)
    for head in heads:
        learnt, calibrating, numbers = (
            of[of != MISSING]
            for of in (
                _class_numbers(head, part)
                for part in (known.train, known.calibration, known.judged)
            )
        )
        shares = np.bincount(calibrating, minlength=len(head.classes)) + 1.0
        constants = -np.log(shares[numbers] / shares.sum())
        is_better = _low_of_mean(constants - losses[head.name]) > 0
        off = None if is_better else "it is not surely better than the shares of its classes"
        loss, constant = (float(of.mean()) for of in (losses[head.name], constants))
        judged[head.name] = HeadFit(head.name, len(learnt), len(numbers), loss, constant, off)
    return judged


def _losses(
    model: TextModel, heads: Sequence[Head], texts: Sequence[LabelledText]
) -> dict[str, Floats]:
    """Of each head the log loss of each text that has a label of it, (N,); of a class that the
    model has never seen it is bounded."""
    probabilities = model.probabilities(Texts([text.text for text in texts]))
    losses = {}
    for head in heads:
        labelled = np.flatnonzero(_class_numbers(head, texts) != MISSING)
        own = next(h for h in model.heads if h.name == head.name)
        numbers = _class_numbers(own, texts)[labelled]
        seen = probabilities[head.name][labelled, numbers] * (numbers != MISSING)
        losses[head.name] = -np.log(np.maximum(seen.astype(np.float64), 1e-6))
    return losses


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
