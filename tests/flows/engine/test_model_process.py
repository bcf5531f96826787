"""How training and scoring end that did not come to their end."""

from __future__ import annotations

import stat
from datetime import date
from pathlib import Path

import pytest

from contracts.errors import ContractError, UsageError
from contracts.specs import ScoreDay, ScoreDaysSpec, Spec
from flows.engine.model_process import ending, run_models


def error_of(folder: Path, spec: Spec) -> ContractError:
    with pytest.raises(ContractError) as error:
        run_models(spec, folder, lambda line: None, None)
    return error.value


def test_a_process_that_ends_without_a_word_is_one_sentence_and_a_log(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.parquet")
    day = ScoreDay((absent,), date(2025, 1, 1), None, "r", f"{tmp_path}/s.parquet", str(tmp_path))
    assert str(error_of(tmp_path, ScoreDaysSpec((day,)))) == (
        "the process `score` ended unexpectedly, with exit code 1; its log is "
        f"{tmp_path / 'score.log'}"
    )
    log = tmp_path / "score.log"
    assert "FileNotFoundError" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_setting_that_a_process_finds_wrong_is_the_callers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("NIGHTJAR_WEIGHTS_KEY", "short")
    error = error_of(tmp_path, ScoreDaysSpec(()))
    assert isinstance(error, UsageError)
    assert str(error) == (
        "NIGHTJAR_WEIGHTS_KEY: expected 64 hex digits, found 5 characters; "
        "`nightjar new-key FILE` makes one"
    )


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (-9, "the process `train` was killed, most often for lack of memory"),
        (-11, "the process `train` was ended by SIGSEGV"),
        (3, "the process `train` ended unexpectedly, with exit code 3"),
    ],
)
def test_the_ending_says_who_ended_it(code: int, sentence: str) -> None:
    assert ending("train", code) == sentence
