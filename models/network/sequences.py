"""Encoders of sequences: the last events and the last words of a user as one vector.

Letters: B rows, L events, K words.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from contracts.measures import EVENT_VERBS, TEXT_BUCKETS
from contracts.train_config import InputConfig
from models.data.columns import CATEGORY_BUCKETS
from models.network.embedding_tables import table_of

EVENT_WIDTH = 24
BAG_WIDTH = 16
"""Dimensions of a category in the mean over all events."""
TEXT_WIDTH = 16


class EventInputs(nn.Module):
    """Each event as a vector: what was done, to which item, of which category, when, how much."""

    def __init__(self, config: InputConfig):
        super().__init__()
        self.verb = nn.Embedding(len(EVENT_VERBS) + 1, EVENT_WIDTH, padding_idx=0)
        self.item = table_of(config.id_buckets + 1, config.id_width)
        nn.init.zeros_(self.item.weight)  # of an item that training has not seen nothing is known
        self.category = nn.Embedding(CATEGORY_BUCKETS + 1, config.id_width, padding_idx=0)
        nn.init.normal_(self.category.weight, std=0.1)
        with torch.no_grad():
            self.category.weight[0] = 0
        self.mix = nn.Linear(EVENT_WIDTH + 2 * config.id_width + 2, EVENT_WIDTH)

    def forward(self, verbs: Tensor, items: Tensor, categories: Tensor, times: Tensor) -> Tensor:
        """(B, L), (B, L), (B, L), (B, L, 2) to (B, L, EVENT_WIDTH)."""
        parts = [self.verb(verbs), self._items(items), self.category(categories), times.float()]
        return torch.relu(self.mix(torch.cat(parts, dim=2)))

    def _items(self, items: Tensor) -> Tensor:
        """(B, L) to (B, L, id_width); zeros where there is no item."""
        embedded: Tensor = self.item(items) * (items > 0).unsqueeze(2)
        return embedded


class CategoryMix(nn.EmbeddingBag):
    """The mean of the categories' embeddings over the events that have one: what share each has."""

    def __init__(self) -> None:
        super().__init__(CATEGORY_BUCKETS + 1, BAG_WIDTH, mode="mean", padding_idx=0)
        nn.init.normal_(self.weight, std=0.3)


class AttentionEvents(nn.Module):
    """Attention pooling with two learned queries, beside the mix of categories."""

    width: int

    def __init__(self, config: InputConfig):
        super().__init__()
        self.inputs, self.mix = EventInputs(config), CategoryMix()
        self.query = nn.Linear(EVENT_WIDTH, 2)
        self.width = 2 * EVENT_WIDTH + BAG_WIDTH

    def forward(self, verbs: Tensor, items: Tensor, categories: Tensor, times: Tensor) -> Tensor:
        """(B, L), (B, L), (B, L), (B, L, 2) to (B, width); zeros for users without events."""
        events = self.inputs(verbs, items, categories, times)
        is_present = (verbs > 0).unsqueeze(2)
        weights = self.query(events).masked_fill(~is_present, -1e9).softmax(dim=1)
        weights = torch.where(is_present, weights, torch.zeros_like(weights))
        pooled = torch.einsum("blq,bld->bqd", weights, events).flatten(1)
        return torch.cat([pooled, self.mix(categories)], dim=1)


class RecurrentEvents(nn.Module):
    """A gated recurrent unit (Cho et al., 2014) from the oldest event to the newest, beside the mix
    of categories."""

    width: int

    def __init__(self, config: InputConfig):
        super().__init__()
        self.inputs, self.mix = EventInputs(config), CategoryMix()
        self.cell = nn.GRU(EVENT_WIDTH, 2 * EVENT_WIDTH, batch_first=True)
        self.width = 2 * EVENT_WIDTH + BAG_WIDTH

    def forward(self, verbs: Tensor, items: Tensor, categories: Tensor, times: Tensor) -> Tensor:
        """(B, L), (B, L), (B, L), (B, L, 2) to (B, width); zeros for users without events."""
        is_present = verbs > 0
        lengths = is_present.sum(dim=1)
        events = self.inputs(verbs, items, categories, times)
        # Packing wants events at the start, in their order, and at least one of them.
        order = torch.argsort((~is_present).int(), dim=1, stable=True).unsqueeze(2)
        moved = events.gather(1, order.expand_as(events))
        packed = nn.utils.rnn.pack_padded_sequence(
            moved, lengths.clamp_min(1).cpu(), batch_first=True, enforce_sorted=False
        )
        last: Tensor = self.cell(packed)[1][0]
        last = torch.where((lengths > 0).unsqueeze(1), last, torch.zeros_like(last))
        return torch.cat([last, self.mix(categories)], dim=1)


class MeanText(nn.Module):
    """The mean of the words' embeddings, and how many words there are."""

    width: int

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(
            TEXT_BUCKETS + 1, TEXT_WIDTH, mode="mean", padding_idx=0, include_last_offset=False
        )
        nn.init.normal_(self.words.weight, std=0.1)
        self.width = TEXT_WIDTH + 1

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, K) to (B, width); zeros for users without words."""
        share = (tokens > 0).to(self.words.weight.dtype).mean(dim=1, keepdim=True)
        return torch.cat([self.words(tokens), share], dim=1)


class ConvolvedText(nn.Module):
    """Phrases of three words by a 1-D convolution, the strongest of each kept (Kim, 2014)."""

    width: int

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(TEXT_BUCKETS + 1, TEXT_WIDTH, padding_idx=0)
        nn.init.normal_(self.words.weight, std=0.1)
        with torch.no_grad():
            self.words.weight[0] = 0
        self.phrases = nn.Conv1d(TEXT_WIDTH, 2 * TEXT_WIDTH, kernel_size=3, padding=1)
        self.width = 2 * TEXT_WIDTH + 1

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, K) to (B, width); zeros for users without words."""
        is_present = (tokens > 0).unsqueeze(1)
        phrases = torch.relu(self.phrases(self.words(tokens).transpose(1, 2)))
        strongest = torch.where(is_present, phrases, torch.zeros_like(phrases)).amax(dim=2)
        return torch.cat([strongest, is_present.to(phrases.dtype).mean(dim=2)], dim=1)


EVENT_ENCODERS: Mapping[str, type[AttentionEvents] | type[RecurrentEvents]] = {
    "attention": AttentionEvents,
    "recurrent": RecurrentEvents,
}
TEXT_ENCODERS: Mapping[str, type[MeanText] | type[ConvolvedText]] = {
    "mean": MeanText,
    "convolution": ConvolvedText,
}
