"""Where what is said of a text comes from: its row, and the words that made it what it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from contracts.content import CONTENT_SOURCES, LEARN_EVERY_DAYS, content_hash, cut_of
from contracts.content_specs import ExplainContentSpec
from contracts.content_tables import CONTENT_SCORES
from contracts.days import ONE_DAY
from contracts.errors import UsageError
from contracts.hashes import short_hash
from flows.engine.model_process import run_models
from flows.engine.run import Run
from flows.lifecycle.progress import Say
from flows.storage.location import join
from flows.storage.parquet_files import read_rows

_HASH_DIGITS = 64


@dataclass(frozen=True)
class ScoredText:
    """What heads say of a text, and why."""

    content_hash: str
    landed_on: date
    model_id: str
    words: Sequence[str]
    heads: Sequence[dict[str, Any]]
    """Of each head its class, the probability, and by how much each word raises its log-odds."""


def explain_content(run: Run, what: str, say: Say) -> ScoredText:
    """What the newest model that has scored a text says of it, and which words made it say so.

    Args:
        run: which home.
        what: a `content_hash`, or the id of a post, review, comment or item as the clean tables
            have it.
        say: takes lines of progress.

    Raises:
        UsageError: nothing that is scored is called so.
        ContractError: its model is not kept any more.
    """
    hashes = {what} if len(what) == _HASH_DIGITS else _hashes_of(run, what)
    found = [
        row
        for file in run.lake.files(CONTENT_SCORES)
        for row in read_rows(
            file.path,
            columns=["content_hash", "landed_on", "model_id"],
            filters=pc.field("content_hash").isin(pa.array(sorted(hashes), pa.string())),
        ).to_pylist()
    ]
    if not found:
        raise UsageError(
            f"no scored text is called {what}: expected a content_hash, as in content_scores, or "
            "the id of a post, review, comment or item with a text"
        )
    row = max(found, key=lambda row: (row["landed_on"], row["content_hash"]))
    report = _explained(run, row, say)
    return ScoredText(
        row["content_hash"], row["landed_on"], row["model_id"], report["words"], report["heads"]
    )


def _hashes_of(run: Run, id_: str) -> set[str]:
    """Hashes of the texts of what is called so."""
    return {
        content_hash(text)
        for source in CONTENT_SOURCES
        for file in run.lake.files(source.table)
        for text in read_rows(
            file.path,
            columns=[source.text],
            filters=(pc.field(source.id) == id_) & pc.field(source.text).is_valid(),
        )[source.text].to_pylist()
    }


def _explained(run: Run, row: dict[str, Any], say: Say) -> dict[str, Any]:
    """The report of the process; what it leaves says words of the text, and is removed."""
    home, day = run.settings.home_folder, row["landed_on"]
    cut = cut_of(day)
    names = tuple(f"{c}-" for c in (cut, cut - timedelta(days=LEARN_EVERY_DAYS)))
    spec = ExplainContentSpec(
        row["content_hash"],
        day,
        {
            source.table.name: tuple(
                file.path for file in run.lake.files(source.table, day, day + ONE_DAY)
            )
            for source in CONTENT_SOURCES
        },
        row["model_id"],
        tuple(
            str(home.storage.local_path(folder.location))
            for folder in home.storage.folders(home.content_models)
            if folder.location.rsplit("/", 1)[-1].startswith(names)
        ),
    )
    name = f"explain-{short_hash(row['content_hash'])}"
    folder = home.storage.local_path(join(home.runs, f"{run.run_id}-{name}"))
    try:
        return run_models(spec, folder, say, run.settings.key_of_weights())
    finally:
        home.storage.remove_folder(str(folder))
