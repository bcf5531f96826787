"""Two towers: a vector of each user and one of each item, whose inner product says how likely the
user is to take the item next.

An item's vector is the sum of one of its own, which is left out of some steps, and of those of its
category, its author and its price: an item that nobody has had yet has the vector of what it is
like. How popular and how old it is counts beside, whoever the user is. A user's vector is the mean
of what the user's own items say, decayed, their categories and authors among that, and of how many
there are and since when.

Learned is which item came next, given the items that the user had on the days before, against the
others of the step and some of the whole catalogue that were there by then, each corrected by how
often it is drawn (Yi et al., Sampling-bias-corrected neural modeling for large corpus item
recommendations, 2019; Yang et al., Mixed negative sampling for learning two-tower neural networks
in recommendations, 2020). It is seeded: the same histories give the same vectors to the bit.

Letters: I items, U users, N entries of histories, B examples of a step, T items that they are told
from, J different items of a step, F factors, k candidates, O own items of a user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as nnf

from contracts.days import EPOCH
from models.network.adamw import AdamW
from models.retrieval.exact_search import InnerProducts
from models.retrieval.histories import Histories
from models.retrieval.item_inputs import ItemInputs, liking, of_ages
from models.retrieval.own_items import OwnItems, Ranges
from models.retrieval.retrieval_model import Candidates, LeftOut, SurfaceDay

FACTORS = 32
EXAMPLES = 128
"""Examples of a step."""
OTHERS = 64
"""Items of the catalogue from which they are told besides those of the other examples."""
PASSES = 4
"""Times that an example is looked at, in the mean, where there are few."""
MAX_STEPS = 250
"""However many examples there are."""
RATE = 0.06
"""At first; it falls to none."""
DECAY = 0.01
DEVIATION = 0.3
"""Of numbers of the first vectors."""
LEFT_OUT = 0.3
"""Share of the items of a step whose own vectors are left out."""
YOUNGEST = 0.05
"""Share of the examples whose items were so young that too little is learned of their age."""
MAX_OWN = 24
"""Own items, the latest, that a user's vector is made of."""
CHUNK = 512
"""Users whose vectors are computed together, padded to as many: a product of another size may add
up in another order."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class Embeddings(nn.Module):
    """Vectors of the different codes of items."""

    def __init__(self, codes: Tensor):
        """`codes` (I,): 0 where an item has none."""
        super().__init__()
        self._codes = codes
        self.table = nn.Embedding(int(codes.max()) + 1, FACTORS, padding_idx=0)
        nn.init.normal_(self.table.weight, std=DEVIATION)
        with torch.no_grad():
            self.table.weight[0] = 0

    def forward(self, at: Tensor) -> Tensor:
        """(J, F) of the items `at` (J,)."""
        vectors: Tensor = self.table(self._codes[at])
        return vectors


class Towers(nn.Module):
    """Both towers."""

    def __init__(self, inputs: ItemInputs):
        super().__init__()
        self.inputs = inputs
        self.item = Embeddings(inputs.ids)
        self.item_category = Embeddings(inputs.categories)
        self.item_author = Embeddings(inputs.authors)
        self.item_numbers = nn.Linear(inputs.numbers.shape[1], FACTORS, bias=False)
        self.of_item = nn.Linear(FACTORS, FACTORS)
        self.of_category = Embeddings(inputs.categories)
        self.of_author = Embeddings(inputs.authors)
        self.user_numbers = nn.Linear(2, FACTORS)
        self.age = nn.Parameter(torch.zeros(3))

    def items(self, at: Tensor, has_own: Tensor | float = 1.0) -> Tensor:
        """(J, F): vectors of the items `at` (J,), with what is their own where `has_own` (J, 1) is
        1."""
        vectors: Tensor = self.item(at) * has_own + self.item_category(at) + self.item_author(at)
        return vectors + self.item_numbers(self.inputs.numbers[at])

    def said(self, at: Tensor, vectors: Tensor) -> Tensor:
        """(J, F): what the items `at`, which have `vectors`, say of a user who has them."""
        said: Tensor = self.of_item(vectors) + self.of_category(at) + self.of_author(at)
        return said

    def beside(self, at: Ints, ages: Ints) -> Tensor:
        """What counts of the items `at`, whoever the user is, when they are so old (..., T)."""
        return self.inputs.popularity[torch.from_numpy(at)] + torch.tensordot(
            self.age, torch.from_numpy(of_ages(ages)), 1
        )

    def users(self, means: Tensor, n_own: Ints, since: Ints) -> Tensor:
        """(B, F): vectors of users by the mean of what their items say, by how many there are, and
        the days since the latest."""
        numbers = np.stack([np.log1p(n_own) / 3, np.log1p(since) / 4], axis=1)
        vectors: Tensor = means + self.user_numbers(torch.from_numpy(numbers.astype(np.float32)))
        return vectors


def fit_two_tower(day: SurfaceDay) -> TwoTower:
    """The model of a surface.

    Raises:
        LeftOut: nobody had anything on two days.
    """
    as_of_day = (day.as_of - EPOCH).days
    examples = Examples.of(day, as_of_day)
    inputs = ItemInputs.of(day.items, examples.own, as_of_day)
    rng = np.random.default_rng(day.config.seed)
    n_steps = min(MAX_STEPS, -(-PASSES * len(examples.places) // EXAMPLES))
    with torch.random.fork_rng():
        torch.manual_seed(day.config.seed)
        towers = Towers(inputs)
    optimizer = AdamW(towers.parameters(), DECAY)
    for step in range(n_steps):
        _loss(towers, examples, rng).backward()
        optimizer.step(RATE * (1 - step / n_steps))
    own, places = examples.own, examples.places
    ages = own.days[places] - inputs.first_days[own.items[places]]
    return TwoTower(towers.eval(), day, int(np.quantile(ages, YOUNGEST)))


@dataclass(frozen=True)
class Examples:
    """Entries that came after others of the same user, and how often each is drawn."""

    own: OwnItems
    before: Ranges
    """(N,): of each entry those of the days before."""
    places: Ints
    """Entries that are examples."""
    cumulated: npt.NDArray[np.float64]
    """Their weights, added up."""
    chances: npt.NDArray[np.float64]
    """(I,): of an example to be of each item."""
    repeats: bool
    """Whether what a user had may come again."""

    @classmethod
    def of(cls, day: SurfaceDay, as_of_day: int) -> Examples:
        own = OwnItems.of(day.histories, as_of_day)
        before = own.before(MAX_OWN)
        places = np.flatnonzero(before.lengths)
        if not len(places):
            raise LeftOut("nobody had anything on two days")
        weights = np.maximum(liking(own, as_of_day)[places], 1e-4)
        cumulated = np.cumsum(weights)
        chances = np.bincount(own.items[places], weights, day.items.num_rows) / cumulated[-1]
        return cls(own, before, places, cumulated, chances, day.surface.repeats)

    def drawn(self, rng: np.random.Generator) -> Ints:
        """(B,): examples of a step."""
        at = rng.random(EXAMPLES) * self.cumulated[-1]
        return self.places[np.searchsorted(self.cumulated, at, side="right")]


def _loss(towers: Towers, examples: Examples, rng: np.random.Generator) -> Tensor:
    """Cross entropy of a step: of each example its item against the others."""
    own, n_items = examples.own, len(examples.chances)
    drawn = examples.drawn(rng)
    targets = np.concatenate([own.items[drawn], rng.integers(n_items, size=OTHERS)])
    ranges = examples.before[drawn]
    at, number = _different(n_items, targets, had := own.items[ranges.entries])
    # What a user has is an item once: a row of `shares` (B, J) adds up to 1.
    shares = np.zeros((EXAMPLES, len(at)), np.float32)
    shares[ranges.rows, number[had]] = own.shares(ranges)
    has_own = torch.from_numpy((rng.random((len(at), 1)) >= LEFT_OUT).astype(np.float32))
    items = torch.from_numpy(at)
    vectors = towers.items(items, has_own)
    means = torch.from_numpy(shares) @ towers.said(items, vectors)
    days = own.days[drawn]
    users = towers.users(means, ranges.lengths, days - own.days[ranges.ends - 1])
    ages = days[:, None] - towers.inputs.first_days[targets]
    expected = EXAMPLES * examples.chances[targets] + OTHERS / n_items
    logits = (
        users @ vectors[torch.from_numpy(number[targets])].T
        + towers.beside(targets, ages)
        - torch.from_numpy(np.log(expected).astype(np.float32))
    )
    # An item that was not there yet, the example's own, and what the user had, are no others.
    none = (ages < 0) | (targets == own.items[drawn][:, None])
    if not examples.repeats:
        none |= shares.take(number[targets], axis=1) > 0
    np.fill_diagonal(none, False)
    logits = logits.masked_fill(torch.from_numpy(none), -torch.inf)
    return nnf.cross_entropy(logits, torch.arange(EXAMPLES))


def _different(n_items: int, *items: Ints) -> tuple[Ints, Ints]:
    """(J,): the different ones of some items, ascending; and of each item which of them it is."""
    is_there = np.zeros(n_items, bool)
    for some in items:
        is_there[some] = True
    different = np.flatnonzero(is_there)
    number = np.zeros(n_items, np.int64)
    number[different] = np.arange(len(different))
    return different, number


class TwoTower:
    """The fitted model."""

    def __init__(self, towers: Towers, day: SurfaceDay, youngest: int):
        """Items younger than `youngest` days count as that old: of them nothing was learned."""
        self._towers, self._day = towers, day
        self._as_of_day = (day.as_of - EPOCH).days
        places = np.arange(day.items.num_rows)
        with torch.inference_mode():
            at = torch.from_numpy(places)
            vectors = towers.items(at)
            self._said = towers.said(at, vectors).numpy()
            ages = np.maximum(self._as_of_day - towers.inputs.first_days, youngest)
            beside = towers.beside(places, ages)
            self._directions = nnf.normalize(vectors).numpy()
            items = torch.cat([vectors, beside[:, None]], dim=1).numpy()
        self._search = InnerProducts(items, day.config.candidates_per_source, day.unavailable)

    def candidates(self, histories: Histories, hidden: sparse.csr_array) -> Candidates:
        """The best items of users who had any: of others nothing is known that popular lists of
        their country do not say better."""
        own = OwnItems.of(histories, self._as_of_day)
        users = np.flatnonzero(np.diff(own.starts))
        ranges = own.latest(MAX_OWN)[users]
        best = self._search.best(self._vectors(own, ranges), hidden[users])
        because = np.full(best.items.shape, -1)
        for row, (start, end) in enumerate(zip(ranges.starts, ranges.ends, strict=True)):
            because[row] = self._nearest(own.items[start:end], best.items[row])
        return Candidates.of_some(users, best, because, len(histories))

    def _vectors(self, own: OwnItems, ranges: Ranges) -> Floats:
        """(U, F + 1): of users with these own items; what counts of items beside is added as it
        is."""
        shape = (len(ranges.starts), len(self._said))
        shares = (own.shares(ranges), own.items[ranges.entries], ranges.offsets)
        means = sparse.csr_array(shares, shape=shape) @ self._said
        since = self._as_of_day - own.days[ranges.ends - 1]
        vectors = np.ones((len(means), FACTORS + 1), np.float32)
        with torch.inference_mode():
            for start in range(0, len(means), CHUNK):
                part = slice(start, start + CHUNK)
                padding = (0, CHUNK - len(means[part]))
                padded = self._towers.users(
                    torch.from_numpy(np.pad(means[part], (padding, (0, 0)))),
                    np.pad(ranges.lengths[part], padding),
                    np.pad(since[part], padding),
                )
                vectors[part, :FACTORS] = padded[: len(means[part])].numpy()
        return vectors

    def _nearest(self, own: Ints, items: Ints) -> Ints:
        """Of each item (k,) the own one (O,) whose vector points most where its does."""
        alike = self._directions[own] @ self._directions[items].T
        return np.where(items < 0, -1, own[alike.argmax(axis=0)])
