from __future__ import annotations

import time
from pathlib import Path

import pytest

from contracts.errors import ContractError
from models.mlflow_run import client_of


def test_a_database_of_mlflow_that_does_not_answer_is_said_to_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database, however long one waits " * 100)
    started = time.monotonic()
    with pytest.raises(ContractError) as error:
        client_of(f"sqlite:///{tmp_path}/mlflow.db")
    assert str(error.value) == "MLflow's database does not answer"
    assert time.monotonic() - started < 5
