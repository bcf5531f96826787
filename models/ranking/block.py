"""A block of users and what may be shown to them on a surface, as arrays.

Letters: I items of the surface, B users of the block, C candidates of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.errors import ContractError
from contracts.surfaces import SOURCES

NONE = -1
"""Code of an item without category or author, and the year of birth of a user who said none."""

SOURCE_NAMES = tuple(SOURCES)
"""Sources by their bits: the first is 1, the second 2, the third 4."""


def source_bit(name: str) -> int:
    """The bit of a source of candidates in a set of them."""
    return 1 << SOURCE_NAMES.index(name)


@dataclass(frozen=True)
class Items:
    """What a surface can recommend as of a day, by ascending `item_id`; an item's place is its
    index."""

    ids: pa.StringArray
    """(I,)."""
    categories: npt.NDArray[np.int32]
    """(I,): codes; -1: it has none."""
    authors: npt.NDArray[np.int32]
    """(I,): codes; -1: it has none."""
    author_keys: pa.StringArray
    """The `user_key` of each code of an author."""
    available: npt.NDArray[np.bool_]
    """(I,)."""
    min_ages: npt.NDArray[np.int32]
    """(I,): years that a user must have; 0: any number."""
    n_users: npt.NDArray[np.int64]
    """(I,): who gave a signal in the 30 days before."""

    @classmethod
    def of(cls, rows: pa.Table) -> Items:
        """The items of rows of `rec_items` of one surface and day, sorted by `item_id`."""
        categories, _ = _codes(rows["category_id"])
        authors, author_keys = _codes(rows["author_key"])
        return cls(
            ids=_flat(rows["item_id"]),
            categories=categories,
            authors=authors,
            author_keys=author_keys,
            available=_flat(rows["available"]).to_numpy(zero_copy_only=False),
            min_ages=_flat(pc.fill_null(rows["min_age"], 0)).to_numpy(zero_copy_only=False),
            n_users=_flat(rows["n_users_30d"]).to_numpy(zero_copy_only=False),
        )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Block:
    """Users of a surface with their candidates: those of user b are `starts[b]:starts[b + 1]`, in
    any order, each item once.

    Raises:
        ContractError: when made of arrays of other lengths than their docs say.
    """

    user_keys: pa.StringArray
    """(B,)."""
    birth_years: npt.NDArray[np.int32]
    """(B,): -1: unknown."""
    starts: npt.NDArray[np.int64]
    """(B + 1,)."""
    items: npt.NDArray[np.int32]
    """(C,): indices of items."""
    values: npt.NDArray[np.float32]
    """(C,): expected worth for the surface."""
    sources: npt.NDArray[np.int64]
    """(C,): sets of the sources that gave it, as bits: see `source_bit`."""
    because: pa.Array
    """(C,): texts or a dictionary of them: what explains it; empty where nothing does."""
    owned: npt.NDArray[np.bool_]
    """(C,): whether the user has it."""
    blocked: npt.NDArray[np.bool_]
    """(C,): whether the user blocked it or its author, or is blocked."""
    n_impressions: npt.NDArray[np.int64]
    """(C,): times it was shown in 30 days, since the user last did something with it."""
    probabilities: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """Event to (C,): calibrated probabilities; of those alone of which something was learnt."""

    def __post_init__(self) -> None:
        n_users, n = len(self.user_keys), int(self.starts[-1])
        expected = {
            "birth_years": n_users,
            "starts": n_users + 1,
            **dict.fromkeys(_OF_CANDIDATES, n),
        }
        lengths = {name: len(getattr(self, name)) for name in expected}
        expected |= {f"probabilities of {event}": n for event in self.probabilities}
        lengths |= {f"probabilities of {e}": len(p) for e, p in self.probabilities.items()}
        problems = [
            f"{name}: expected {expected[name]}, found {length}"
            for name, length in lengths.items()
            if length != expected[name]
        ]
        if problems:
            raise ContractError("block of candidates: " + "; ".join(problems))

    def __len__(self) -> int:
        return len(self.user_keys)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """(C,): the place in the block of each candidate's user."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


_OF_CANDIDATES = (
    "items", "values", "sources", "because", "owned", "blocked", "n_impressions",
)  # fmt: skip


def _codes(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int32], pa.StringArray]:
    """(I,): a code for each different text, -1 for null; and the texts by their codes."""
    encoded = _flat(column).dictionary_encode()
    codes = pc.fill_null(encoded.indices, NONE).to_numpy(zero_copy_only=False)
    return codes.astype(np.int32), encoded.dictionary


def _flat(column: pa.ChunkedArray) -> pa.Array:
    chunks = column.combine_chunks()
    return chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks
