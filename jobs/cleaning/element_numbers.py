"""Numbers of JSON that Spark reads as texts, digit by digit.

Its parser makes doubles of numbers with a point or an exponent before it makes texts of them: 1.50
becomes 1.5, 12345678901234567.25 is 1.2345678901234568E16, and 1e3 is 1000.0.
(`spark.sql.json.enableExactStringParsing` is for files alone.) So such numbers stand in quotes,
behind a mark, while it reads them.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.values.json_values import MAX_DIGITS, NUMBER_PARTS

_MARK = "\x00number\x00"
_ESCAPED = _MARK.replace("\x00", r"\u0000")
"""The mark as JSON has it."""
_TEXT = r"""(?:"(?:[^"\\]++|\\.)*+"|'(?:[^'\\]++|\\.)*+')"""
"""In either quotes, as Spark reads both."""
_TOKEN = rf"""(?s){_TEXT}|[-+.\w]++(?:\s*+:)?+|[^-+.\w"']++|."""
"""All that a JSON text consists of: texts, words (a key with its colon), what stands between."""
_INTEGER = r"-?(?:0|[1-9][0-9]*+)"
_NUMBER = rf"^{_INTEGER}(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+$"
_WITH_POINT = rf"({_INTEGER}\.[0-9]++)"
_WHOLE_WITH_POINT = rf"({_INTEGER})\.0++(?![0-9])"
_BEFORE = r"[\[,:\s]"
"""A number stands behind one of these: a quick look tells most texts that have none of a kind."""


def marked(json: Column) -> Column:
    """The JSON text: numbers that are whole are written so, those with a fraction are marked.

    What is no JSON may become another text that is none.
    """
    quoted = f'$1"{_ESCAPED}$2"'.replace("\\", r"\\")
    bare = _replaced(json, _WHOLE_WITH_POINT, "$1$2")
    tokens = F.regexp_extract_all(json, F.lit(_TOKEN), F.lit(0))
    return (
        F.when(~json.rlike(rf"{_BEFORE}-?[0-9]++[.eE]"), json)
        .when(
            json.rlike(rf"{_BEFORE}-?[0-9][0-9.]*+[eE]"),
            F.array_join(F.transform(tokens, _marked), ""),
        )
        .when(json.rlike(_BEFORE + _WHOLE_WITH_POINT), _replaced(bare, _WITH_POINT, quoted))
        .when(json.rlike(_BEFORE + _WITH_POINT), _replaced(json, _WITH_POINT, quoted))
        .otherwise(json)
    )


def _replaced(json: Column, number: str, by: str) -> Column:
    """What `number` matches outside of texts is $2, and what stands between one and the next $1."""
    number += r"(?!\s*+:)"  # a key
    between = rf"""[^-0-9"']++|{_TEXT}|(?!{number})[-0-9]++"""
    return F.regexp_replace(json, rf"(?s)\G((?:{between})*+){number}", by)


def bare(text: Column) -> Column:
    """What Spark reads of such a JSON text, without marks: a number, or a text with numbers."""
    within = F.regexp_replace(text, rf'"{_ESCAPED}([^"]*+)"'.replace("\\", r"\\"), "$1")
    return (
        F.when(text.startswith(_MARK), F.substring(text, len(_MARK) + 1, F.length(text)))
        .when(text.startswith("{") | text.startswith("["), within)
        .otherwise(text)
    )


def _marked(token: Column) -> Column:
    is_read_as_double = token.rlike(_NUMBER) & token.rlike("[.eE]")
    quoted = F.concat(F.lit(f'"{_ESCAPED}'), token, F.lit('"'))
    return F.when(is_read_as_double, F.coalesce(_whole(token), quoted)).otherwise(token)


def _whole(number: Column) -> Column:
    """As `jobs.values.json_values.as_whole` writes it; null where it is not whole."""
    bare = F.nullif(F.regexp_extract(number, r"^(-?[0-9]+)\.0+$", 1), F.lit(""))
    bare = F.when(bare == "-0", F.lit("0")).otherwise(bare)
    return F.when(number.rlike("[eE]"), _without_exponent(number)).otherwise(bare)


def _without_exponent(number: Column) -> Column:
    sign, digits, decimals, exponent = (
        F.regexp_extract(number, NUMBER_PARTS, group) for group in range(1, 5)
    )
    decimals = F.regexp_replace(decimals, "0+$", "")
    digits = F.concat(digits, decimals)
    scale = exponent.try_cast("int") - F.length(decimals)  # null where the exponent is too long
    n_cut, n_zeros = F.greatest(-scale, F.lit(0)), F.greatest(scale, F.lit(0))
    kept = F.concat(F.left(digits, F.length(digits) - n_cut), F.repeat(F.lit("0"), n_zeros))
    whole = F.regexp_replace(kept, "^0+", "")
    is_whole = F.right(digits, n_cut).rlike("^0*$")
    return F.when(
        scale.isNotNull() & is_whole & (F.length(whole) <= MAX_DIGITS),
        F.when(whole == "", F.lit("0")).otherwise(F.concat(sign, whole)),
    )
