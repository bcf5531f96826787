"""A server behind a password, a worker, a cron schedule and a webhook, for real: a run that nobody
starts really starts, and whoever is on call is told that it failed.

`pip check` cannot tell: with other versions of what lies below Prefect the schedule never fires,
and everything else looks well.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from flows.server import up
from flows.server.automations import crash_silent_runs, put
from flows.settings import NightjarSettings, read_settings

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((up.HOST, 0))
        return int(probe.getsockname()[1])


PASSWORD = "a password for this test"


class Received(http.server.BaseHTTPRequestHandler):
    """Whoever is on call: what is posted here is kept."""

    texts: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.texts.append(json.loads(body)["text"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def posted(start: str) -> str | None:
    """What was posted that starts so."""
    return next((text for text in Received.texts if text.startswith(start)), None)


@pytest.fixture
def webhook() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer((up.HOST, 0), Received)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{up.HOST}:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def services(
    tmp_path: Path, webhook: str, monkeypatch
) -> Iterator[tuple[NightjarSettings, ExitStack, dict[str, str]]]:
    settings = read_settings(
        home=tmp_path,
        prefect_port=free_port(),
        nightly_cron="* * * * *",
        release_due_cron="0 0 1 1 *",
        alert_webhook=webhook,
        operators_password=PASSWORD,
    )
    environment = up.service_environment(settings) | {"PREFECT_HOME": str(tmp_path / "prefect")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "prefect").mkdir()
    with ExitStack() as stack:
        server = up.start(up.server_command(settings), environment, tmp_path / "logs", stack)
        up.wait_for(f"{up.api_url(settings)}/health", server, "Prefect", tmp_path / "logs")
        yield settings, stack, environment


def until(what: Callable[[], Any], seconds: float, otherwise: Callable[[], object]) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := what():
            return result
        time.sleep(1)
    pytest.fail(f"{seconds} seconds have passed: {otherwise()}")


def ended(client: Any, flow: str) -> Any:
    """A run of a flow that has ended."""
    flows = {f.id: f.name for f in client.read_flows()}
    runs = client.read_flow_runs()
    return next(
        (r for r in runs if flows[r.flow_id] == flow and r.state and r.state.is_final()), None
    )


def states(client: Any) -> list[tuple[str, str]]:
    return [(r.name, r.state_name) for r in client.read_flow_runs()]


def killed_in_the_middle(environment: dict[str, str]) -> None:
    """A run that is killed once it has sent its first heartbeat."""
    code = (
        "import time\nfrom prefect import flow\n"
        "@flow(name='silent')\ndef silent():\n    time.sleep(5)\n"
        "    print('in', flush=True)\n    time.sleep(600)\nsilent()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"in\n"
        run.kill()


def test_a_scheduled_run_starts_and_its_failure_is_told(services, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_API_URL,
        temporary_settings,
    )

    settings, stack, environment = services
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{up.api_url(settings)}/admin/version")
    variables = {
        PREFECT_API_URL: up.api_url(settings),
        PREFECT_API_AUTH_STRING: f"{up.OPERATOR}:{PASSWORD}",
    }
    with temporary_settings(variables):
        up.deploy(settings)
        with get_client(sync_client=True) as client:
            flow = client.create_flow_from_name("watch")
            for name, tags in (("watch", ["nightjar"]), ("somebody's", ["theirs"])):
                client.create_deployment(flow, name, tags=tags)
        up.deploy(settings)  # once more is the same, and removes what has been renamed
        up.start(up.worker_command("control"), environment, tmp_path / "logs", stack)
        with get_client(sync_client=True) as client:
            put(client, crash_silent_runs(timedelta(seconds=15)))
            killed_in_the_middle(environment)
            deployments = {d.name: d for d in client.read_deployments()}
            assert set(deployments) == {
                "nightly", "release-deadline", "housekeeping", "backfill", "rollback", "replay", "erase", "prepare",
                "train", "somebody's",
            }  # fmt: skip
            assert {
                d.name: d.work_pool_name
                for d in deployments.values()
                if d.work_pool_name not in ("control", None)
            } == {
                "prepare": "spark",
                "train": "gpu",
            }
            assert [str(s.schedule.cron) for s in deployments["nightly"].schedules] == ["* * * * *"]
            assert not deployments["backfill"].schedules
            assert sorted(a.name for a in client.read_automations()) == sorted(
                [
                    "Nightjar: a run failed",
                    "Nightjar: a run is late",
                    "Nightjar: a run has gone silent",
                    "Nightjar: an alert",
                ]
            )
            form = deployments["backfill"].parameter_openapi_schema["properties"]
            assert form["mode"]["default"] == "plan"
            assert form["plan"]["description"].startswith("For mode run: the token that the plan")

            # No logs are set here, so a night says what it lacks, before it starts anything.
            done = until(lambda: ended(client, "nightly"), 170, lambda: states(client))
            assert done.auto_scheduled
            assert "a run needs a mapping and a folder of raw files" in (done.state.message or "")
            # Of a run that its scheduler made minutes before, Prefect tells a quarter of an hour
            # later; of one that a person starts, or that was scheduled in time, at once.
            client.create_flow_run_from_deployment(
                deployments["release-deadline"].id, parameters={"as_of": "2025-03-01"}
            )
            late = until(lambda: ended(client, "release-deadline"), 120, lambda: states(client))
            text = until(lambda: posted(f"{late.name}: Failed"), 60, lambda: Received.texts)
            assert "there is no release of 2025-03-01 yet: nothing was ever published." in text
            silent = until(lambda: ended(client, "silent"), 120, lambda: states(client))
            assert silent.state.is_crashed()
            assert silent.state.message.startswith("No heartbeat for 15 seconds")
            until(lambda: posted(f"{silent.name}: Crashed\nNo hea"), 60, lambda: Received.texts)
    assert "NIGHTJAR_SOURCE" not in os.environ
