"""What ranks one surface: rankers, how their scores become probabilities, and what those are worth.

Letters: C candidates, F features, R rankers, U numbers of the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from contracts.surfaces import Surface
from models.ranking.calibration import Calibration
from models.ranking.lambdarank import Trees
from models.ranking.network import ItemNetwork

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

SOURCE, LAMBDARANK, NETWORK, MIXTURE = "source", "lambdarank", "network", "mixture"
"""What gives the order: one source of candidates, a ranker, or both rankers."""
USER_NUMBERS = (
    "user_n_items", "user_n_days", "user_days_since_last", "user_n_active_days_30d",
    "user_days_since_last_seen",
)  # fmt: skip
"""Features that tell active users from others."""
_BELOW = 0.01
"""Of what is not in the list that gives the order: less than its last place is worth."""


@dataclass(frozen=True)
class Scaling:
    """Means and standard deviations of numbers."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]

    def __call__(self, numbers: Doubles) -> Doubles:
        """(C, N): standardised; 0 where a number is not known."""
        scaled: Doubles = (numbers - np.array(self.means)) / np.array(self.deviations)
        return np.nan_to_num(scaled)

    @staticmethod
    def of(numbers: Doubles) -> Scaling:
        """The scaling of columns (C, N)."""
        known = ~np.isnan(numbers)
        n = np.maximum(known.sum(axis=0), 1)
        means = np.where(known, numbers, 0).sum(axis=0) / n
        spread = np.sqrt(np.where(known, (numbers - means) ** 2, 0).sum(axis=0) / n)
        return Scaling(tuple(means.tolist()), tuple(np.where(spread > 1e-9, spread, 1).tolist()))


@dataclass(frozen=True)
class SurfaceRanker:
    """How candidates of one surface are ordered, and what is expected of each."""

    names: tuple[str, ...]
    """The F features that it was fitted on."""
    order_by: str
    """`source`, `lambdarank`, `network` or `mixture`."""
    best_list: str
    """Name of the list that orders best alone."""
    events: tuple[str, ...] = ()
    """The surface's events when it was fitted, in the order of the network's outputs."""
    trees: Trees | None = None
    network: ItemNetwork | None = None
    event_trees: Mapping[str, Trees] = field(default_factory=dict)
    """Event to trees of its own, beside those that order; in the order of `events`."""
    scaling: Scaling = Scaling((), ())
    """Of the rankers' scores."""
    user_scaling: Scaling = Scaling((), ())
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """Event to what makes scores its probabilities; of those of which enough was seen."""

    @property
    def is_learnt(self) -> bool:
        return self.order_by != SOURCE

    def only(self, order_by: str) -> SurfaceRanker:
        """With those of its rankers that such an order needs."""
        return replace(
            self,
            order_by=order_by,
            trees=None if order_by == NETWORK else self.trees,
            network=None if order_by == LAMBDARANK else self.network,
            event_trees=self.event_trees if order_by == LAMBDARANK else {},
        )

    def columns(self, event: str) -> list[int]:
        """The rankers whose scores say how probable an event is."""
        used, n = ([0], 1) if self.trees is not None else ([], 0)
        if self.network is not None:
            used += [n, n + 1 + self.events.index(event)]
            n += 1 + len(self.events)
        if event in self.event_trees:
            used.append(n + list(self.event_trees).index(event))
        return used

    def probabilities(self, features: Floats) -> dict[str, Doubles]:
        """Event to (C,), of features (C, F)."""
        if not self.is_learnt:
            return {}
        return self.of_scores(self.raw_scores(features), user_numbers(features, self.names))

    def raw_scores(self, features: Floats) -> Doubles:
        """(C, R): of the trees that order, of what the network orders by, of its logit of each
        event, and of the trees of each event."""
        columns = [np.zeros((len(features), 0))]
        if self.trees is not None:
            columns.append(self.trees.scores(features)[:, None])
        if self.network is not None:
            columns.append(self.network.scores(features))
        columns += [trees.scores(features)[:, None] for trees in self.event_trees.values()]
        return np.concatenate(columns, axis=1)

    def of_scores(self, raw: Doubles, user_numbers: Doubles) -> dict[str, Doubles]:
        """Event to (C,), of the rankers' scores (C, R) and the numbers (C, U) of users."""
        scores, users = self.scaling(raw), self.user_scaling(user_numbers)
        return {
            event: calibration.probabilities(scores[:, self.columns(event)], users)
            for event, calibration in self.calibrations.items()
        }

    def values(
        self, surface: Surface, features: Floats, probabilities: Mapping[str, Doubles]
    ) -> Doubles:
        """(C,): expected worth of candidates; where nothing was learnt, one over the place in the
        list that gives the order."""
        if not self.is_learnt:
            return list_scores(features, self.names, self.best_list)
        return worth_of(surface, probabilities, len(features))


def worth_of(surface: Surface, probabilities: Mapping[str, Doubles], n: int) -> Doubles:
    """(n,): the outcomes' worths, each times its probability."""
    total = np.zeros(n)
    for outcome in surface.outcomes:
        if outcome.event in probabilities:
            total += outcome.worth * probabilities[outcome.event]
    return total


def user_numbers(features: Floats, names: Sequence[str]) -> Doubles:
    """(C, U): what of features (C, F) says how active users are."""
    at = [names.index(name) for name in USER_NUMBERS]
    return np.log1p(features[:, at].astype(np.float64))


def list_scores(features: Floats, names: Sequence[str], name: str) -> Doubles:
    """(C,): scores that order by the place in one list; below it comes the rest, by all lists."""
    places = features[:, names.index(f"place_{name}")].astype(np.float64)
    below = _BELOW * features[:, names.index("fusion")].astype(np.float64)
    scores: Doubles = np.where(np.isnan(places), below, 1 / (1 + np.nan_to_num(places)))
    return scores
