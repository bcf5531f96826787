"""Pieces of work, done by several processes at once."""

from __future__ import annotations

import logging
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from contracts.errors import ContractError
from models import pieces
from models.pieces import Piece, do_pieces, n_processes


def write(path: Path) -> str:
    """Leaves the process that did it."""
    path.write_text(str(os.getpid()))
    return "written"


def files(folder: Path, n: int = 6) -> list[Piece]:
    paths = [folder / str(i) for i in range(n)]
    return [Piece(path.name, path, partial(write, path), float(path.name)) for path in paths]


@pytest.mark.parametrize("processes", [1, 3])
def test_every_piece_is_done_once_and_has_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, processes: int
) -> None:
    caplog.set_level(logging.INFO, "models.pieces")
    do_pieces(files(tmp_path), processes)
    by = {int(path.read_text()) for path in tmp_path.iterdir()}
    assert (os.getpid() in by) == (processes == 1)
    lines = [line.rsplit(",", 1)[0] for line in caplog.messages]
    assert sorted(lines) == [f"{i}: written" for i in range(6)]
    if processes == 1:
        assert lines == [f"{i}: written" for i in range(5, -1, -1)], "the longest first"


def test_what_is_there_is_not_done_again(tmp_path: Path) -> None:
    (tmp_path / "2").write_text("of the one that was killed")
    do_pieces(files(tmp_path), 2)
    assert (tmp_path / "2").read_text() == "of the one that was killed"
    assert sorted(path.name for path in tmp_path.iterdir()) == [*"012345"]


def fail() -> str:
    raise ContractError("products: some values are not finite numbers")


def be_killed() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("killed")


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_is_the_same_sentence_whoever_meets_it(tmp_path: Path, processes: int) -> None:
    failing = Piece("fails", tmp_path / "never", fail, 99.0)
    with pytest.raises(ContractError) as error:
        do_pieces([*files(tmp_path), failing], processes)
    assert str(error.value) == "products: some values are not finite numbers"


def test_a_process_that_is_killed_ends_all_with_a_sentence(tmp_path: Path) -> None:
    killed = Piece("killed", tmp_path / "never", be_killed, -1.0)
    with pytest.raises(ContractError) as error:
        do_pieces([*files(tmp_path), killed], 2)
    assert str(error.value) == (
        "one of 2 processes that worked at once was killed, most often for lack of memory; set "
        "ranking.processes to fewer: what is done is kept"
    )


def test_ranks_share_the_pieces_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "wait_for_ranks", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        do_pieces(files(tmp_path), 1)
        done.append(sorted(path.name for path in tmp_path.iterdir()))
    assert done == [["1", "3", "5"], [*"012345"]]


def test_there_are_as_many_processes_as_cores_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert (n_processes(None), n_processes(3)) == (4, 3)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert n_processes(None) == 2, "of each rank on the machine"
