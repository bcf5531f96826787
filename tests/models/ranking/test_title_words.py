"""What the words of titles say of a user and an item."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from models.ranking import title_words as module
from models.ranking.title_words import title_similarity, title_words

TITLES = pa.array(
    [
        "Red heart, tin",
        "RED-heart bunting",
        "blue bunting",
        "blue tin!",
        "unique",
        None,
        "Käse blue blue",
        "käse",
    ]
)


def test_rarer_words_of_a_title_weigh_more_and_those_of_one_title_nothing() -> None:
    """Of 8 titles 2 have red, heart, tin, bunting and käse, 3 have blue; case, marks and how often
    a word stands in a title say nothing."""
    words = title_words(TITLES).toarray()
    two, three = np.log(8 / 2), np.log(8 / 3)
    columns = ("blue", "bunting", "heart", "käse", "red", "tin")  # most titles first, then by text
    of = {
        0: ("heart", "red", "tin"), 1: ("bunting", "heart", "red"), 2: ("blue", "bunting"),
        3: ("blue", "tin"), 6: ("blue", "käse"), 7: ("käse",),
    }  # fmt: skip
    expected = np.zeros((8, 6))
    for item, texts in of.items():
        for text in texts:
            expected[item, columns.index(text)] = three if text == "blue" else two
        expected[item] /= np.linalg.norm(expected[item])
    assert words == pytest.approx(expected)


def test_no_more_words_are_told_apart_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WORDS", 2)
    words = title_words(TITLES).toarray()
    assert (words > 0).tolist() == [
        [False, False], [False, True], [True, True], [True, False], [False, False],
        [False, False], [True, False], [False, False],
    ]  # fmt: skip


def test_an_item_is_alike_by_the_words_of_what_the_user_had() -> None:
    """Nothing is known of an item without words, and of a user who had none with words."""
    words = title_words(TITLES)
    had = sparse.csr_array(np.array([[2, 1, 0, 0, 0, 0, 0, 0], [0] * 8, [0] * 4 + [1] + [0] * 3]))
    rows, items = np.array([0, 0, 0, 1, 2]), np.array([2, 4, 7, 2, 2], np.int32)
    similarity = title_similarity(words, had, rows, items)
    profile = 2 * words.toarray()[0] + words.toarray()[1]
    expected = [profile @ words.toarray()[2] / np.linalg.norm(profile), np.nan, 0, np.nan, np.nan]
    assert similarity == pytest.approx(np.array(expected), nan_ok=True)


def test_it_depends_on_no_other_user_or_item(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 500)
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice([*"abcdefghij"], 4)) for _ in range(50)]
    words = title_words(pa.array(texts))
    had = sparse.random_array((40, 50), density=0.2, format="csr", rng=rng)
    rows, items = np.repeat(np.arange(40), 30), rng.integers(50, size=1200).astype(np.int32)
    together = title_similarity(words, had, rows, items)
    alone = [
        title_similarity(words, had[[row]], np.array([0]), items[[i]])[0]
        for i, row in enumerate(rows)
    ]
    assert together.tolist() == alone


@pytest.mark.parametrize("titles", [[], [None, None], ["one", "two"]])
def test_without_words_in_common_nothing_is_known(titles: list[str | None]) -> None:
    words = title_words(pa.array(titles, pa.string()))
    assert words.shape == (len(titles), 0)
    had = sparse.csr_array(np.ones((1, len(titles))))
    items = np.arange(len(titles), dtype=np.int32)
    similarity = title_similarity(words, had, np.zeros(len(titles), np.int64), items)
    assert np.isnan(similarity).all()
