"""A server, a worker and a cron schedule, for real: a run that nobody starts really starts.

`pip check` cannot tell: with other versions of what lies below Prefect the schedule never fires,
and everything else looks well.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows import up
from flows.settings import NightjarSettings, read_settings

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((up.HOST, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def services(tmp_path: Path) -> Iterator[tuple[NightjarSettings, ExitStack, dict[str, str]]]:
    settings = read_settings(home=tmp_path, prefect_port=free_port())
    environment = up.service_environment(settings) | {"PREFECT_HOME": str(tmp_path / "prefect")}
    (tmp_path / "prefect").mkdir()
    with ExitStack() as stack:
        server = up.start(up.server_command(settings), environment, tmp_path / "logs", stack)
        up.wait_for(f"{up.api_url(settings)}/health", server, "Prefect", tmp_path / "logs")
        yield settings, stack, environment


def test_a_scheduled_run_really_starts(services, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    settings, stack, environment = services
    with temporary_settings({PREFECT_API_URL: up.api_url(settings)}):
        up.deploy(settings, cron="* * * * *")
        up.start(up.worker_command(), environment, tmp_path / "logs", stack)
        deadline = time.monotonic() + 170
        with get_client(sync_client=True) as client:
            while time.monotonic() < deadline:
                runs = client.read_flow_runs()
                done = [r for r in runs if r.state and r.state.is_final()]
                if done:
                    break
                time.sleep(1)
            else:
                pytest.fail(f"no run ended; {[(r.name, r.state_name) for r in runs]}")
    # No logs are set here, so the run says what it lacks, before it starts anything.
    assert done[0].auto_scheduled
    assert "a run needs a mapping and a folder of raw files" in (done[0].state.message or "")
    assert "NIGHTJAR_SOURCE" not in os.environ
