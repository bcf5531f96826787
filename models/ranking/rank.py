"""Lists for every known user: rankers are fitted on past days, and score the day's candidates.

Users are cut into shards by ranges of their keys, whose bounds do not depend on who ranks them. A
shard's lists are there whole or not at all, and what is there is not made again, so that ranking
goes on where it was killed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.distributed as dist

from contracts.errors import ContractError
from contracts.recommendation_tables import REC_LISTS
from contracts.specs import RankDay, RankSpec
from contracts.surfaces import Surface
from models.data.arrow_schema import arrow_schema
from models.distributed import n_ranks, rank
from models.ranking.artifact import load_rankers, ranker_id, save_rankers
from models.ranking.candidates import Candidates, read_candidates
from models.ranking.catalogue import Catalogue, read_catalogue
from models.ranking.features import feature_names, features
from models.ranking.fit_surface import fit_surface
from models.ranking.lists import list_rows
from models.ranking.samples import block_of
from models.ranking.surface_ranker import SurfaceRanker

SHARD_USERS = 65_536
_REPORT = "report.json"


def rank_days(spec: RankSpec) -> dict[str, Any]:
    """Fit the rankers of each day, and write its lists."""
    torch.set_num_threads(1)  # sums of several threads depend on how many there are
    if n_ranks() > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    return {"days": [_rank_day(spec, day) for day in spec.days]}


def _rank_day(spec: RankSpec, day: RankDay) -> dict[str, Any]:
    surfaces = sorted(spec.surfaces, key=lambda surface: surface.name)
    if rank() == 0:
        fit_rankers(spec, day)
    _wait()
    rankers = load_rankers(Path(day.folder))
    shards = shards_of(day, surfaces)
    for number in range(rank(), len(shards), n_ranks()):
        write_shard(day, surfaces, rankers, shards[number], _scratch(day, number))
    _wait()
    paths = [_path(day, number) for number in range(len(shards))]
    if rank() == 0:
        Path(day.path).parent.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(paths):
            shutil.copyfile(_scratch(day, number), path)
    return {
        "rows": sum(pq.read_metadata(_scratch(day, n)).num_rows for n in range(len(shards))),
        "paths": paths,
        "surfaces": json.loads((Path(day.folder) / _REPORT).read_text()),
    }


def fit_rankers(spec: RankSpec, day: RankDay) -> None:
    """Write the ranker of each surface, and a report beside it, unless they are there."""
    folder = Path(day.folder)
    if (folder / _REPORT).exists():
        return
    before = _champion(day)
    rankers, reports = {}, {}
    for surface in spec.surfaces:
        fitted = fit_surface(surface, day, spec.config, before.get(surface.name))
        rankers[surface.name] = fitted.ranker
        reports[surface.name] = {**fitted.report, "ranker_id": ranker_id(fitted.ranker)}
    save_rankers(rankers, folder)
    _replace(folder / _REPORT, json.dumps(reports, indent=1, sort_keys=True))


def _champion(day: RankDay) -> Mapping[str, SurfaceRanker]:
    """The rankers of the current release; none where it has none that this version knows."""
    if day.champion is None:
        return {}
    try:
        return load_rankers(Path(day.champion))
    except ContractError:
        return {}


def shards_of(day: RankDay, surfaces: Sequence[Surface]) -> list[tuple[str, str]]:
    """Ranges of users: the first `user_key`, and the one before which to stop; empty texts are no
    bounds."""
    if not surfaces:
        return [("", "")]
    # Every known user has one history on every surface: their keys are all that is kept of them.
    chosen = [("surface", "==", surfaces[0].name), ("fold", "==", 0)]
    keys = pa.concat_tables(
        [
            pq.read_table(path, columns=["user_key"], filters=chosen, partitioning=None)
            for path in day.inputs.histories
        ]
        or [pa.table({"user_key": pa.array([], pa.string())})]
    )["user_key"]
    ordered = keys.combine_chunks().sort()
    bounds = ["", *(ordered[i].as_py() for i in range(SHARD_USERS, len(ordered), SHARD_USERS)), ""]
    return list(pairwise(bounds))


def write_shard(
    day: RankDay,
    surfaces: Sequence[Surface],
    rankers: Mapping[str, SurfaceRanker],
    users: tuple[str, str],
    path: Path,
) -> None:
    """The lists of a range of users, sorted by surface and user."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with pq.ParquetWriter(partial, arrow_schema(REC_LISTS), compression="zstd") as writer:
        for surface in surfaces:
            ranker, catalogue = rankers[surface.name], read_catalogue(day.inputs, surface)
            if ranker.names != feature_names(surface):
                raise ContractError(
                    f"{day.folder}: the ranker of {surface.name} knows other features; fit it anew"
                )
            for block in read_candidates(day.inputs, surface, catalogue.ids, users=users):
                writer.write_table(_rows(day, surface, ranker, catalogue, block))
    os.replace(partial, path)


def _rows(
    day: RankDay,
    surface: Surface,
    ranker: SurfaceRanker,
    catalogue: Catalogue,
    candidates: Candidates,
) -> pa.Table:
    """Rows of `rec_lists` of some users."""
    inputs = features(surface, catalogue, candidates)
    probabilities = ranker.probabilities(inputs)
    values = ranker.values(surface, inputs, probabilities).astype(np.float32)
    if not np.isfinite(values).all():
        raise ContractError(f"{surface.name}: some values are not finite numbers")
    block = block_of(
        catalogue,
        candidates,
        values,
        {event: p.astype(np.float32) for event, p in probabilities.items()},
    )
    return list_rows(
        surface, day.inputs.as_of, catalogue.items, block, ranker_id(ranker), day.release_id
    )


def _path(day: RankDay, number: int) -> str:
    """Where the lists of a shard go."""
    path = Path(day.path)
    return day.path if number == 0 else str(path.with_name(f"{path.stem}-{number}.parquet"))


def _scratch(day: RankDay, number: int) -> Path:
    return Path(day.scratch, f"{day.inputs.as_of}-{number}.parquet")


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def _wait() -> None:
    """Until all ranks are here."""
    if n_ranks() > 1:
        dist.barrier()
