"""The definitions of what is made of words, written as plainly as can be."""

from __future__ import annotations

from typing import Any

from contracts.measures import MIN_RATINGS_OF_WORD, TEXT_POSTS, TEXT_TOKENS


def text(posts: list[dict[str, Any]]) -> dict[str, list[str]]:
    with_text = sorted((p["occurred_at"], p["post_id"], p["text"]) for p in posts if p["text"])
    words = [word for post in with_text[-TEXT_POSTS:] for word in post[2].split(" ")]
    return {"text_tokens": words[-TEXT_TOKENS:]}


def word_stars(reviews: list[dict[str, Any]]) -> dict[str, int]:
    """Of each word that is rated, how far above the mean its reviews are."""
    stars: dict[str, list[int]] = {}
    for r in reviews:
        for word in {*(r["text"] or "").split()}:
            stars.setdefault(word, []).append(r["stars"])
    everything = [n for of in stars.values() for n in of]
    return {
        word: 1000 * sum(of) // len(of) - 1000 * sum(everything) // len(everything)
        for word, of in stars.items()
        if len(of) >= MIN_RATINGS_OF_WORD
    }


def rated_words(words: list[str], above: dict[str, int]) -> dict[str, int]:
    rated = [above[word] for word in words if word in above]
    return {"n_rated_words": len(rated), "rated_words_above": sum(rated)}
