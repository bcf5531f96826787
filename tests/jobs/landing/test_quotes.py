"""Two quotes that span lines: a cell with line breaks, or rows between two stray quotes."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.landing.csv_rows import LINE_BREAK, MAX_JUDGED_LINES, STRAY_QUOTE, UNCLEAR_QUOTES
from jobs.mapping.raw_row import LONG_CELL
from tests.jobs.landing.reading import read, source


def test_lines_of_prose_with_as_many_commas_as_a_row_are_one_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        'review,text\nr1,"Pros:\nFast, cheap\nNice, quiet\nBuy, now"\nr2,ok\nann,"Good.\nNice, too"\n'
    )
    assert read(path, source("csv", ("review", "text"), multiline=True)) == [
        (2, ["r1", "Pros:\nFast, cheap\nNice, quiet\nBuy, now"], None),
        (6, ["r2", "ok"], None),
        (7, ["ann", "Good.\nNice, too"], None),
    ]
    path.write_text('id,stars,text,day\n1,5,"So, so\nugly, bad, old, big\nno, no, no",2025-01-01\n')
    assert read(path, source("csv", ("id", "stars", "text", "day"), multiline=True)) == [
        (2, ["1", "5", "So, so\nugly, bad, old, big\nno, no, no", "2025-01-01"], None)
    ]


def test_where_it_cannot_be_told_all_lines_are_quarantined(tmp_path: Path) -> None:
    """A list that counts its lines, or rows of two columns between two stray quotes."""
    path = tmp_path / "a.csv"
    path.write_text('1,"Order:\n2,tea\n\n3,milk"\n4,b\n')
    for multiline in (True, False):
        assert read(path, source("csv", header=False, multiline=multiline)) == [
            (1, None, UNCLEAR_QUOTES),
            (2, None, UNCLEAR_QUOTES),
            (4, None, UNCLEAR_QUOTES),
            (5, ["4", "b"], None),
        ]
    assert UNCLEAR_QUOTES == (
        "its quotes make one cell of lines that may be rows by themselves; close or double them"
    )


def test_rows_between_stray_quotes_are_rows_whatever_else_they_hold(tmp_path: Path) -> None:
    """One of them begins a cell with a blank, one lacks a cell, and one has letters for a number."""
    path = tmp_path / "a.csv"
    path.write_text('1,"TV 40,3,x\n2,b, 4,x\n3,b,,x\n4,b,7,x\n5,b,no,x\n6,TV 50",8,x\n7,b,1,x\n')
    of = source("csv", ("id", "item", "n", "rest"), header=False, multiline=True)
    problems = [(line, problem) for line, _, problem in read(path, of)]
    assert problems == [(i, UNCLEAR_QUOTES) for i in range(1, 7)] + [(7, None)]
    path.write_text(path.read_text().replace(" 4", "4"))
    assert [(line, problem) for line, _, problem in read(path, of)] == [
        (i, STRAY_QUOTE if i in (1, 6) else None) for i in range(1, 8)
    ]


def test_with_blanks_between_cells_lines_are_told_apart_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text('1 "TV x 7\n2 b x 7\n3 TV" x 7\n4 b x 7\n5 "so\nfar\nso good" x 7\n')
    of = source("csv", ("id", "a", "b", "c"), header=False, multiline=True, separator="whitespace")
    assert read(path, of) == [
        (1, None, STRAY_QUOTE),
        (2, ["2", "b", "x", "7"], None),
        (3, None, STRAY_QUOTE),
        (4, ["4", "b", "x", "7"], None),
        (5, ["5", "so\nfar\nso good", "x", "7"], None),
    ]


WORDS = [
    "fast",
    "cheap",
    "nice",
    "quiet",
    "good",
    "bad",
    "5",
    "10",
    "days",
    "TV",
    "buy",
    "it",
    "never",
    "again",
    "so-so",
]


def prose(rng: random.Random) -> str:
    """Lines with commas, as people write them."""
    return "\n".join(
        ", ".join(
            " ".join(rng.choices(WORDS, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 4))
        )
        for _ in range(rng.randint(1, 4))
    )


def row(i: int, text: str, wide: bool, rng: random.Random) -> list[str]:
    if not wide:
        return [f"r{i}", text]
    return [
        str(i),
        text,
        rng.choice(["", "1", "12.50"]),
        rng.choice(["DE", "x7", "FR"]),
        "2025-01-31",
    ]


def read_rows(path: Path, n_columns: int) -> list[Sequence[str | None]]:
    of = source("csv", tuple("abcde"[:n_columns]), header=False, multiline=True, null_values=())
    return [fields for _, fields, _ in read(path, of) if fields is not None]


@pytest.mark.parametrize("wide", [False, True])
def test_cells_of_prose_are_read_as_they_were_written(tmp_path: Path, wide: bool) -> None:
    """Seeded; a row that cannot be told is quarantined, and no piece of one is a row."""
    path, rng = tmp_path / "a.csv", random.Random(3)
    rows = [row(i, prose(rng), wide, rng) for i in range(3000)]
    with path.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    good = read_rows(path, len(rows[0]))
    wanted = {tuple(cells) for cells in rows}
    assert [cells for cells in good if tuple(cells) not in wanted] == []
    assert len(good) > 0.98 * len(rows)


@pytest.mark.parametrize(
    ("header", "separator"), [("a, b", ", "), (None, ", "), ("a,b", ", "), (None, ";  ")]
)
def test_rows_whose_cells_have_a_blank_before_them_are_no_prose(
    tmp_path: Path, header: str | None, separator: str
) -> None:
    path = tmp_path / "a.csv"
    rows = ['1, "TV 40 is good', "2, foo", "3, bar", '9, TV 50"', "8, fine"]
    lines = ([header] if header else []) + [row.replace(", ", separator) for row in rows]
    path.write_text("\n".join(lines))
    of = source(
        "csv", ("a", "b"), header=header is not None, multiline=True, separator=separator[0]
    )
    n = len(lines) - len(rows)
    assert read(path, of) == [
        *((n + i, None, UNCLEAR_QUOTES) for i in range(1, 5)),
        (n + 5, ["8", separator[1:] + "fine"], None),
    ]


def test_what_is_not_as_wide_as_a_row_makes_no_cell_of_the_rows_around_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('1,"TV 40\n2,b\n3,b,x\n4,b\n5,TV 50"\n6,b\n')
    assert [problem for _, _, problem in read(path, source("csv", header=False, multiline=True))] == [
        *[UNCLEAR_QUOTES] * 5, None,
    ]  # fmt: skip


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize("n_wider", [0, 1])
def test_no_rows_are_swallowed_between_two_stray_quotes(
    tmp_path: Path, wide: bool, blank: str, n_wider: int
) -> None:
    """Seeded: one opens a cell of some row, the other closes one of a row further on. A row between
    them may have a cell too many."""
    path, rng = tmp_path / "a.csv", random.Random(4)
    n_good = 0
    for _ in range(300):
        rows = [row(i, rng.choice(["TV", "TV 40", "5 cm", "it"]), wide, rng) for i in range(30)]
        plain = {tuple(cells) for cells in rows}
        first, last = sorted(rng.sample(range(30), 2))
        rows[first][1] = '"' + rows[first][1]
        rows[last][1] += '"'
        for i in rng.sample(range(first + 1, last), n_wider if last > first + 4 else 0):
            rows[i].append("x")
        path.write_text("".join(f",{blank}".join(cells) + "\n" for cells in rows))
        good = [
            tuple(cell and cell.strip() for cell in cells)
            for cells in read_rows(path, len(rows[0]))
        ]
        assert [cells for cells in good if cells not in plain] == []
        n_good += len(good)
    assert n_good > (0.9 if wide and not n_wider else 0.5) * 300 * 30


@pytest.mark.parametrize("n", [MAX_JUDGED_LINES + 500, 20_000])
def test_a_cell_may_have_any_number_of_lines(tmp_path: Path, n: int) -> None:
    path, text = tmp_path / "a.csv", "a line of text\n" * n
    path.write_text(f'id,text,day\n1,"{text}",x\n2,b,x\n')
    of = source("csv", ("id", "text", "day"), multiline=True)
    assert read(path, of) == [(2, ["1", text, "x"], None), (n + 3, ["2", "b", "x"], None)]
    without = read(path, source("csv", ("id", "text", "day"), max_undecodable_share=1.0))
    assert [problem for _, _, problem in without] == [LINE_BREAK] * (n + 1) + [None]


def test_a_cell_of_many_lines_that_is_too_long_says_so(tmp_path: Path) -> None:
    path, text = tmp_path / "a.csv", ("x" * 99 + "\n") * 11_000
    path.write_text(f'id,text\n1,b\n2,"{text}"\n3,b\n')
    assert [(line, problem) for line, _, problem in read(path, source("csv", multiline=True))] == [
        (2, None),
        (3, LONG_CELL),
        (11_004, None),
    ]


def test_two_stray_quotes_never_make_one_cell_of_thousands_of_rows(tmp_path: Path) -> None:
    """Where it cannot be told of a few lines, as of rows of two cells, it can of many."""
    path, n = tmp_path / "a.csv", MAX_JUDGED_LINES + 2000
    rows = [f"u{i},i{i}" for i in range(n)]
    rows[3], rows[-3] = 'u,"TV 40', 'u,TV 50"'
    path.write_text("\n".join(rows) + "\n")
    for multiline in (True, False):
        read_rows = read(path, source("csv", header=False, multiline=multiline))
        assert [(line, problem) for line, _, problem in read_rows if problem] == [
            (4, STRAY_QUOTE),
            (n - 2, STRAY_QUOTE),
        ]
        assert len(read_rows) == n


def test_a_long_cell_that_no_column_of_the_source_needs_costs_no_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"id,blob,text\n1,{'x' * 1_100_000},a\n2,,{'x' * 1_100_000}\n3,,b\n")
    assert [(line, problem) for line, _, problem in read(path, source("csv"))] == [
        (2, None),
        (3, LONG_CELL),
        (4, None),
    ]
