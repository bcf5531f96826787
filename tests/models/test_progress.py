"""Lines for the person who waits for a process of models."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from models.progress import show_progress, without_progress


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    """The logger of models, put back as it was."""
    logger = logging.getLogger("models")
    level, handlers = logger.level, [*logger.handlers]
    yield logger
    logger.setLevel(level)
    logger.handlers = handlers


def test_records_are_lines_of_standard_output_without_anything_around_them(ours, capsys) -> None:
    show_progress()
    logging.getLogger("models.training.lightning_fit").info("epoch 1")
    logging.getLogger("models.train").debug("nobody waits for this")
    logging.getLogger("mlflow.tracking").warning("nor for this")
    assert capsys.readouterr().out == "epoch 1\n"


def test_of_several_processes_the_first_alone_has_lines(ours, capsys, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    show_progress()
    logging.getLogger("models.train").error("all of them say this")
    assert capsys.readouterr().out == ""


def test_a_training_within_another_piece_of_work_has_no_lines(ours, caplog) -> None:
    caplog.set_level(logging.INFO, "models")
    with without_progress():
        logging.getLogger("models.training.lightning_fit").info("epoch 1")
        logging.getLogger("models.evaluation.single_task_twins").info("sharing helps")
    logging.getLogger("models.training.lightning_fit").info("epoch 2")
    assert caplog.messages == ["sharing helps", "epoch 2"]
