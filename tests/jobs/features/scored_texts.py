"""What heads of content say of the posts of a small world, at random, and what that makes of them,
as plainly as can be."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from datetime import date
from typing import Any

from contracts.content import FIXED_CLASSES, cut_of


def content_scores(seed: int, posts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `content_scores`: each text once since the cut of its model, on the first day on
    which it landed since; some have no scores, as where a head is off."""
    rng = random.Random(seed)
    first: dict[tuple[str, date], date] = {}
    for post in posts:
        if post["text"] is not None:
            named = hashlib.sha256(post["text"].encode()).hexdigest()
            at = (named, cut_of(post["landed_on"]))
            first[at] = min(first.get(at, date.max), post["landed_on"])
    return [
        _row(named, head, classes, landed_on, rng)
        for (named, _), landed_on in sorted(first.items())
        for head, classes in (*FIXED_CLASSES.items(), ("irony", ("no", "yes")))
        if rng.random() < 0.7
    ]


def _row(
    named: str, head: str, classes: tuple[str, ...], landed_on: date, rng: random.Random
) -> dict[str, Any]:
    """Eighths: sums of them are exact."""
    marks = sorted(rng.randint(0, 8) for _ in classes[1:])
    eighths = [b - a for a, b in zip([0, *marks], [*marks, 8], strict=True)]
    best = max(range(len(classes)), key=lambda n: eighths[n])
    return {
        "content_hash": named,
        "head": head,
        "model_id": f"model of {cut_of(landed_on)}",
        "landed_on": landed_on,
        "class": classes[best],
        "probability": eighths[best] / 8,
        "classes": list(classes),
        "probabilities": [n / 8 for n in eighths],
    }


def said_of(scores: Sequence[dict[str, Any]], posts: list[dict[str, Any]]) -> dict[str, int]:
    """The measures of posts of what heads have said of their texts, as far as they have."""
    said = [
        {row["head"]: row for row in scores
         if row["content_hash"] == hashlib.sha256(post["text"].encode()).hexdigest()
         and cut_of(row["landed_on"]) == cut_of(post["landed_on"])}
        for post in posts
        if post["text"] is not None
    ]  # fmt: skip
    milli = [
        round(1000 * (p[2] - p[0]))
        for s in said
        if (p := s.get("sentiment", {}).get("probabilities"))
    ]
    return {
        "n_posts_of_known_sentiment": len(milli),
        "n_posts_of_known_toxicity": sum("toxicity" in s for s in said),
        "post_sentiment_milli": sum(milli),
        "n_negative_posts": sum(s.get("sentiment", {}).get("class") == "negative" for s in said),
        "n_toxic_posts": sum(s.get("toxicity", {}).get("class") == "toxic" for s in said),
    }
