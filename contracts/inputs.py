"""Which columns of a table the model reads, and as what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.errors import ContractError
from contracts.features import NUMERIC, features_with


@dataclass(frozen=True)
class Inputs:
    """Columns by kind. F numeric features, I ids."""

    numeric: tuple[tuple[str, str], ...]
    """Name and encoding: counts, money and days are taken as logarithms, other numbers as are."""
    ids: tuple[str, ...]
    events: bool = True
    """Whether the columns `seq_…` hold the last events."""
    text: bool = True
    """Whether the column `text_tokens` holds hashed words."""
    vectors: tuple[tuple[str, int], ...] = ()
    """Columns of precomputed vectors, of texts or images, and how many numbers each has."""
    attributes: tuple[str, ...] = ()
    """Columns of texts `name=value`: each name that training has seen is an id of its own."""

    @property
    def flat(self) -> tuple[str, ...]:
        """Columns besides the sequences."""
        return (
            *(name for name, _ in self.numeric),
            *self.ids,
            *(name for name, _ in self.vectors),
            *self.attributes,
        )

    def check_same(self, saved: Mapping[str, Any]) -> None:
        """Refuse a model that was fitted on other inputs.

        Raises:
            ContractError: naming what is there in one of the two only.
        """
        now = self.to_json()
        for what in ("numeric", "ids", "vectors", "attributes"):
            then, names = (
                [entry[0] if isinstance(entry, list) else entry for entry in of.get(what, ())]
                for of in (saved, now)
            )
            if then != names:
                gone = sorted(set(then) - set(names))
                new = sorted(set(names) - set(then))
                raise ContractError(
                    f"the model was fitted on other {what}: without "
                    f"{', '.join(new) or 'none'}, with {', '.join(gone) or 'none'} "
                    "(in another order if both are none); train it anew"
                )

    def to_json(self) -> dict[str, Any]:
        return {
            "numeric": [list(entry) for entry in self.numeric],
            "ids": list(self.ids),
            "events": self.events,
            "text": self.text,
            "vectors": [list(entry) for entry in self.vectors],
            "attributes": list(self.attributes),
        }

    @staticmethod
    def from_json(saved: Mapping[str, Any]) -> Inputs:
        return Inputs(
            tuple((name, encoding) for name, encoding in saved["numeric"]),
            tuple(saved["ids"]),
            saved["events"],
            saved["text"],
            tuple((name, width) for name, width in saved.get("vectors", ())),
            tuple(saved.get("attributes", ())),
        )


def user_inputs(content: bool) -> Inputs:
    """The features of users: all of `contracts/features.py`.

    Args:
        content: with those that tell what a user's posts are like.
    """
    return Inputs(
        tuple((f.name, f.encoding) for f in NUMERIC if content or not f.of_content),
        tuple(f.name for f in features_with("id")),
        attributes=tuple(f.name for f in features_with("attributes")),
    )


USER_INPUTS = user_inputs(content=False)


def user_inputs_of(saved: Mapping[str, Any]) -> Inputs:
    """Those that a model was fitted on, by whether content is among them."""
    names = {name for name, _ in saved["numeric"]}
    return user_inputs(any(f.name in names for f in NUMERIC if f.of_content))
