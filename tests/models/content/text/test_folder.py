"""A folder of labelled texts, and the command that learns from it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from contracts.errors import ContractError
from models.content.__main__ import main
from models.content.text.folder import read_tasks


def task(folder: Path, part: str, lines: list[tuple[str, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}_text.txt").write_text("".join(f"{text}\n" for _, text in lines))
    (folder / f"{part}_labels.txt").write_text("\n".join(label for label, _ in lines))


MOODS = [("0", "awful day"), ("1", "lovely day"), ("0", "awful night"), ("1", "lovely night")]


@pytest.fixture
def moods(tmp_path: Path) -> Path:
    folder = tmp_path / "tweets"
    task(folder / "mood", "train", MOODS * 3)
    task(folder / "mood", "val", MOODS)
    (folder / "mood" / "mapping.txt").write_text("0\tsad\n1\tglad")
    return folder


def test_every_text_that_is_not_trained_on_gets_a_class_a_blank_one_too(
    moods: Path, tmp_path: Path
) -> None:
    (moods / "mood" / "test_text.txt").write_text("a lovely day\n\nan awful day\n")

    assert main(["texts", str(moods), "--out", str(tmp_path / "out")]) == 0
    lines = (tmp_path / "out" / "mood" / "test_predictions.txt").read_text().splitlines()
    assert len(lines) == 3
    assert (lines[0], lines[2]) == ("1", "0")


def test_a_folder_that_is_not_there_is_a_wrong_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["texts", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'none'}: no such folder\n"


def test_an_unknown_class_is_said_with_its_line(moods: Path) -> None:
    path = moods / "mood" / "val_labels.txt"
    path.write_text("0\n1\n7\n1\n")
    with pytest.raises(ContractError) as error:
        read_tasks(moods)
    assert str(error.value) == f"{path}:3: expected a class of 0 to 1, found 7"


def test_too_few_labels_are_an_error(moods: Path) -> None:
    path = moods / "mood" / "val_labels.txt"
    path.write_text("0\n1\n")
    with pytest.raises(ContractError) as error:
        read_tasks(moods)
    assert str(error.value) == f"{path}: 2 labels of 4 texts"


def test_topics_are_targets_of_one_head(tmp_path: Path) -> None:
    for topic in ("rain", "sun"):
        task(tmp_path / "stance" / topic, "train", [("0", f"about {topic}"), ("1", "no")])
    (tmp_path / "stance" / "mapping.txt").write_text("0\tnone\n1\tagainst\n")

    (found,) = read_tasks(tmp_path)
    train = found.examples("train")
    assert train is not None
    assert train.texts.targets == ["rain", "rain", "sun", "sun"]
    assert train.of(found.head).tolist() == [0, 1, 0, 1]


def test_a_repeated_tweet_has_the_class_of_most_and_one_that_validates_teaches_nothing(
    tmp_path: Path,
) -> None:
    rows = {
        "twitter-2013train-A.tsv.gz": "1\tpositive\ta\n2\tneutral\tb\n3\tnegative\tc\n",
        "twitter-2015train-A.tsv.gz": "1\tpositive\ta\n2\tpositive\tb\n",
        "twitter-2016train-A.tsv.gz": "1\tneutral\ta\n4\tpositive\td\n",
        "twitter-2016devtest-A.tsv.gz": "4\tpositive\td\n",
        "twitter-2017test-A.tsv.gz": "5\tunknown\te\t\n",
    }
    (tmp_path / "sentiment").mkdir()
    for name, text in rows.items():
        (tmp_path / "sentiment" / name).write_bytes(gzip.compress(text.encode(), mtime=0))

    (found,) = read_tasks(tmp_path)
    train = found.examples("train")
    assert train is not None
    assert train.texts.texts == ["a", "b", "c"]
    assert train.labels["sentiment"].tolist() == [2, -1, 0]
    assert [(part.name, part.labels is None) for part in found.parts] == [
        ("val", False),
        ("twitter-2017test-A", True),
        ("train", False),
    ]
