"""Lists for every known user: rankers are fitted on past days, and score the day's candidates.

The ranker of a surface is a piece of work that depends on no other, and so are the lists of a
surface for a range of users, whose bounds do not depend on who ranks them. Several pieces are done
at once, and those that are done stay where ranking was killed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from contracts.errors import ContractError
from contracts.ranking_config import RankingConfig
from contracts.recommendation_tables import REC_LISTS
from contracts.specs import RankDay, RankSpec
from contracts.surfaces import Surface
from models.data.arrow_schema import arrow_schema
from models.distributed import rank
from models.pieces import Piece, do_pieces, wait_for_ranks
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
    return {"days": [_rank_day(spec, day) for day in spec.days]}


def _rank_day(spec: RankSpec, day: RankDay) -> dict[str, Any]:
    surfaces = sorted(spec.surfaces, key=lambda surface: surface.name)
    fit_rankers(spec, day)
    rankers = load_rankers(Path(day.folder))
    shards = shards_of(day, surfaces)
    pieces = [
        Piece(
            f"{surface.name}: lists, {number + 1} of {len(shards)}",
            part := _scratch(day, f"{number}-{surface.name}.parquet"),
            partial(write_lists, day, surface, rankers[surface.name], users, part),
            cost=len(surface.sources),
        )
        for number, users in enumerate(shards)
        for surface in surfaces
    ]
    do_pieces(pieces, spec.config.processes)
    paths = [_path(day, number) for number in range(len(pieces))]
    if rank() == 0:
        Path(day.path).parent.mkdir(parents=True, exist_ok=True)
        for piece, path in zip(pieces, paths, strict=True):
            shutil.copyfile(piece.path, path)
    wait_for_ranks()
    return {
        "rows": sum(pq.read_metadata(piece.path).num_rows for piece in pieces),
        "paths": paths,
        "surfaces": json.loads((Path(day.folder) / _REPORT).read_text()),
    }


def fit_rankers(spec: RankSpec, day: RankDay) -> None:
    """Write the ranker of each surface, and a report beside them, unless they are there."""
    folder = Path(day.folder)
    if (folder / _REPORT).exists():
        return
    before = _champion(day)
    fits = {surface.name: _scratch(day, f"{surface.name}-ranker") for surface in spec.surfaces}
    pieces = [
        Piece(
            f"{surface.name}: ranker",
            (fit := fits[surface.name]) / _REPORT,
            partial(write_ranker, surface, day, spec.config, before.get(surface.name), fit),
            cost=len(surface.sources),
        )
        for surface in spec.surfaces
    ]
    do_pieces(pieces, spec.config.processes)
    if rank() == 0:
        save_rankers({name: load_rankers(fit)[name] for name, fit in fits.items()}, folder)
        reports = {name: json.loads((fit / _REPORT).read_text()) for name, fit in fits.items()}
        _replace(folder / _REPORT, json.dumps(reports, indent=1, sort_keys=True))
    wait_for_ranks()


def write_ranker(
    surface: Surface,
    day: RankDay,
    config: RankingConfig,
    champion: SurfaceRanker | None,
    folder: Path,
) -> str:
    """Write the ranker of one surface, and last its report; what orders."""
    fitted = fit_surface(surface, day, config, champion)
    save_rankers({surface.name: fitted.ranker}, folder)
    report = {**fitted.report, "ranker_id": ranker_id(fitted.ranker)}
    _replace(folder / _REPORT, json.dumps(report, sort_keys=True))
    return str(report["order_by"])


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


def write_lists(
    day: RankDay, surface: Surface, ranker: SurfaceRanker, users: tuple[str, str], path: Path
) -> str:
    """Write the lists of a range of users, sorted by user; how many users there are."""
    if ranker.names != feature_names(surface):
        raise ContractError(
            f"{day.folder}: the ranker of {surface.name} knows other features; fit it anew"
        )
    catalogue, n = read_catalogue(day.inputs, surface), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with pq.ParquetWriter(partial_path, arrow_schema(REC_LISTS), compression="zstd") as writer:
        for block in read_candidates(day.inputs, surface, catalogue.ids, users=users):
            rows = _rows(day, surface, ranker, catalogue, block)
            writer.write_table(rows)
            n += len(rows)
    os.replace(partial_path, path)
    return f"{n:,} users"


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
    """Where the lists of a piece go."""
    path = Path(day.path)
    return day.path if number == 0 else str(path.with_name(f"{path.stem}-{number}.parquet"))


def _scratch(day: RankDay, name: str) -> Path:
    """Where what is done stays."""
    return Path(day.scratch, f"{day.inputs.as_of}-{name}")


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)
