"""Broken JSON objects: where they end, and that nothing within them is a row."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from jobs.landing.json_rows import NOT_JSON_TO_THE_END
from jobs.landing.read import raw_rows
from jobs.mapping.raw_row import CUT_OFF, WHOLE_FILE, row_hash
from tests.jobs.landing.reading import read, refusal, source


def test_a_broken_object_with_objects_in_it_costs_itself_only(tmp_path: Path) -> None:
    """However broken: its brackets say where it ends, and what is in it is no row."""
    path, n = tmp_path / "a", 0
    inner = '[{"id": 8, "text": "}], [{"}, {"id": 9, "text": "b"}]'
    broken = {
        f'{{"id": NaN, "text": {inner}}}': "NaN is no JSON value",
        f'{{"id": 7, "id": 7, "text": {inner}}}': "a JSON key is there twice",
        f'{{"text": {"[" * 3000}{inner}{"]" * 3000}}}': "JSON nested too deep",
        f'{{"id": oops, "text": {inner}}}': "not valid JSON",
        f'{{"id": "\\x", "text": {inner}}}': "not valid JSON",
        f'{{"id": "two\nlines", "text": {inner}}}': "not valid JSON",
        f'{{"id": 7 , , "text": {inner}}}': "not valid JSON",
        f'{{"text": {inner.replace("}, {", "} {")}}}': "not valid JSON",
    }
    for one, problem in broken.items():
        for opening, between, closing in ("[,]", ("", "\n", ""), ("", "", "")):
            objects = ['{"id": 1}', one, '{"id": 2}', one, one, '{"id": 3}']
            path.write_text(opening + between.join(objects) + closing)
            for format_ in ("json",) if opening or "\n" in one else ("json", "jsonl"):
                assert read(path, source(format_, missing_key="null")) == [
                    (1, ["1", None], None),
                    (2, None, problem),
                    (3, ["2", None], None),
                    (4, None, problem),
                    (5, None, problem),
                    (6, ["3", None], None),
                ]
                n += 1
    assert n == 8 * 5 - 2


@pytest.mark.parametrize(
    ("inner", "ids"),
    [
        ('{"id": 1},,{"id": 2}', ["1", ",", "2"]),
        (',{"id": 1} , , , {"id": 2},', [",", "1", ",", ",", "2"]),
        (",", [","]),
    ],
)
def test_a_comma_that_stands_for_a_lost_object_is_a_broken_row_of_its_own(
    tmp_path: Path, inner: str, ids: list[str]
) -> None:
    """Its bytes are those of the comma: a row of no bytes could be anywhere."""
    path = tmp_path / "a"
    path.write_text(f"[{inner}]")
    rows = list(raw_rows(path, source("json", missing_key="null", max_undecodable_share=1.0)))
    rows = [row for row in rows if row.line != WHOLE_FILE]
    assert [row.fields[0] if row.fields else "," for row in rows] == ids
    commas = [(row.row_hash, row.problem) for row in rows if row.fields is None]
    assert commas == [(row_hash(b","), "not valid JSON")] * ids.count(",")


@pytest.mark.parametrize(
    "one",
    [
        '{"id": "7, "text": [{"id": 8}, {"id": 9}]}',
        '{"id": 7", "text": [{"id": 8}, {"id": 9}]}',
        '{"id": 7, "text": [{"id": 8, {"id": 9}]}',
        '{"id": 7, "text": {"id": 8}, {"id": 9}]}',
        "{'id': 7, 'text': [{'id': '}, {\"id\": 8}, {'}]}",
    ],
)
def test_where_a_broken_object_ends_is_not_guessed(tmp_path: Path, one: str) -> None:
    """With a quote or a bracket too many or too few, what follows may be a part of it."""
    path = tmp_path / "a"
    path.write_text(f'[{{"id": 1}}, {one}, {{"id": 2}}]')
    assert read(path, source("json", missing_key="null")) == [
        (1, ["1", None], None),
        (2, None, NOT_JSON_TO_THE_END),
    ]
    assert NOT_JSON_TO_THE_END == (
        "not valid JSON, nor can it be told where it ends: all behind it is left out"
    )
    path.write_text(f'{{"id": 1}}{one}{{"id": 2}}\n{{"id": 3}}\n')
    assert read(path, source("jsonl", missing_key="null")) == [
        (1, ["1", None], None),
        (2, None, "not valid JSON"),
        (3, ["3", None], None),
    ]


@pytest.mark.parametrize(
    ("broken", "layout"),
    [
        ('{"id": "7, "text": "a"}', ("[", ",", "]")),
        ('{"id": "7, "text": "a"}', ("", "", "")),
        ('{"id": 7, "text": [{"a": 1}', ("", "", "")),
    ],
)
def test_rows_behind_an_object_whose_end_cannot_be_told_count_as_many(
    tmp_path: Path, broken: str, layout: tuple[str, str, str]
) -> None:
    path, (opening, between, closing) = tmp_path / "a", layout
    one = '{"id": 1, "text": "a"}'
    path.write_text(opening + between.join([*[one] * 50, broken, *[one] * 50]) + closing)
    why = refusal(path, source("json"))
    assert why is not None
    assert "cannot be decoded, as much as 5" in why
    assert " rows, more than max_undecodable_share = 0.01 allows; the first is line 51: " in why
    path.write_text(opening + between.join([*[one] * 50, broken, *[one] * 5]) + closing)
    assert [problem is None for _, _, problem in read(path, source("json"))] == [True] * 50 + [
        False
    ]


def test_an_object_that_is_open_at_the_end_was_perhaps_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for open_ in ('{"id": [2, {', '{"id": 2, "te', '{"id": oops, "text": "}', '{"id": NaN'):
        path.write_text('{"id": 1, "text": "a"}' + open_)
        for format_ in ("json", "jsonl"):
            assert read(path, source(format_)) == [(1, ["1", "a"], None), (2, None, CUT_OFF)]


def test_a_file_whose_array_is_not_its_end_is_refused(tmp_path: Path) -> None:
    """A bracket was lost in the second object: the third row is a part of it."""
    path = tmp_path / "a"
    why = (
        "more follows behind the end of its array: a bracket is missing or one too many, or several "
        "arrays were joined; mend or split the file"
    )
    inner = '{"id": 1, "text": "a"}, {"id": 2, "text": "b"}, {"id": 3}]'
    for text in (f"[{inner}}}, {{}}]", f"[{inner}\n[{inner}", f"[{inner}]", f"[{inner} x"):
        path.write_text(text)
        assert refusal(path, source("json")) == why
    path.write_text(f"[{inner} \n\n")
    assert refusal(path, source("json")) is None


def record(i: int, rng: random.Random) -> tuple[str, int, int]:
    """An object with a list of others, whose ids begin with an r, and where the list stands."""
    texts = ["plain", "", "}, {", '"}]}, {"', "[1]", ",", "so, so"]
    replies = [
        {"id": f"r{i}{k}", "text": rng.choice(texts), "more": rng.choice([[], [{"id": "rr"}], {}])}
        for k in range(rng.randint(1, 3))
    ]
    before, within = f'{{"id":"e{i}","replies":', json.dumps(replies)
    return f'{before}{within},"text":"x"}}', len(before), len(before) + len(within)


SIGNS = [
    '"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\\",
    "'",
    "\n",
    " ",
    "NaN",
    '"id":"r",',
    "}{",
    "},{",
    "\x00",
]


def with_accident(text: str, start: int, end: int, rng: random.Random) -> str:
    """Within the span a piece is lost, put in or there twice."""
    at = rng.randint(start, end)
    to = min(end, at + rng.choice([1, 1, 2, 5, 40]))
    match rng.randrange(4):
        case 0 | 1:
            return text[:at] + text[to:]
        case 2:
            return text[:at] + rng.choice(SIGNS) + text[at:]
    return text[:to] + text[at:]


@pytest.mark.parametrize(
    ("format_", "layout"),
    [("json", ("[", ",\n", "]")), ("json", ("", "\n", "")), ("jsonl", ("", "", "\n"))],
)
def test_no_row_is_made_of_an_object_within_another(
    tmp_path: Path, format_: str, layout: tuple[str, str, str]
) -> None:
    """Seeded accidents within lists of objects: what is within is no row, and what is good is one
    unless the file is refused or left out from the broken object on."""
    path, rng = tmp_path / "a", random.Random(11)
    opening, between, closing = layout
    n_good = 0
    for _ in range(700):
        records = [record(i, rng) for i in range(8)]
        objects = [text for text, _, _ in records]
        broken = rng.randrange(8)
        text, start, end = records[broken]
        objects[broken] = with_accident(text, start, end, rng)
        path.write_text(opening + between.join(objects) + closing)
        of = source(format_, max_undecodable_share=1.0, missing_key="null")
        if refusal(path, of) is not None:
            continue
        rows = read(path, of)
        ids = [fields[0] for _, fields, _ in rows if fields]
        assert all(id_ and id_.startswith("e") for id_ in ids), objects[broken]
        assert ids[:broken] == [f"e{i}" for i in range(broken)], objects[broken]
        is_rest = rows[-1][2] is not None
        n_good += len(ids)
        rest = [f"e{i}" for i in range(broken + 1, 8)]
        assert is_rest or ids[-len(rest) :] == rest or not rest, objects[broken]
    assert n_good > 3000
