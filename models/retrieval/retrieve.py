"""What models retrieve for each user of past days and tonight: the table `rec_retrieved`.

Of each surface, models are fitted on all histories as of the day, then users come by in batches, by
ascending key. What a user gets depends on nothing but the fitted models and the user's own history.
A surface as of a day is a piece of work that depends on no other: several are done at once, and
those that are done stay where retrieval was killed.

Letters: U users, I items, k candidates per source.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from scipy import sparse

from contracts.ranking_config import RankingConfig
from contracts.recommendation_tables import REC_HISTORIES, REC_RETRIEVED
from contracts.specs import RetrieveDay, RetrieveSpec
from contracts.surfaces import Surface
from models.data.arrow_schema import arrow_schema
from models.data.label_layout import as_numpy
from models.distributed import rank
from models.pieces import Piece, do_pieces
from models.retrieval.factorisation import fit_factors
from models.retrieval.histories import USER_COLUMNS, Histories, joined, read_items, to_histories
from models.retrieval.linear_items import fit_ease
from models.retrieval.retrieval_model import (
    ENTRIES,
    Candidates,
    LeftOut,
    RetrievalModel,
    SurfaceDay,
)
from models.retrieval.similar_users import fit_similar_users
from models.retrieval.two_tower import fit_two_tower
from models.retrieval.user_rows import UserRows

_LOG = logging.getLogger(__name__)

BATCH_USERS = 4096
"""Users whose candidates are in memory at once."""
COLUMNS = ("fold", *USER_COLUMNS, "item_ids", *ENTRIES)
"""What is read of histories."""
FITS: Mapping[str, Callable[[SurfaceDay], RetrievalModel]] = {
    "factors": fit_factors,
    "ease": fit_ease,
    "two_tower": fit_two_tower,
    "similar_users": fit_similar_users,
}
"""Source to what fits its model."""


def retrieve_days(spec: RetrieveSpec) -> dict[str, Any]:
    """Write the table's rows of each day of the spec, in the order of its grain."""
    torch.set_num_threads(1)  # sums of several threads depend on how many there are
    surfaces = sorted(spec.surfaces, key=lambda surface: surface.name)
    pieces = [
        Piece(
            f"{surface.name} as of {day.as_of}",
            path := part_path(day, surface),
            partial(write_part, surface, day, spec.config, path),
            cost=len(sources_of(surface)),
        )
        for day in spec.days
        for surface in surfaces
    ]
    if rank() == 0:
        for day in spec.days:
            Path(day.path).unlink(missing_ok=True)
    do_pieces(pieces, spec.config.processes)
    days = [
        Piece(f"as of {day.as_of}", Path(day.path), partial(_join, day, surfaces), cost=0)
        for day in spec.days
    ]
    do_pieces(days, spec.config.processes)
    return {"days": [_report(day, surfaces) for day in spec.days]}


def part_path(day: RetrieveDay, surface: Surface) -> Path:
    """Where the rows of a surface lie."""
    return Path(day.scratch, f"{day.as_of}-{surface.name}.parquet")


def write_part(surface: Surface, day: RetrieveDay, config: RankingConfig, path: Path) -> str:
    """Write the rows of one surface as of a day, with what was left out as metadata of the file;
    how many models there are."""
    retrieval = SurfaceRetrieval(surface, day, config)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f"{path.name}.{os.getpid()}.partial")
    schema = SCHEMA.with_metadata({_LEFT_OUT: json.dumps(retrieval.left_out)})
    with pq.ParquetWriter(partial_path, schema, compression="zstd") as writer:
        for rows in retrieval.rows():
            if len(rows):  # there are no row groups without rows
                writer.write_table(rows.cast(schema))
    os.replace(partial_path, path)
    n_models = retrieval.n_models
    return "1 model" if n_models == 1 else f"{n_models} models"


def sources_of(surface: Surface) -> list[str]:
    """Sources of the surface that are models, by name."""
    return sorted(set(surface.sources) & set(FITS))


def _join(day: RetrieveDay, surfaces: Sequence[Surface]) -> str:
    """Write the rows of all surfaces, one after the other, which takes no time."""
    path = Path(day.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with pq.ParquetWriter(partial_path, SCHEMA, compression="zstd") as writer:
        for surface in surfaces:
            # Ids stay numbers in dictionaries until they are written: half the time.
            file = pq.ParquetFile(part_path(day, surface), read_dictionary=_ARRAYS_OF_TEXTS)
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, use_threads=False)
                writer.write_table(rows.cast(SCHEMA))
    os.replace(partial_path, path)
    return ""


def _report(day: RetrieveDay, surfaces: Sequence[Surface]) -> dict[str, Any]:
    """How many rows a day has, and by surface which sources were left out and why."""
    schemas = {s.name: pq.read_schema(part_path(day, s)) for s in surfaces}
    return {
        "rows": pq.read_metadata(day.path).num_rows,
        "left_out": {
            name: json.loads(schema.metadata[_LEFT_OUT]) for name, schema in schemas.items()
        },
    }


