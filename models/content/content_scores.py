"""What heads say of the content that landed on each day: the table `content_scores`.

First the models of all cuts that the days need, each a piece of work of its own that stays in the
home; then, cut by cut, the days. A text that landed twice since its cut is scored once, on the
first day.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from contracts.content import LEARN_EVERY_DAYS, content_hash, cut_of
from contracts.content_specs import ContentDay, ContentScoresSpec
from contracts.content_tables import CONTENT_SCORES
from models.content.clean_texts import CleanTexts
from models.content.cut_models import CutModel, chosen, fit_cut, load_cut
from models.content.text.examples import Texts
from models.data.arrow_schema import arrow_schema
from models.distributed import rank
from models.pieces import Piece, do_pieces

SCHEMA = arrow_schema(CONTENT_SCORES)
BATCH_TEXTS = 8192
"""Texts whose scores are in memory at once."""


def score_days(spec: ContentScoresSpec) -> dict[str, Any]:
    """Write the table's rows of each day of the spec, in the order of its grain."""
    torch.set_num_threads(1)  # sums of several threads depend on how many there are
    if rank() == 0:
        for day in spec.days:
            Path(day.path).unlink(missing_ok=True)
    texts = CleanTexts(spec.files)
    models = [
        Piece(
            f"model as of {cut}",
            Path(folder),
            partial(fit_cut, date.fromisoformat(cut), texts, spec.heads, Path(folder)),
            cost=1,
        )
        for cut, folder in spec.models.items()
    ]
    do_pieces(models, spec.n_processes)
    by_cut = groupby(sorted(spec.days, key=_landed_on), key=lambda day: cut_of(day.landed_on))
    scored = [
        Piece(
            f"content from {cut} on",
            _mark(spec, cut),
            partial(_score_from, spec, texts, cut, tuple(days)),
            cost=1,
        )
        for cut, days in by_cut
    ]
    do_pieces(scored, spec.n_processes)
    if rank() == 0:
        for day in spec.days:
            Path(day.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(_scored(spec, day.landed_on), day.path)
    of_cuts = {cut: json.loads(_mark(spec, cut).read_text()) for cut in _cuts(spec)}
    return {"days": [of_cuts[cut_of(day.landed_on)] for day in spec.days]}


def _cuts(spec: ContentScoresSpec) -> set[date]:
    return {cut_of(day.landed_on) for day in spec.days}


def _mark(spec: ContentScoresSpec, cut: date) -> Path:
    """The file that is there once the days from a cut on are scored; it says by what."""
    return Path(spec.scratch, f"{cut}.scored.json")


def _landed_on(day: ContentDay) -> date:
    return day.landed_on


def _score_from(
    spec: ContentScoresSpec, texts: CleanTexts, cut: date, days: Sequence[ContentDay]
) -> str:
    """Score the days from a cut on, and leave a mark that says so."""
    newest, model, why = _model_of(spec, texts, cut)
    seen: set[bytes] = set()
    asked = {day.landed_on: day for day in days}
    n = 0
    for landed_on in _until(cut, days[-1].landed_on):
        new = _new_texts(texts, landed_on, seen)
        if landed_on in asked:
            n += _write(landed_on, _scored(spec, landed_on), model, new)
    said = {"model_id": model.model_id if model.heads else "", "as_of": str(model.cut), "why": why,
            "heads": [asdict(fit) for fit in newest.fits]}  # fmt: skip
    partial = _mark(spec, cut).with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(said))
    partial.replace(_mark(spec, cut))
    named = model.model_id[:12] or "none"
    return f"{n:,} rows by model {named}, {why}"


def _until(first: date, last: date) -> Iterator[date]:
    """Days from the first to the last."""
    for n in range((last - first).days + 1):
        yield first + timedelta(days=n)


def _model_of(
    spec: ContentScoresSpec, texts: CleanTexts, cut: date
) -> tuple[CutModel, CutModel, str]:
    """The model of a cut, what scores from it on, and why."""
    before = cut - timedelta(days=LEARN_EVERY_DAYS)
    champion = load_cut(before, Path(spec.models[str(before)]))
    challenger = load_cut(cut, Path(spec.models[str(cut)]))
    return challenger, *chosen(cut, texts, spec.heads, challenger, champion)


def _new_texts(texts: CleanTexts, landed_on: date, seen: set[bytes]) -> dict[str, str]:
    """Hash to text, by hash, of those that landed on a day and on none from the cut to it; `seen`
    takes them up, a few dozen bytes each. All new texts of the day are in memory."""
    new: dict[str, str] = {}
    for text in texts.texts(landed_on, landed_on + timedelta(days=1)):
        named = content_hash(text)
        key = bytes.fromhex(named[:32])
        if key not in seen:
            seen.add(key)
            new[named] = text
    return dict(sorted(new.items()))


def _scored(spec: ContentScoresSpec, landed_on: date) -> Path:
    """Where the rows of a day lie until all are there."""
    return Path(spec.scratch, f"{landed_on}.parquet")


def _write(landed_on: date, path: Path, model: CutModel, texts: dict[str, str]) -> int:
    """Write the file of a day; how many rows it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hashes, n = list(texts), 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for begin in range(0, len(hashes), BATCH_TEXTS):
            of_batch = hashes[begin : begin + BATCH_TEXTS]
            rows = _rows(landed_on, model, of_batch, [texts[h] for h in of_batch])
            n += len(rows)
            if len(rows):
                writer.write_table(rows)
    return n


def _rows(
    landed_on: date, model: CutModel, hashes: Sequence[str], texts: Sequence[str]
) -> pa.Table:
    """Rows of some texts, by hash and head."""
    if model.model is None or not model.heads:
        return SCHEMA.empty_table()
    scored = model.model.probabilities(Texts(texts))
    tables = []
    for head in model.heads:
        probabilities = scored[head.name].astype(np.float32)
        best, n, k = probabilities.argmax(axis=1), len(hashes), len(head.classes)
        offsets = pa.array(np.arange(n + 1, dtype=np.int32) * k)
        values = {
            "content_hash": pa.array(hashes, pa.string()),
            "head": pa.repeat(head.name, n),
            "model_id": pa.repeat(model.model_id, n),
            "landed_on": pa.repeat(pa.scalar(landed_on, pa.date32()), n),
            "class": pa.array(head.classes, pa.string()).take(pa.array(best)),
            "probability": pa.array(probabilities[np.arange(n), best]),
            "classes": pa.ListArray.from_arrays(
                offsets, pa.array(list(head.classes) * n, pa.string())
            ),
            "probabilities": pa.ListArray.from_arrays(offsets, pa.array(probabilities.ravel())),
        }
        tables.append(pa.table(values).cast(SCHEMA))
    return pa.concat_tables(tables).sort_by([("content_hash", "ascending"), ("head", "ascending")])
