"""Text, normalised: against Python's own decoder, and on real tweets."""

from __future__ import annotations

import html
import random
import re
from html.entities import html5, name2codepoint

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.values.text import TextRules, normalised
from tests.conftest import real_data

PLAIN = TextRules(lower=False, urls="keep", mentions="keep")


def cleaned_by(spark: SparkSession, texts: list[str | None], rules: TextRules) -> list[str | None]:
    rows = spark.createDataFrame([(i, t) for i, t in enumerate(texts)], "i int, text string")
    steps = normalised("plain", F.col("text"), rules)
    rows = rows.select("i", "text", *(column.alias(name) for name, column in steps))
    return [row.plain for row in rows.orderBy("i").collect()]


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
    assert cleaned_by(spark, list(cases), TextRules()) == list(cases.values())
    assert cleaned_by(spark, [None], TextRules()) == [None]


def test_mails_and_mentions_of_every_script_leave_nothing_of_the_name(spark: SparkSession) -> None:
    cases = {
        "write to jürgen.müller@example.com": "write to <email>",
        "hi @müller and @Мария and @小明": "hi <user> and <user> and <user>",
        "an anna@müller.example.": "an <email> .",
        "почта мария.иванова@пример.рф, да": "почта <email> , да",
        "小明@例子。中国 和 user＠example．com": "<email> 和 <email>",
        "＠müller und ﹫anna.schmidt-meyer!": "<user> und <user> !",
        "谢谢@小明 ありがとう@花子さん": "谢谢 <user> ありがとう <user>",
        "jürgen@localhost": "<user>",  # no host that mails go to, yet a name is a name
        '"jürgen müller"@example.com ok': "<email> ok",
        "o'brien&sons/x=1@example.com": "<email>",
        "root@[127.0.0.1] and @anna@instance.social": "<email> and <email>",
        "e\u0301 @Jose\u0301 and @जोशी": "e\u0301 <user> and <user>",
        "3 @ 5 euros, .@bob. hello!@ann": "3 @ 5 euros, . <user> . hello! <user>",
    }
    assert cleaned_by(spark, list(cases), TextRules()) == list(cases.values())


def test_dots_hyphens_and_apostrophes_of_names_go_with_them(spark: SparkSession) -> None:
    cases = {
        "@ジョン・スミス and @col·lectiu.nord": "<user> and <user>",
        "@anna‑müller and @o'brien and @d’artagnan": "<user> and <user> and <user>",
        "ジョン・スミス@example.com": "<email>",
        "@-ann- and @.ann": "<user> - and <user>",
        "@ann's and '@ann' and @ann’s": "<user> 's and ' <user> ' and <user> ’s",
        "so @...and @ - ann": "so @...and @ - ann",
    }
    assert cleaned_by(spark, list(cases), TextRules()) == list(cases.values())


def test_mentions_as_chats_export_them_leave_nothing_of_the_name(spark: SparkSession) -> None:
    cases = {
        "hi <@U0123|ann.miller>, <@!4567> and <@89>": "hi <user> , <user> and <user>",
        "ask @[Ann Miller](0123) or @[0123:Bob]": "ask <user> or <user>",
        "root@[127.0.0.1] <ann@example.com>": "<email> < <email> >",
        "5 <@ 6, a[@] and @[]": "5 <@ 6, a[@] and @[]",
    }
    assert cleaned_by(spark, list(cases), TextRules()) == list(cases.values())
    assert cleaned_by(spark, ["<@U1|ann>"], TextRules(mentions="keep")) == ["<@u1|ann>"]


def test_a_text_of_which_nothing_can_be_seen_is_none(spark: SparkSession) -> None:
    assert cleaned_by(spark, ["\u200b", " \ufeff \u2060", "\u2764\ufe0f"], TextRules()) == [
        None, None, "\u2764\ufe0f"
    ]  # fmt: skip


def test_of_what_is_glued_by_several_ats_nothing_is_left(spark: SparkSession) -> None:
    cases = {
        "ann.miller@gmail@example.com": "<email>",
        "to a@b@c.com, please": "to <email> , please",
        "@ann@bob": "<user> <user>",
        "hi@ann@bob!": "<user> <user> !",
        "ann@@example.com": "<email>",
        "ann＠gmail﹫example．com": "<email>",
        "@@ann@x.com@bob": "<email>",
        "ann@x.com@ bob": "<email> bob",
        "ann@bob@[127.0.0.1].": "<email> .",
        'ann@"bob miller"@x.com': "<email>",
        '"ann miller"@gmail@x.com': "<email>",
        "an @ann@müller@例子.中国, ok": "an <email> , ok",
    }
    assert cleaned_by(spark, list(cases), TextRules()) == list(cases.values())
    kept = TextRules(mentions="keep")
    mails = ["ann.miller@gmail@example.com", "ann@@example.com", "ann@x.com@bob", "@ann@bob"]
    assert cleaned_by(spark, mails, kept) == ["<email>", "<email>", "<email>", "@ann@bob"]


