"""How much the words of an item's title have in common with those of what a user had.

What is sold in sets and series, or for an occasion, has its words in common: a user who had some
of it may want the rest, however few had both. So an item that nobody had yet is told apart as well.

Letters: I items, W words, B users, C candidates, N words of all titles.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from models.data.label_layout import as_numpy

MAX_WORDS = 8192
"""Words, those in most titles first, that are told apart: each takes a number of each user."""
AT_ONCE = 1 << 15
"""Candidates whose words are in memory at once."""
MIN_TITLES = 2
"""Titles that must have a word: one of a single title says nothing of another."""

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def title_words(titles: pa.Array) -> sparse.csr_array:
    """(I, W): the weights of the words of each title: rarer ones weigh more (Spärck Jones, 1972).
    Rows have length 1, or none where no word of a title is known.

    Args:
        titles: (I,): null where there is none.
    """
    n = len(titles)
    lists = pc.split_pattern_regex(pc.utf8_lower(pc.fill_null(titles, "")), r"[^\p{L}\p{N}]+")
    encoded = pc.list_flatten(lists).dictionary_encode()
    of, texts = as_numpy(pc.list_parent_indices(lists)), encoded.dictionary
    # Texts before and behind what parts words are empty.
    is_word = as_numpy(pc.not_equal(texts, "")).astype(bool)
    codes = as_numpy(encoded.indices).astype(np.int64)
    pairs = np.unique((of * max(len(texts), 1) + codes)[is_word[codes]])
    item, code = pairs // max(len(texts), 1), pairs % max(len(texts), 1)
    n_titles = np.bincount(code, minlength=len(texts))
    frequent = _frequent(texts, n_titles)
    word = np.full(len(texts), -1)
    word[frequent] = np.arange(len(frequent))
    item, word = item[word[code] >= 0], word[code][word[code] >= 0]
    weights = np.log(n / n_titles[frequent])[word]
    lengths = np.sqrt(np.bincount(item, weights**2, n))
    values = weights / np.where(lengths > 0, lengths, 1)[item]
    return sparse.coo_array((values, (item, word)), shape=(n, len(frequent))).tocsr()


def _frequent(texts: pa.Array, n_titles: Ints) -> Ints:
    """Codes of the words that are told apart; of those in as many titles the first by text."""
    by_text = as_numpy(pc.array_sort_indices(texts)).astype(np.int64)
    order = by_text[np.argsort(-n_titles[by_text], kind="stable")]
    return order[n_titles[order] >= MIN_TITLES][:MAX_WORDS]


def title_similarity(
    words: sparse.csr_array, had: sparse.csr_array, rows: Ints, items: npt.NDArray[np.int32]
) -> Doubles:
    """(C,): cosines of the words of candidates and of what their users had; nan where either has
    no words.

    Args:
        words: (I, W): of titles.
        had: (B, I): what users had, and how much it weighs.
        rows: (C,): of each candidate its user.
        items: (C,): of each candidate its item.
    """
    profiles = sparse.csr_array(had.astype(np.float64) @ words).toarray()
    lengths = np.sqrt((profiles**2).sum(axis=1))
    sums = np.zeros(len(items))
    for first in range(0, len(items), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        sums[some] = _products(words, profiles, rows[some], items[some])
    known = (np.diff(words.indptr)[items] > 0) & (lengths[rows] > 0)
    similarity: Doubles = np.where(known, sums / np.where(known, lengths[rows], 1), np.nan)
    return similarity


def _products(
    words: sparse.csr_array, profiles: Doubles, rows: Ints, items: npt.NDArray[np.int32]
) -> Doubles:
    """(C,): products of the words of candidates and of their users' profiles (B, W)."""
    n = np.diff(words.indptr)[items]
    before = np.cumsum(n) - n
    at = np.repeat(words.indptr[items] - before, n) + np.arange(n.sum())
    of = np.repeat(np.arange(len(items)), n)
    products = words.data[at] * profiles[rows[of], words.indices[at]]
    return np.bincount(of, products, len(items)).astype(np.float64, copy=False)
