"""How candidates are retrieved and ranked. Part of what a list's `ranker_id` stands for."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from contracts.errors import ContractError


@dataclass(frozen=True)
class RankingConfig:
    """Every setting of retrieval and ranking. Frozen, and checked when built."""

    candidates_per_source: int = 100
    """Items that each source may give a user."""
    learn_days: int = 3
    """Past as-of days that a surface's ranker learns from, `learn_every_days` apart; one more is
    half as many days back."""
    ranker: str = "mixture"
    """What ranks: lambdarank, network, or mixture: the better of both or their mixture, chosen on
    the newest of the past days."""
    factors: int = 64
    """Dimensions of matrix factorisation."""
    iterations: int = 8
    """Sweeps of alternating least squares."""
    regularisation: float = 0.006
    """Of matrix factorisation, scaled by counts (Rendle et al., 2022)."""
    unobserved_weight: float = 20.0
    """Weight of all pairs of user and item together, beside 1 of all those with a signal."""
    max_ease_items: int = 5000
    """Items beyond which the linear item-to-item model is left out: its cost grows with their
    cube."""
    max_learn_users: int = 50_000
    """Users, by a hash of their key, whose candidates the ranker learns from, at most per day."""
    min_learn_users: int = 50
    """Users with a goal that a surface needs to learn from; with fewer its best source ranks."""
    processes: int | None = None
    """Processes that retrieve and rank at once, each with memory of its own, in one thread each;
    none: as many as there are cores, up to 4. How many there are changes no row."""
    seed: int = 0
    """Of first factors and weights, and of what is left out by chance."""

    @property
    def of_retrieval(self) -> RankingConfig:
        """The same but for what only ranking depends on."""
        return replace(
            self,
            learn_days=1,
            ranker=RANKERS[0],
            max_learn_users=1,
            min_learn_users=1,
            processes=1,
        )

    def __post_init__(self) -> None:
        problems = [
            f"ranking.{f.name}: expected {'0' if f.name in _FROM_ZERO else '1'} or more, found "
            f"{value}"
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), int)
            and value < (0 if f.name in _FROM_ZERO else 1)
        ]
        problems += [
            f"ranking.{name}: expected above 0, found {getattr(self, name)}"
            for name in ("regularisation", "unobserved_weight")
            if not getattr(self, name) > 0
        ]
        if self.ranker not in RANKERS:
            problems.append(
                f"ranking.ranker: expected one of {', '.join(RANKERS)}, found {self.ranker}"
            )
        if problems:
            raise ContractError("; ".join(problems))


RANKERS = ("mixture", "lambdarank", "network")
_FROM_ZERO = ("seed", "max_ease_items")