def test_links_need_no_space_before_them_and_end_at_any_space(spark: SparkSession) -> None:
    cases = {
        "看http://t.co/abc 吧": "看 <url> 吧",
        "看https://例子.中国/路\u3000吧": "看 <url> 吧",
        "siehe www.Müller.example/x und WWW.x.y": "siehe <url> und <url>",
        "看www.x.y ftp://x/y": "看 <url> <url>",
        "awww.that is sweet": "awww.that is sweet",
        "tg://resolve?domain=ann, seehttps://x.y": "<url> see <url>",
        "fb://profile/1 :// a://b 4://5": "<url> :// a://b 4://5",
    }
    assert cleaned_by(spark, list(cases), TextRules()) == list(cases.values())


def test_an_at_is_seen_however_often_it_was_escaped(spark: SparkSession) -> None:
    mails = [
        r"ann\u0040example.com", r"ann\\u0040example.com", r"ann\\\\u0040example.com",
        r"ann\u005cu0040example.com", r"ann\u0026#64;example.com", r"ann\@example.com",
        r"ann\\@example.com", r"ann\uFF20example.com", r"ann&#92;u0040example.com",
        "ann&#64;example.com", "ann&#64example.com", "ann&#x40;example.com", "ann&#X40;example.com",
        "ann&#00000064;example.com", "ann&#x00000040;example.com", "ann&commat;example.com",
        "ann&amp;#64;example.com", "ann&amp;amp;#64;example.com", "ann&amp;amp;amp;commat;example.com",
        "ann&#38;#64;example.com", "ann&#x26;amp;#x40;example.com", "ann&#65312;example.com",
        "ann%40example.com", "ann%2540example.com", "ann&#37;40example.com", "ann%EF%BC%A0example.com",
        "ann&lowbar;m&commat;example&period;com", "ann.m&#64;example&#46;com",
    ]  # fmt: skip
    assert cleaned_by(spark, mails, TextRules()) == ["<email>"] * len(mails)
    as_is = TextRules(entities=False, escapes=False)
    raw = [
        mail for mail in mails if "period" not in mail and "#46" not in mail and "005c" not in mail
    ]
    raw = [mail for mail in raw if "0026" not in mail and "#92" not in mail and "#37" not in mail]
    assert cleaned_by(spark, raw, as_is) == ["<email>"] * len(raw)
    cases = {
        r"hi \\u0040ann!": "hi <user> !",
        r"hi \@ann!": "hi <user> !",
        "hi &amp;commat;ann": "hi <user>",
        "50%4 at 100%, &#640; &amp;copy; &#6400": "50%4 at 100%, ʀ &copy; &#6400",
    }
    assert cleaned_by(spark, list(cases), TextRules()) == list(cases.values())


def test_a_link_is_seen_without_its_scheme_and_however_often_it_was_escaped(
    spark: SparkSession,
) -> None:
    links = [
        r"https:\/\/example.com\/ann", r"https:\\/\\/example.com", r"https\u003a\u002f\u002fexample.com",
        r"http\\u003a\\/\\/example.com/ann", "https&colon;&sol;&sol;example.com/ann",
        "https&amp;#58;//example.com/ann", "https%3A%2F%2Fexample.com%2Fann", "ftp%253a%252F%252fx/y",
        "instagram.com/ann.miller", "www.instagram.com/ann", "m.facebook.com/ann.miller.5?x=1",
        "t.co/aBc", "Example.CO.UK/~ann", "youtube.com/@ann", "example.de:8080/ann", "müller.de/ann",
        "xn--mller-kva.de/ann", "my_blog.example.org/ann", "пример.рф/анна",
    ]  # fmt: skip
    assert cleaned_by(spark, links, TextRules()) == ["<url>"] * len(links)
    assert cleaned_by(spark, [f"see ({t}" for t in links], TextRules()) == ["see ( <url>"] * len(
        links
    )
    cases = {
        "and/or 24/7 1.5/2.0 a.m./p.m. e.g/x w/o": "and/or 24/7 1.5/2.0 a.m./p.m. e.g/x w/o",
        "read file.txt/x and instagram.com": "read file.txt/x and instagram.com",
        "see instagram.com/ and x.com/a, ok": "see instagram.com/ and <url> ok",
        "ann@example.com/x": "<email> /x",
    }
    assert cleaned_by(spark, list(cases), TextRules()) == list(cases.values())
    assert cleaned_by(spark, ["x.com/ann t"], TextRules(urls="keep")) == ["x.com/ann t"]


