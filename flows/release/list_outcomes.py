"""How the lists of the current release did, once it was known what then happened."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

from contracts.recommendation_tables import OUTCOME_METHODS, REC_OUTCOMES
from contracts.segments import ALL
from contracts.surfaces import SURFACES
from flows.release.duckdb_views import query


@dataclass(frozen=True)
class ListOutcome:
    """How one way of making lists did for all users of a surface whose goals became known."""

    surface: str
    as_of: date
    method: str
    """`published`, or what stands beside it, see `rec_outcomes`."""
    n_users: int
    ndcg10: float
    low: float
    high: float
    gain: float | None
    """By how much the published lists are better; None of themselves."""
    gain_low: float | None
    gain_high: float | None
    recall20: float
    hit10: float
    coverage10: float
    novelty10: float
    share_new10: float


def newest_outcomes(database: Path) -> tuple[ListOutcome, ...]:
    """Of each surface in the order of the contracts, those of the newest day that is known: what
    was published, decayed popularity, and the users' own repeats.

    Raises:
        ContractError: nothing has been released yet.
    """
    columns = ", ".join(field.name for field in fields(ListOutcome))
    _, rows = query(
        database,
        f"SELECT {columns} FROM {REC_OUTCOMES.name} WHERE segment = '{ALL}' "
        "QUALIFY as_of = max(as_of) OVER (PARTITION BY surface)",
    )
    places = {surface.name: i for i, surface in enumerate(SURFACES)}
    outcomes = (ListOutcome(*row) for row in rows)
    return tuple(sorted(outcomes, key=lambda of: (places[of.surface],
                                                  OUTCOME_METHODS.index(of.method))))  # fmt: skip
