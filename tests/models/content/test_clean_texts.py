"""Texts and labels of clean tables, by the days on which they landed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from contracts.content import content_hash
from contracts.content_specs import ContentHead
from contracts.source_tables.engagements import ENGAGEMENTS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.reviews import REVIEWS
from models.content.clean_texts import CleanTexts, LabelledText
from tests.models.content.labelled_tables import CUT, row, write

NEXT = CUT + timedelta(days=1)


def test_texts_are_those_that_landed_on_the_days_of_all_tables(tmp_path: Path) -> None:
    texts = CleanTexts(
        {
            "clean_posts": (),
            POSTS.name: (
                write(tmp_path, POSTS, [row(POSTS, CUT, text="a"), row(POSTS, NEXT, text="b"),
                                        row(POSTS, CUT, text=None)]),
                write(tmp_path, POSTS, [row(POSTS, CUT, text="c")], "1"),
                write(tmp_path, POSTS, [], "2"),
            ),
            ITEMS.name: (write(tmp_path, ITEMS, [row(ITEMS, CUT, title="a lamp")]),),
            REVIEWS.name: (write(tmp_path, REVIEWS, [row(REVIEWS, CUT, text="a")]),),
            ENGAGEMENTS.name: (
                write(tmp_path, ENGAGEMENTS, [
                    row(ENGAGEMENTS, CUT, verb="comment", text="so it is"),
                    row(ENGAGEMENTS, CUT, verb="search", text="lamps"),
                ]),
            ),
        }
    )  # fmt: skip
    assert sorted(texts.texts(CUT, NEXT)) == ["a", "a", "a lamp", "c", "so it is"]
    assert sorted(texts.texts(NEXT, NEXT + timedelta(days=1))) == ["b"]


def test_labels_are_those_of_heads_that_are_asked_for(tmp_path: Path) -> None:
    posts = [
        row(POSTS, CUT, text="a", labels=["irony=yes", "sentiment=negative"]),
        row(POSTS, CUT, text="b", labels=["toxicity=fine"]),
        row(POSTS, CUT, text="c"),
        row(POSTS, CUT, text=None, labels=["irony=no"]),
    ]
    texts = CleanTexts({POSTS.name: (write(tmp_path, POSTS, posts),)})
    asked = [ContentHead("irony", "labels"), ContentHead("toxicity", "labels")]
    assert list(texts.labelled(CUT, NEXT, asked)) == [
        LabelledText(CUT, content_hash("a"), "a", {"irony": "yes"}),
        LabelledText(CUT, content_hash("b"), "b", {"toxicity": "fine"}),
    ]


def test_stars_say_the_sentiment_of_a_reviews_text(tmp_path: Path) -> None:
    reviews = [
        row(REVIEWS, CUT, text="bad", sentiment="negative"),
        row(REVIEWS, CUT, text=None, sentiment="positive"),
    ]
    texts = CleanTexts({REVIEWS.name: (write(tmp_path, REVIEWS, reviews),)})
    assert [t.labels for t in texts.labelled(CUT, NEXT, [ContentHead("sentiment", "stars")])] == [
        {"sentiment": "negative"}
    ]
    assert list(texts.labelled(CUT, NEXT, [ContentHead("sentiment", "labels")])) == []