def test_entities_of_html_are_decoded_once(spark: SparkSession) -> None:
    texts = [
        f"a &{name[:-1]}; b"
        for name, sign in html5.items()
        if name.endswith(";") and (name[:-1] in name2codepoint or sign.isascii())
        if sign not in "@&"
    ]
    texts += [
        "&AMP;lt; &amp;Lt; &LT; &#000000956; &apos;",
        "&DiacriticalGrave;x",
    ]
    wrong = [
        (text, got)
        for text, got in zip(texts, cleaned_by(spark, texts, PLAIN), strict=True)
        if got != " ".join(html.unescape(text).split())
    ]
    assert wrong == []


def test_digits_and_punctuation_of_every_script_are_masked(spark: SparkSession) -> None:
    rules = TextRules(digits="mask", punctuation="drop")
    assert cleaned_by(spark, ["٠١٧٠ 「はい」、 „ja“ 😀 @b"], rules) == ["0000 はい ja 😀 <user>"]


def test_no_name_survives_masking_seeded(spark: SparkSession) -> None:
    random_ = random.Random(8)
    scripts = [
        "abzäöüßéñ",
        "абвгдёжя",
        "αβγάώ",
        "אבגד",
        "ابتثج",
        "你好小明",
        "かなカナ",
        "김이박",
        "अबकि",
    ]
    around = [" ", "\n", "(", ")", ",", ": ", "\u3000", "你", "。", "“", "'s ", "!"]

    def name() -> str:
        letters = random_.choice(scripts)
        return "".join(random_.choice(letters) for _ in range(random_.randint(3, 8)))

    def written(first: str, second: str) -> str:
        at = random_.choice("@@@＠﹫")
        dot = random_.choice(["", ".", "_", "-"])
        mail = f"{first}{dot}{second}{at}{random_.choice(['x.com', 'bücher.example', '例子.中国'])}"
        several = (
            f"{first}{at}{second}{random_.choice('@＠﹫')}{random_.choice(['x.com', 'ß.中国'])}"
        )
        twice = f"{first}{dot}{second}{at * 2}x.com"
        return random_.choice(
            [mail, f"{at}{first}{dot}{second}", several, f"{at}{several}", f"{mail}@x", twice]
        )

    names = [(name(), name()) for _ in range(1200)]
    texts = [
        f"xx{random_.choice(around)}{written(*pair)}{random_.choice(around[:8])}zz"
        for pair in names
    ]
    for pair, text, shown in zip(names, texts, cleaned_by(spark, texts, TextRules()), strict=True):
        assert shown is not None
        assert re.search("<(email|user)>", shown), (text, shown)
        assert not any(part in shown for part in pair), (text, shown)


@pytest.mark.slow
def test_a_very_long_word_takes_no_square_of_steps(spark: SparkSession) -> None:
    n = 200_000
    long = ["a" * n + " @b", "a." * (n // 2) + "@", "@" * n, '"' * (n // 10)]
    long += ["a@" * (n // 2), "a@[" * (n // 3), '"a"@b@' * (n // 10), "a@b." * (n // 5)]
    long += ["\\" * n, "&" + "amp;" * (n // 4), "&#" + "0" * n, "%" + "25" * (n // 2)]
    long += ["https:" + "\\" * n, "a." * (n // 2) + "/", "a-" * (n // 2) + ".com/"]
    long += ["a" * n + "://x", "a." * (n // 2) + "b://x", "@a" + "'aa" * (n // 3)]
    long += ["<@" * (n // 2), "@[" * (n // 2), "<@" + "a" * n]
    long += ["ж" * n + "@ ann@ex.org", "aж" * (n // 2) + "@b"]
    cleaned = cleaned_by(spark, long, TextRules())
    assert len(cleaned[0] or "") == n + 7
    assert cleaned[-1] == "<user>"


def test_what_is_configured_is_done(spark: SparkSession) -> None:
    text = "Call 0170-55 NOW, @ann! https://x.y &amp; more"
    dropped = TextRules(urls="drop", mentions="drop", digits="mask", punctuation="drop")
    kept = TextRules(False, False, False, "keep", "keep")
    assert cleaned_by(spark, [text], dropped) == ["call 0000 00 now more"]
    assert cleaned_by(spark, [text], kept) == [text]
    assert cleaned_by(spark, ["a, @b."], TextRules(punctuation="drop")) == ["a <user>"]


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
@pytest.mark.slow
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
        text = re.sub(r"[^\s@\"()<>,:;]+@[\w-]+\.[\w.-]*\w", " <email> ", text)
        return re.sub(r"\s+", " ", text).strip() or None

    wrong = [
        (t, m) for t, m in zip(odd, cleaned_by(spark, odd, PLAIN), strict=True) if m != expected(t)
    ]
    assert wrong == []
