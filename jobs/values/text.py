"""Text made comparable: entities and escapes decoded, links and people masked, case folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from html.entities import html5, name2codepoint
from typing import Any

from pyspark.sql import Column
from pyspark.sql import functions as F

from contracts.values import shown
from jobs.values.host_endings import ENDINGS
from jobs.values.trimming import trimmed

MARKS = {"urls": "<url>", "mentions": "<user>", "digits": "0"}
_CHOICES = {
    "urls": ("mask", "drop", "keep"),
    "mentions": ("mask", "drop", "keep"),
    "digits": ("keep", "mask", "drop"),
    "punctuation": ("keep", "drop"),
}
_PAIR, _LIST = "\x01", "\x02"

Steps = tuple[tuple[str, Column], ...]
"""Columns by name, each computed over those before it."""

# Java's \w, \d and \s know ASCII alone: names, digits and spaces of every script are spelt out.
_NAME = r"\p{L}\p{M}\p{N}\p{Pc}\p{Cf}"
_JOINS = r".\-\x{b7}\x{2010}\x{2011}\x{2027}\x{30fb}\x{ff0d}\x{ff65}"
"""Dots and hyphens that stand within names: also those of Catalan and Japanese, and such as are not
broken at a line's end."""
_LOCAL = _NAME + _JOINS + r"!#$%&'*+/=?\^`{|}~"
"""What stands before the @ of a mail (RFC 5322, and RFC 6531 for other scripts)."""
_AT, _DOT = "@＠﹫", ".．。｡"
_MORE = rf"(?:[{_NAME}{_JOINS}]*[{_NAME}])?"
_SPACED = (
    rf"{_NAME}.+\-&&[^\p{{IsHan}}\p{{IsHiragana}}\p{{IsKatakana}}\p{{IsHangul}}"
    r"\p{IsThai}\p{IsLao}\p{IsKhmer}\p{IsMyanmar}]"
)
"""Words of scripts that put spaces between words: what is glued to an @ belongs to a name."""
_ASCII_WORD = r"A-Za-z0-9_.+\-"

# Each starts where no earlier character could have started it, and gives nothing back, so that a
# word of a million letters takes a million steps and not their square.
_REST = r"[^\s\p{Z}]+"
_SCHEME = r"[a-z0-9+.\-]"
LINK = (
    rf"(?i)(?:(?:https?|ftps?)://|(?<!{_SCHEME})(?!{_SCHEME}{{0,30}}(?:https?|ftps?)://)[a-z]"
    rf"{_SCHEME}{{1,30}}+://|(?<![a-z0-9@._-])www\.){_REST}"
)
"""Schemes of the web stand wherever they do; others, such as `tg` and `fb`, are words."""
_LABEL = r"[\p{L}\p{N}_-]"
BARE_LINK = (
    rf"(?i)(?<![\p{{L}}\p{{N}}@._-])(?:{_LABEL}++\.)++(?:{'|'.join(ENDINGS)})"
    rf"(?::\d{{1,5}})?/{_REST}"
)
"""A host with a path, such as `instagram.com/ann.miller`: a path may name somebody."""
_WITH_AT = f"{_LOCAL}{_AT}"
_HOST = rf"(?:\[[^\]\s]{{0,64}}+\]|[{_NAME}\-]++[{_DOT}][{_NAME}{_DOT}\-]*[{_NAME}])"
_QUOTED = rf'"[^"\n]{{1,64}}"[{_AT}]++(?:[{_LOCAL}]++[{_AT}]++)*+{_HOST}'
MAIL = (
    rf"(?<![{_WITH_AT}])[{_AT}]*+(?=[{_LOCAL}]++[{_AT}])(?:(?=[{_WITH_AT}]*?[{_AT}]{_HOST})"
    rf"(?:[{_LOCAL}]++[{_AT}]++)++(?:{_HOST}|[{_NAME}]{_MORE})?"
    rf"|[{_WITH_AT}]++(?<=[{_AT}]){_QUOTED})|[{_AT}]?{_QUOTED}"
)
"""All that stands together with an @, if a host follows one of them: of
`ann.miller@gmail@example.com` the mail at its end alone would leave the name."""
MENTION = (
    rf"(?<![{_AT}])[{_AT}]++[.\-]{{0,2}}+[{_NAME}]{_MORE}"
    rf"(?:['\x{{2019}}\x{{ff07}}][{_NAME}](?=[{_NAME}]){_MORE}){{0,3}}+"
)
"""An apostrophe with one letter behind it is no part of the name: `@ann's`."""
MENTION_IN_SIGNS = (
    rf"<[{_AT}][^\s<>]{{1,100}}+>"
    rf"|(?<![{_WITH_AT}])[{_AT}]\[[^\]\n]{{1,100}}+\](?:\([^()\s]{{0,100}}+\))?"
)
"""As chats export them: `<@U0123|ann>`, `<@!0123>`, `@[Ann Miller](0123)`."""
MENTION_IN_WORD = (
    rf"(?:(?<![{_ASCII_WORD}])(?<![{_SPACED}])(?:[{_ASCII_WORD}]++|[{_SPACED}])*+(?<=[{_NAME}]))?"
    + MENTION
)
"""With the word that the @ is glued to. ASCII stands before all other scripts, for it is looked up
in a table and they are not: three quarters of the time."""
_AMPERSAND = r"&(?:amp;|#0*38;|#x0*26;)*+"


