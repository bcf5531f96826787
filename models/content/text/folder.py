"""Labelled texts in a folder: a task in each subfolder, as TweetEval lays them out.

A subfolder holds `train_text.txt` and `train_labels.txt`, a text and a class number per line, the
same of `val_`, and `mapping.txt` with the number and name of each class. A task whose subfolders
are topics has one head for all of them, and the topic is each text's target. SemEval's tables of
sentiment are gz files of id, class name and text.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ContractError
from models.content.text.examples import MISSING, Examples, Head, Texts, pooled

SENTIMENT = ("negative", "neutral", "positive")
_TABLE_PARTS = re.compile(r"twitter-201[3-6](train|dev|test|sarcasm)-A\.tsv\.gz")
_VALIDATION_TABLE = "twitter-2016devtest-A.tsv.gz"
"""What SemEval 2017 gave out to train on is what all years before had, test parts included; the
newest part of a suitable size validates."""


@dataclass(frozen=True)
class Part:
    """Texts of one file."""

    name: str
    """`train`, `val`, `test` or whatever else its file begins with."""
    file: Path
    """Where it was read from, below the folder."""
    texts: tuple[str, ...]
    target: str
    """What the texts are about; '' where the task has no targets."""
    labels: NDArray[np.int64] | None
    """Class numbers, (N,); None where there are none beside the texts."""

    @property
    def as_texts(self) -> Texts:
        return Texts(self.texts, [self.target] * len(self.texts) if self.target else None)


@dataclass(frozen=True)
class LabelledTask:
    """A task of a folder with all of its parts."""

    name: str
    classes: tuple[str, ...]
    parts: tuple[Part, ...]

    @property
    def head(self) -> Head:
        return Head(self.name, self.classes)

    def examples(self, name: str) -> Examples | None:
        """What its parts of a name hold, all targets together; None where none is labelled."""
        labelled = [
            Examples(p.as_texts, {self.name: p.labels})
            for p in self.parts
            if p.name == name and p.labels is not None
        ]
        return pooled(labelled, [self.head]) if labelled else None


def read_tasks(folder: Path) -> list[LabelledTask]:
    """The tasks of a folder, by name.

    Raises:
        ContractError: a file is not what the layout says, or no task has a train part.
    """
    tasks = [_task(below) for below in sorted(folder.iterdir()) if below.is_dir()]
    tasks = [task for task in tasks if task.parts]
    if not any(task.examples("train") for task in tasks):
        raise ContractError(
            f"{folder}: no subfolder has a train part (train_text.txt with train_labels.txt)"
        )
    return tasks


def _task(folder: Path) -> LabelledTask:
    below = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    texts = [file for one in below for file in sorted(one.glob("*_text.txt"))]
    tables = sorted(folder.glob("*.tsv.gz"))
    if not texts and not tables:
        return LabelledTask(folder.name, (), ())
    classes = _classes(folder, bool(tables))
    parts = [_lines(file, folder, len(classes)) for file in texts]
    return LabelledTask(folder.name, classes, (*parts, *_tables(tables, folder)))


def _classes(folder: Path, has_tables: bool) -> tuple[str, ...]:
    path = folder / "mapping.txt"
    if not path.is_file():
        if has_tables or folder.name == "sentiment":
            return SENTIMENT
        raise ContractError(f"{path}: no such file; it says the number and name of each class")
    lines = [line.split("\t") for line in path.read_text("utf-8").splitlines() if line.strip()]
    if [line[0] for line in lines] != [str(k) for k in range(len(lines))] or len(lines) < 2:
        raise ContractError(f"{path}: expected lines `0<tab>name`, `1<tab>name`, … in this order")
    return tuple(line[-1].strip("_\r ") or line[1] for line in map(_filled, lines))


def _filled(line: list[str]) -> list[str]:
    """A line of a mapping without the empty cells that trailing tabs leave."""
    return [cell for cell in line if cell.strip()]


def _lines(file: Path, folder: Path, n_classes: int) -> Part:
    """A text per line: a blank one is a text too, or labels would stand beside another."""
    texts = tuple(file.read_text("utf-8").removesuffix("\n").split("\n"))
    name = file.name.removesuffix("_text.txt")
    target = "" if file.parent == folder else file.parent.name
    path = file.with_name(f"{name}_labels.txt")
    labels = _labels(path, len(texts), n_classes) if path.is_file() else None
    return Part(name, file.relative_to(folder.parent), texts, target, labels)


def _labels(path: Path, n_texts: int, n_classes: int) -> NDArray[np.int64]:
    lines = path.read_text("utf-8").split()
    if len(lines) != n_texts:
        raise ContractError(f"{path}: {len(lines)} labels of {n_texts} texts")
    known = {str(k): k for k in range(n_classes)}
    for number, line in enumerate(lines, 1):
        if line not in known:
            raise ContractError(
                f"{path}:{number}: expected a class of 0 to {n_classes - 1}, found {line}"
            )
    return np.array([known[line] for line in lines], np.int64)


def _tables(files: Sequence[Path], folder: Path) -> Iterator[Part]:
    """SemEval's tables: one train part, one validation part, and whatever else is there.

    A tweet that stands in several has the class that most of its rows say, and none where there is
    no such class; one that validates is not trained on.
    """
    rows = {file: _rows(file) for file in files}
    votes: dict[str, Counter[str]] = {}
    for file in files:
        if _TABLE_PARTS.fullmatch(file.name) or file.name == _VALIDATION_TABLE:
            for tweet, name, _ in rows[file]:
                votes.setdefault(tweet, Counter())[name] += 1
    held_out = {
        tweet for file in files if file.name == _VALIDATION_TABLE for tweet, *_ in rows[file]
    }
    train: dict[str, str] = {}
    for file in files:
        texts = tuple(text for *_, text in rows[file])
        if _TABLE_PARTS.fullmatch(file.name):
            train |= {tweet: text for tweet, _, text in rows[file] if tweet not in held_out}
            continue
        labels = np.array([_number(name) for _, name, _ in rows[file]], np.int64)
        is_validation = file.name == _VALIDATION_TABLE
        part = "val" if is_validation else file.name.removesuffix(".tsv.gz")
        yield Part(
            part, file.relative_to(folder.parent), texts, "", labels if is_validation else None
        )
    if train:
        labels = np.array([_majority(votes[tweet]) for tweet in train], np.int64)
        yield Part("train", folder.relative_to(folder.parent), tuple(train.values()), "", labels)


def _rows(file: Path) -> list[tuple[str, str, str]]:
    """Id, class name and text of each row; a fourth cell is empty in some years."""
    with gzip.open(file, "rt", encoding="utf-8", newline="\n") as lines:
        rows = []
        for number, row in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if len(row) < 3:
                raise ContractError(
                    f"{file}:{number}: expected id, class and text, found {len(row)} cells"
                )
            rows.append((row[0], row[1], _unquoted(row[2])))
    return rows


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return text.replace('""', '"')


def _number(name: str) -> int:
    return SENTIMENT.index(name) if name in SENTIMENT else MISSING


def _majority(votes: Counter[str]) -> int:
    (first, n), *others = votes.most_common()
    return MISSING if others and others[0][1] == n else _number(first)
