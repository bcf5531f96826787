"""Rows of `recommendations`: lists, one row per place, with the titles of what is shown.

Letters: L lists of a batch, N items of all of them, I items of a surface that have a title.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.recommendation_tables import RANKER_EVENTS, REC_ITEMS, RECOMMENDATIONS
from contracts.specs import TableDay
from models.data.arrow_schema import arrow_schema

BATCH_LISTS = 1024
"""Lists that are in memory at a time, and a row group of what is written: rows are sorted by user
within a surface, so that whoever asks for a user reads one row group of each."""

_OF_LISTS = ("as_of", "surface", "user_key", "ranker_id", "policy_id")
_OF_ITEMS = ("item_ids", "values", "sources", "because", "propensities")


def recommendations(day: TableDay) -> Iterator[pa.Table]:
    """One row per surface, user and position, in the order of the lists."""
    titles: dict[str, pa.Table] = {}
    probabilities = [f"p_{event}" for event in RANKER_EVENTS]
    columns = [*_OF_LISTS, *_OF_ITEMS, *probabilities]
    for path in day.files["rec_lists"]:
        file = pq.ParquetFile(path)
        for batch in file.iter_batches(BATCH_LISTS, columns=columns, use_threads=False):
            lists = pa.Table.from_batches([batch])
            for surface in pc.unique(lists["surface"]).to_pylist():
                if surface not in titles:
                    titles[surface] = _titles(day.files["rec_items"], surface)
                of_surface = lists.filter(pc.equal(lists["surface"], surface))
                yield exploded(of_surface, titles[surface], day.release_id)


def exploded(lists: pa.Table, titles: pa.Table, release_id: str) -> pa.Table:
    """(N,): rows of `recommendations`.

    Args:
        lists: (L,): rows of `rec_lists` of one surface.
        titles: (I,): `item_id` and `title` of items that have one.
        release_id: the release that first publishes the rows.
    """
    lists = lists.combine_chunks()
    parents = pc.list_parent_indices(lists["item_ids"]).combine_chunks()
    lengths = pc.list_value_length(lists["item_ids"]).to_numpy()
    starts = np.cumsum(lengths) - lengths
    at = parents.to_numpy()
    places = np.arange(len(at)) - starts[at]
    items = pc.list_flatten(lists["item_ids"])
    because = pc.list_flatten(lists["because"])
    title, because_title = (
        titles["title"].take(pc.index_in(of, value_set=titles["item_id"]))
        for of in (items, because)
    )
    columns = {
        **{name: lists[name].take(parents) for name in _OF_LISTS},
        "position": pa.array(places + 1, pa.int32()),
        "item_id": items,
        "title": title,
        "value": pc.list_flatten(lists["values"]),
        **{f"p_{e}": _of_each(lists[f"p_{e}"], at, places) for e in RANKER_EVENTS},
        "sources": pc.list_flatten(lists["sources"]),
        "because": pc.if_else(pc.equal(because, ""), pa.scalar(None, pa.string()), because),
        "because_title": because_title,
        "propensity": pc.list_flatten(lists["propensities"]),
        "release_id": pa.repeat(release_id, len(at)),
    }
    schema = arrow_schema(RECOMMENDATIONS)
    return pa.table({name: columns[name] for name in schema.names}, schema)


def _of_each(
    lists: pa.ChunkedArray, parents: np.ndarray, places: np.ndarray
) -> pa.Array | pa.ChunkedArray:
    """(N,): the element of each item; null of items whose list has none."""
    lengths = pc.list_value_length(lists).to_numpy()
    starts = np.cumsum(lengths) - lengths
    is_empty = lengths[parents] == 0
    return pc.list_flatten(lists).take(pa.array(starts[parents] + places, mask=is_empty))


def _titles(files: Sequence[str], surface: str) -> pa.Table:
    """(I,): `item_id` and `title` of the surface's items that have one."""
    chosen = (pc.field("surface") == surface) & pc.field("title").is_valid()
    schema = pa.schema([arrow_schema(REC_ITEMS).field(name) for name in ("item_id", "title")])
    tables = [
        pq.read_table(path, columns=["item_id", "title"], filters=chosen, partitioning=None)
        for path in files
    ]
    return pa.concat_tables([schema.empty_table(), *(t.cast(schema) for t in tables)])