def _spelled(names: str, points: Sequence[int]) -> str:
    """How characters are written for HTML, JSON and addresses, however often that was done over."""
    decimal = "|".join(str(point) for point in points)
    hexadecimal = "|".join(f"{point:x}" for point in points)
    four = "|".join(f"{point:04x}" for point in points)
    utf8 = "|".join("%(?:25)*+".join(["", *_bytes(point)]) for point in points)
    return (
        rf"{_AMPERSAND}(?:#0*+(?:{decimal})(?![0-9]);?|#x0*+(?:{hexadecimal})(?![0-9a-f]);?"
        rf"|(?:{names});)|(?<!\\)\\++u(?:{four})|{utf8}"
    )


def _bytes(point: int) -> list[str]:
    return [f"{byte:02x}" for byte in chr(point).encode()]


SPELLED_AT = rf"(?i){_spelled('commat', [0x40, 0xFF20, 0xFE6B])}|(?<!\\)\\++[{_AT}]"
"""An @ that is not seen as one yet, and what escapes one: a name before it must not stay."""
SPELLED_LINK = (
    rf"(?i)(https?|ftps?)(?:\\*+:|{_spelled('colon', [0x3A])})"
    rf"(?:\\*+/|{_spelled('sol', [0x2F])}){{2}}"
)
GLUED = rf"[^\s\p{{Z}}{_AT}][{_AT}]"
"""What stands before an @: else there is no mail, and no word before a mention."""
PUNCTUATION = r"(?!<(url|user|email)>|(?<=<(url|user|email))>)[\p{P}$+<=>\^`|~]"


@dataclass(frozen=True)
class TextRules:
    """What is done to every text before it leaves the clean stage. Mails are always masked."""

    lower: bool = True
    entities: bool = True
    """Decode HTML entities: `&amp;`, `&#8217;`, `&#x2019;`."""
    escapes: bool = True
    r"""Decode literal escapes: the six characters `\u2019`."""
    urls: str = "mask"
    mentions: str = "mask"
    digits: str = "keep"
    punctuation: str = "keep"

    @staticmethod
    def from_toml(spec: Mapping[str, Any], problems: list[str]) -> TextRules:
        """The mapping's `[text]`; what is wrong with it is added to `problems`."""
        known = {f.name: f.default for f in fields(TextRules)}
        before = len(problems)
        for name, value in spec.items():
            if name not in known:
                problems.append(f"text.{name}: unknown; expected one of {', '.join(sorted(known))}")
            elif isinstance(known[name], bool):
                if not isinstance(value, bool):
                    problems.append(f"text.{name}: expected true or false, found {shown(value)}")
            elif value not in _CHOICES[name]:
                problems.append(
                    f"text.{name}: expected one of {', '.join(_CHOICES[name])}, "
                    f"found {shown(value)}"
                )
        return TextRules(**spec) if len(problems) == before else TextRules()


def normalised(column: str, text: Column, rules: TextRules) -> Steps:
    """What makes a column of a text, one step over another; null where nothing of it is left.

    Looking for links, mails and names in every script is most of the cost of cleaning a text, and
    few texts have a sign of one: it is looked for first. What is read twice is a step of its own,
    lest it be computed twice.
    """
    steps: list[tuple[str, Column]] = []

    def step(value: Column) -> Column:
        steps.append((f"_{column}_{len(steps)}", value))
        return F.col(steps[-1][0])

    if rules.escapes:
        text = step(F.when(text.contains("\\u"), _unescaped(text)).otherwise(text))
    if rules.entities:
        text = step(F.when(text.contains("&"), _without_entities(text)).otherwise(text))
    spelled = text.contains("&") | text.contains("\\") | text.contains("%")
    text = step(F.when(spelled, _with_signs(text)).otherwise(text))
    linked = text.contains("://") | text.rlike(r"(?i)www\.")
    text = step(F.when(linked, _replaced(text, LINK, rules.urls, "urls")).otherwise(text))
    text = step(
        F.when(text.contains("/"), _replaced(text, BARE_LINK, rules.urls, "urls")).otherwise(text)
    )
    marked = f"<[{_AT}]|[{_AT}]\\["
    text = step(
        F.when(
            text.rlike(marked), _replaced(text, MENTION_IN_SIGNS, rules.mentions, "mentions")
        ).otherwise(text)
    )
    without_mails = F.regexp_replace(text, MAIL, " <email> ")
    text = (
        F.when(
            text.rlike(GLUED),
            _replaced(without_mails, MENTION_IN_WORD, rules.mentions, "mentions"),
        )
        .when(text.rlike(f"[{_AT}]"), _replaced(text, MENTION, rules.mentions, "mentions"))
        .otherwise(text)
    )
    text = _replaced(text, r"\p{Nd}", rules.digits, "digits")
    if rules.punctuation == "drop":
        text = F.regexp_replace(text, PUNCTUATION, " ")
    if rules.lower:
        text = F.lower(text)
    one_line = F.trim(F.regexp_replace(text, r"[\s\p{Z}\p{Cc}]+", " "))
    return (*steps, (column, F.when(trimmed(one_line).isNotNull(), one_line)))


