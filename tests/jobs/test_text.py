"""Text, normalised: against Python's own decoder, and on real tweets."""

from __future__ import annotations

import html
import re

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.text import TextRules, normalised
from tests.conftest import real_data

PLAIN = TextRules(lower=False, urls="keep", mentions="keep")


def made(spark: SparkSession, texts: list[str | None], rules: TextRules) -> list[str | None]:
    rows = spark.createDataFrame([(i, t) for i, t in enumerate(texts)], "i int, text string")
    shown = rows.select("i", normalised(F.col("text"), rules).alias("text")).orderBy("i").collect()
    return [row.text for row in shown]


def test_links_people_entities_and_escapes(spark: SparkSession) -> None:
    cases = {
        "See HTTPS://Example.com/a?b=1 now": "see <url> now",
        "ask @Bob or bob@example.com": "ask <user> or <email>",
        "3 &lt; 5 &amp;&amp; 7&nbsp;&gt; 6": "3 < 5 && 7 > 6",
        "it&#8217;s caf&#xe9; &bogus; &#xD800;": "it’s café &bogus; &#xd800;",
        "&amp;lt; is not decoded twice": "&lt; is not decoded twice",
        r"it\u2019s \ud83d\ude00 \ud83d alone": "it’s 😀 alone",
        "  tabs\tand\nlines ": "tabs and lines",
        "": None,
        " \t": None,
        "GRÜẞE İ": "grüße i̇",
    }
    assert made(spark, list(cases), TextRules()) == list(cases.values())
    assert made(spark, [None], TextRules()) == [None]


def test_what_is_configured_is_done(spark: SparkSession) -> None:
    text = "Call 0170-55 NOW, @ann! https://x.y &amp; more"
    dropped = TextRules(urls="drop", mentions="drop", digits="mask", punctuation="drop")
    kept = TextRules(False, False, False, "keep", "keep")
    assert made(spark, [text], dropped) == ["call 0000 00 now more"]
    assert made(spark, [text], kept) == [text]
    assert made(spark, ["a, @b."], TextRules(punctuation="drop")) == ["a <user>"]


def test_mistakes_in_the_mapping_are_all_named() -> None:
    problems: list[str] = []
    TextRules.from_toml({"lower": "yes", "urls": "hide", "emoji": True}, problems)
    assert problems == [
        "text.lower: expected true or false, found 'yes'",
        "text.urls: expected one of mask, drop, keep, found 'hide'",
        "text.emoji: unknown; expected one of digits, entities, escapes, lower, mentions, "
        "punctuation, urls",
    ]


@pytest.mark.parametrize("task", ["irony", "emotion"])
def test_real_tweets_decode_as_python_does(spark: SparkSession, task: str) -> None:
    folder = real_data("tweets") / task
    texts = (folder / "train_text.txt").read_text(encoding="utf-8").split("\n")[:3000]
    odd = [t for t in texts if "&" in t or "\\u" in t]
    assert len(odd) > 30

    def expected(text: str) -> str | None:
        text = re.sub(
            r"(?:\\u[0-9a-fA-F]{4})+",
            lambda m: (
                m.group()
                .encode()
                .decode("unicode_escape")
                .encode("utf-16", "surrogatepass")
                .decode("utf-16")
            ),
            text,
        )
        text = html.unescape(text)
        text = re.sub(r"[\w.+-]+@[\w-]+\.[\w.]+", " <email> ", text, flags=re.A)
        return re.sub(r"\s+", " ", text).strip() or None

    wrong = [(t, m) for t, m in zip(odd, made(spark, odd, PLAIN), strict=True) if m != expected(t)]
    assert wrong == []
