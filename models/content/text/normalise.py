"""Text as the models of content read it: tokens, one blank between two of them."""

from __future__ import annotations

import html
import re
import unicodedata

MARKS = {"user": "@user", "link": "<link>", "number": "<number>"}
"""What stands in a text for any person, any address and any long number."""
MAX_CHARACTERS = 2000
"""What of a text is read: no text costs more than this many characters."""

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_LINK = re.compile(r"(?:https?:/{1,2}|www\.)\S+|\bhttp\b", re.IGNORECASE)
_USER = re.compile(r"(?<![\w@])@\w+")
_NUMBER = re.compile(r"\b\d{3,}\b")
_REPEATED = re.compile(r"(\w)\1{2,}")
_REPEATED_SIGN = re.compile(r"([^\w\s])\1+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_HASHTAG = re.compile(r"#(\w+)")
_SHOUTED = re.compile(r"\b[A-Z]{3,}\b")
_TOKEN = re.compile(
    r"@user|<\w+>|[:;=8][-o*']?[()\[\]dp/\\|]|<3|#?\w+(?:['’]\w+)*|[^\w\s]{1,2}(?=\s|\w|$)|[^\w\s]"
)
_LOOKS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": " … ", "\ufe0f": ""})


def normalised(text: str) -> str:
    """Lower-case tokens with one blank between them; '' for a text with none.

    People, links and long numbers become marks, letters and signs that are repeated for emphasis
    stand twice, a hashtag stands whole and then as the words that its capitals tell apart.
    """
    text = text[:MAX_CHARACTERS]
    if "\\u" in text:
        text = _ESCAPE.sub(_unescaped, text)
    if "&" in text:
        text = html.unescape(html.unescape(text))
    text = unicodedata.normalize("NFKC", text.translate(_LOOKS))
    text = _LINK.sub(" <link> ", text)
    text = _USER.sub(" @user ", text)
    if "#" in text:
        text = _HASHTAG.sub(_hashtag, text)
    emphasis = " <shouted>" if _SHOUTED.search(text) else ""
    text, n_long = _REPEATED.subn(r"\1\1", text.lower() + emphasis)
    if n_long:
        text += " <long>"
    text = _REPEATED_SIGN.sub(r"\1\1", text)
    text = _NUMBER.sub("<number>", text)
    return " ".join(_TOKEN.findall(text))


def _unescaped(match: re.Match[str]) -> str:
    """The character of a `\\u2019` written out; half of a pair (a surrogate) is dropped."""
    code = int(match[1], 16)
    return "" if 0xD800 <= code < 0xE000 else chr(code)


def _hashtag(match: re.Match[str]) -> str:
    words = _CAMEL.findall(match[1])
    return f"{match[0]} {' '.join(words)}" if len(words) > 1 else match[0]