def _replaced(text: Column, pattern: str, choice: str, what: str) -> Column:
    if choice == "keep":
        return text
    mark = MARKS[what] if what == "digits" else f" {MARKS[what]} "
    return F.regexp_replace(text, pattern, mark if choice == "mask" else " ")


def _with_signs(text: Column) -> Column:
    """The text with the signs of mails, mentions and links as they are, however they were written.

    All else is decoded once: `&amp;lt;` stands for `&lt;`, which somebody wrote.
    """
    return F.regexp_replace(F.regexp_replace(text, SPELLED_AT, "@"), SPELLED_LINK, "$1://")


def _unescaped(text: Column) -> Column:
    r"""Runs of `\u` escapes decoded together, for a pair of surrogates is one character."""
    runs = F.array_distinct(
        F.regexp_extract_all(text, F.lit(r"((?:\\u[0-9a-fA-F]{4})+)"), F.lit(1))
    )
    longest_first = F.array_sort(runs, lambda a, b: F.length(b) - F.length(a))
    return F.aggregate(
        longest_first,
        text,
        lambda replaced, run: F.replace(
            replaced, run, _utf16(F.replace(run, F.lit("\\u"), F.lit("")))
        ),
    )


def _utf16(digits: Column) -> Column:
    """Half a pair of surrogates decodes to nothing sensible: Spark refuses it, so it is dropped."""
    halves = r"(?i)(d[89ab][0-9a-f]{2}d[c-f][0-9a-f]{2})|d[89a-f][0-9a-f]{2}"
    whole = F.regexp_replace(_spaced(digits), halves, "$1")
    return F.decode(F.unhex(F.replace(whole, F.lit(" "), F.lit(""))), "UTF-16BE")


def _spaced(digits: Column) -> Column:
    """Code units apart, and pairs of surrogates together again."""
    apart = F.regexp_replace(digits, r"(.{4})", "$1 ")
    return F.regexp_replace(apart, r"(?i)(d[89ab][0-9a-f]{2}) (d[c-f][0-9a-f]{2})", "$1$2")


def _without_entities(text: Column) -> Column:
    """`&amp;` comes last, so that what it stands before is not decoded a second time."""
    named = F.str_to_map(F.lit(_ENTITIES), F.lit(_LIST), F.lit(_PAIR))

    def decode(pattern: str, base: int) -> None:
        nonlocal text
        entities = F.array_distinct(F.regexp_extract_all(text, F.lit(pattern), F.lit(1)))
        if base == 0:
            entities = F.array_remove(entities, "amp")  # most of them
        opening = {0: "&", 10: "&#", 16: "&#x"}[base]
        text = F.aggregate(
            entities,
            text,
            lambda done, name: F.replace(
                done,
                F.concat(F.lit(opening), name, F.lit(";")),
                F.coalesce(
                    F.try_element_at(named, name) if base == 0 else _character(name, base),
                    F.concat(F.lit(opening), name, F.lit(";")),
                ),
            ),
        )

    decode(r"&([A-Za-z][A-Za-z0-9]{1,23});", 0)
    decode(r"&#(0*+\d{1,7});", 10)
    decode(r"&#x(0*+[0-9a-fA-F]{1,6});", 16)
    return F.regexp_replace(text, "&(?:amp|AMP);", "&")


_ENTITIES = _LIST.join(
    f"{name[:-1]}{_PAIR}{character}"
    for name, character in html5.items()
    if name.endswith(";") and (name[:-1] in name2codepoint or character.isascii())
    if character != "&"
)
"""Those of HTML 4, and those of HTML 5 for the signs of ASCII, behind which a mail may hide: Spark
makes a map of them wherever it computes over the text, so that all of HTML 5 would take minutes."""


def _character(digits: Column, base: int) -> Column:
    """The character of a code point; null where there is none."""
    point = F.conv(digits, base, 10).cast("bigint")
    is_character = point.between(1, 0x10FFFF) & ~point.between(0xD800, 0xDFFF)
    return F.when(is_character, F.decode(F.unhex(F.lpad(F.hex(point), 8, "0")), "UTF-32"))
