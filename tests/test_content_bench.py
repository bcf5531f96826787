"""What `make bench-content` says of a folder of tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.content.text.cnn import CnnConfig
from models.content.text.convolutions import Shape
from models.content.text.fit import TextConfig
from tests.bench.content import bench, main, published_lines

CONFIG = TextConfig(
    cnn=CnnConfig(Shape(bits=10, dimension=8, n_filters=4, widths=(1,)), n_passes=1)
)


@pytest.fixture
def moods(tmp_path: Path) -> Path:
    """A task whose train, validation and test parts are labelled, and one part without labels."""
    folder = tmp_path / "mood"
    folder.mkdir()
    (folder / "mapping.txt").write_text("0\tsad\n1\tglad")
    for part in ("train", "val", "test"):
        (folder / f"{part}_text.txt").write_text("awful day\nlovely day\n" * 4)
        (folder / f"{part}_labels.txt").write_text("0\n1\n" * 4)
    (folder / "later_text.txt").write_text("a day\n")
    return tmp_path


def test_each_model_has_a_line_per_labelled_part_and_one_of_their_mean(moods: Path) -> None:
    train, *lines = bench(moods, CONFIG)

    assert (train["task"], train["part"], train["metric"]) == ("all", "train", "cpu_seconds")
    assert [(line["model"], line["task"], line["part"], line["metric"]) for line in lines] == [
        (model, task, part, metric)
        for model in ("default", "linear", "cnn")
        for task, metric in (("mood", "macro_f1"), ("mean", "mean_of_1"))
        for part in ("val", "test")
    ]
    assert lines[0]["value"] == lines[0]["low"] == lines[0]["high"] == 1.0
    assert min(line["texts_per_cpu_second"] for line in lines) > 0


def test_published_results_are_of_the_test_parts_of_tasks_that_are_there() -> None:
    assert published_lines(["mood"]) == []
    assert published_lines(["irony"])[0] == {
        "task": "irony", "part": "test", "model": "published", "system": "SVM",
        "metric": "f1_of_class_1", "value": 0.617,
    }  # fmt: skip


def test_a_folder_that_is_not_there_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--texts", str(tmp_path / "none")])
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (
        "", f"{tmp_path / 'none'}: its data are not there, so it is left out\n",
    )  # fmt: skip