class SurfaceRetrieval:
    """The models of one surface as of one day, by fold and source."""

    def __init__(self, surface: Surface, day: RetrieveDay, config: RankingConfig):
        self._surface, self._day, self._config = surface, day, config
        self._sources = sources_of(surface)
        self._items = read_items(day.items, surface.name, day.as_of)
        self._item_ids = self._items["item_id"].combine_chunks()
        self.left_out: dict[str, str] = {}
        """Source to why it gives no candidates."""
        self._models = {fold: self._fitted(fold) for fold in self._folds()} if self._sources else {}

    @property
    def n_models(self) -> int:
        """How many there are of all users; none where nobody is known."""
        return max(map(len, self._models.values()), default=0)

    def rows(self) -> Iterator[pa.Table]:
        """Rows of the table, a batch of users at a time."""
        if not any(self._models.values()):
            return
        stream = self._histories()
        while (batch := stream.next(BATCH_USERS)).num_rows:
            tables = []
            for fold, models in self._models.items():
                histories = to_histories(
                    batch.filter(pc.equal(batch["fold"], fold)), self._item_ids
                )
                hidden = self._hidden(histories)
                for source, model in models.items():
                    candidates = model.candidates(histories, hidden)
                    tables.append(self._table(histories, fold, source, candidates))
            yield pa.concat_tables(tables).sort_by(_ORDER)

    def _histories(self, columns: Sequence[str] = COLUMNS) -> UserRows:
        day = self._day
        return UserRows(REC_HISTORIES, day.histories, self._surface.name, day.as_of, columns)

    def _folds(self) -> list[int]:
        stream = self._histories(["fold"])
        folds: set[int] = set()
        while (batch := stream.next(BATCH_USERS)).num_rows:
            folds |= set(batch["fold"].unique().to_pylist())
        return sorted(folds)

    def _fitted(self, fold: int) -> dict[str, RetrievalModel]:
        """Models by source, of those for which there is enough to learn from."""
        stream, parts = self._histories(), []
        while (batch := stream.next(BATCH_USERS)).num_rows:
            parts.append(to_histories(batch.filter(pc.equal(batch["fold"], fold)), self._item_ids))
        day = SurfaceDay(self._surface, self._day.as_of, self._items, joined(parts), self._config)
        models = {}
        for source in self._sources:
            try:
                models[source] = FITS[source](day)
            except LeftOut as reason:
                self.left_out[source] = str(reason)
                _LOG.info(f"{self._surface.name} as of {self._day.as_of}: no {source}: {reason}")
        return models

    def _hidden(self, histories: Histories) -> sparse.csr_array:
        """(U, I): what is not retrieved for a user: what the user has, unless it may be shown
        again, what is blocked, and the user."""
        hidden = histories.entries["blocked"] > 0
        if not self._surface.repeats:
            hidden |= histories.entries["owned"] > 0
        users, items = histories.rows[hidden], histories.items[hidden]
        if self._surface.target == "user":
            at = pc.index_in(histories.users["user_key"], value_set=self._item_ids)
            selves = as_numpy(pc.fill_null(at, -1))
            users = np.concatenate([users, np.flatnonzero(selves >= 0)])
            items = np.concatenate([items, selves[selves >= 0]])
        shape = (len(histories), len(self._item_ids))
        return sparse.csr_array((np.ones(len(users), bool), (users, items)), shape=shape)

    def _table(
        self, histories: Histories, fold: int, source: str, candidates: Candidates
    ) -> pa.Table:
        """Rows of the users who get any candidates."""
        best, there = candidates.best, candidates.best.items >= 0
        users = np.flatnonzero(there.any(axis=1))
        there, n = there[users], len(users)
        offsets = pa.array(np.concatenate([[0], np.cumsum(there.sum(axis=1))]), pa.int32())
        because = candidates.because[users][there]
        values = {
            "as_of": pa.repeat(pa.scalar(self._day.as_of, pa.date32()), n),
            "surface": pa.repeat(self._surface.name, n),
            "user_key": histories.users["user_key"].take(users),
            "fold": pa.repeat(pa.scalar(fold, pa.int32()), n),
            "source": pa.repeat(source, n),
            "item_ids": self._lists(offsets, self._item_ids.take(best.items[users][there])),
            "scores": self._lists(offsets, pa.array(best.scores[users][there], pa.float32())),
            "because": self._lists(
                offsets,
                pc.fill_null(self._item_ids.take(pa.array(because, mask=because < 0)), ""),
            ),
        }
        return pa.table(values, SCHEMA)

    @staticmethod
    def _lists(offsets: pa.Array, values: pa.Array) -> pa.ListArray:
        return pa.ListArray.from_arrays(offsets, values)


SCHEMA = arrow_schema(REC_RETRIEVED)
_LEFT_OUT = b"left_out"
_ARRAYS_OF_TEXTS = ["item_ids.list.element", "because.list.element"]
_ORDER = [(name, "ascending") for name in ("user_key", "fold", "source")]
