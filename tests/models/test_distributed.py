"""As many processes as the settings say."""

from __future__ import annotations

import pytest

from contracts.errors import ContractError
from models.distributed import check_world


def test_processes_that_would_each_do_a_share_unseen_stop(monkeypatch) -> None:
    check_world(1, "train.machine.devices")
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_world(2, "train.machine.devices")
    with pytest.raises(ContractError) as error:
        check_world(1, "train.machine.devices")
    assert str(error.value) == (
        "WORLD_SIZE is 2, but train.machine.devices is 1: each process would do its share of the work and "
        "the others' would be lost. Start it without torchrun, with train.machine.devices = 2 for as many "
        "processes"
    )
