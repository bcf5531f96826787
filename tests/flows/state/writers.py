"""Writers that sleep, for the tests of leases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from contracts.errors import BusyError
from flows.lake.lake import Lake
from flows.release.releases import Releases
from flows.state import writer_lock
from flows.state.receipts import Fingerprint, Receipt, Receipts
from flows.state.schema import open_database
from flows.state.writer_lock import Clock, Lease, LeaseLost, writing
from tests.flows.lakes import D1, release_of

T0 = datetime(2025, 1, 1, 4, tzinfo=UTC)


def at(moment: datetime) -> Clock:
    return lambda connection: moment


def receipt(run: str) -> Receipt:
    return Receipt("s", D1, Fingerprint("", "", ""), {}, 1, 1, 1.0, 1, None, run, T0)


@contextmanager
def asleep_while_another_takes_over(
    url: str, monkeypatch: pytest.MonkeyPatch, stop: Callable[[LeaseLost], None] = print
) -> Iterator[tuple[Engine, Lease, Engine, Lease]]:
    """A writer whose heart does not beat for an hour, and one on another machine that goes on."""
    one, two = open_database(url), open_database(url)
    with ExitStack() as stack, monkeypatch.context() as patch:
        sleeper = stack.enter_context(writing(one, "sleeper", "the night", clock=at(T0), stop=stop))
        patch.setattr(writer_lock, "_here", lambda: "elsewhere/1")
        soon = at(T0 + timedelta(seconds=119))
        with (
            pytest.raises(BusyError, match="is writing to this home"),
            writing(two, "early", "a backfill", clock=soon),
        ):
            pass
        later = T0 + timedelta(hours=1)
        heir = stack.enter_context(writing(two, "heir", "a backfill", clock=at(later)))
        assert heir.token > sleeper.token
        assert (sleeper.took_over, heir.took_over) == (False, True)
        yield one, sleeper, two, heir


def check_that_the_sleeper_adds_nothing(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On whichever database the receipts and releases lie."""
    with asleep_while_another_takes_over(database_url, monkeypatch) as (one, _, two, _heir):
        with pytest.raises(LeaseLost) as error:
            Receipts(one).write([receipt("sleeper")])
        assert str(error.value) == (
            "the night (run sleeper) stops: a backfill (run heir, process "
            f"{os.getpid()} on elsewhere/1) took over the right to write to this home after 120 s "
            "without a sign of life, as of a machine that sleeps or is cut off. What was finished "
            "before is kept; run it again"
        )
        lake = Lake(tmp_path / "lake")
        with pytest.raises(LeaseLost):
            Releases(one).publish(release_of(lake, tmp_path, D1, "late"))
        assert Releases(two).current() is None
        Receipts(two).write([receipt("heir")])
    assert [r.run_id for r in Receipts(open_database(database_url)).all()] == ["heir"]
    with writing(open_database(database_url), "next", "the next night"):
        pass  # the heir's own end was noted, the sleeper's did not remove it
