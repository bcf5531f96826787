"""What a released table is: a table, how its rows come about, and what must hold of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from contracts.errors import ContractError
from contracts.table import Table

AS_OF = "as_of"
"""The column of the days that a release adds or replaces."""

_ROWS = re.compile(r"models(\.[a-z_]\w*)+:[a-z_]\w*")


@dataclass(frozen=True)
class ReleasedTable:
    """A table that a release names by one of its snapshots; analysts read these and no others."""

    table: Table
    stage: str | None = None
    """The stage whose process writes it on the release's branch, which nobody reads before its
    audits have passed. None: Spark's stages write it on `main`, and have checked every row against
    its contract before they commit it."""
    audits: tuple[str, ...] = ("contract",)
    """Audits of each day that is written on the branch, in their order, by their names in
    `flows/release/audits.py`."""
    rows: str | None = None
    """`package.module:function` of `models` that gives the rows of a day (docs/adding-a-table.md).
    None: the stage has a process of its own."""
    reads: tuple[Table, ...] = ()
    """Tables of which that function gets the files of the same as-of day: what Spark has computed,
    and released tables that are declared before this one."""
    leaves_with_candidates: bool = False
    """Whether a release leaves out the days of which candidates are no longer kept
    (`keep_candidate_days`), for there are many rows of each. Else it has all days."""

    def __post_init__(self) -> None:
        if self.stage is None and (self.rows is not None or self.reads):
            raise ContractError(f"{self.table.name}: rows and reads are of a stage, which it lacks")
        if self.rows is not None and not _ROWS.fullmatch(self.rows):
            raise ContractError(
                f"{self.table.name}: rows: expected a function such as models.loyalty:loyalty, "
                f"found {self.rows}"
            )
        if self.stage is not None and self.table.day != AS_OF:
            raise ContractError(
                f"{self.table.name}: expected days of {AS_OF}, which releases replace, found "
                f"days of {self.table.day}"
            )
