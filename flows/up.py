"""Everything that serves people, on this machine: Prefect server, worker, schedule, MLflow."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from contracts.table import ContractError
from flows.settings import REPOSITORY, NightjarSettings, quiet_environment

POOL = "nightjar"
HOST = "127.0.0.1"
START_SECONDS = 120
_SET_PARENT_DEATH_SIGNAL = 1


def up(settings: NightjarSettings, say: Callable[[str], None]) -> None:
    """Start all of it, print where it is, and wait; Ctrl-C or the end of one part ends all.

    What runs already at a port of ours is used and left running.

    Raises:
        ContractError: a part did not start.
    """
    quiet_environment(settings.folder)
    environment = service_environment(settings)
    os.environ.update(environment)
    with ExitStack() as stack:
        started: dict[str, subprocess.Popen[bytes]] = {}
        for name, command, address in (
            ("Prefect server", server_command(settings), f"{api_url(settings)}/health"),
            ("MLflow", mlflow_command(settings), f"http://{HOST}:{settings.mlflow_port}/health"),
        ):
            if answers(address):
                say(f"{name} runs already")
                continue
            started[name] = start(command, environment, settings.folder / "logs", stack)
            wait_for(address, started[name], name, settings.folder / "logs")
        deploy(settings)
        started["worker"] = start(worker_command(), environment, settings.folder / "logs", stack)
        say(f"""\
Prefect   http://{HOST}:{settings.prefect_port}   nightly (at \
{settings.nightly_cron} {settings.nightly_timezone}), backfill, rollback
MLflow    http://{HOST}:{settings.mlflow_port}
logs      {settings.folder / "logs"}
Ctrl-C stops what was started here.""")
        signal.signal(signal.SIGTERM, _stop)
        try:
            while all(process.poll() is None for process in started.values()):
                time.sleep(0.5)
        except KeyboardInterrupt:
            say("stopping")
            return
        ended = ", ".join(name for name, p in started.items() if p.poll() is not None)
        raise ContractError(f"{ended} has ended by itself; see {settings.folder / 'logs'}")


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def api_url(settings: NightjarSettings) -> str:
    return f"http://{HOST}:{settings.prefect_port}/api"


def service_environment(settings: NightjarSettings) -> dict[str, str]:
    """What the server, the worker and the runs it starts need to know of this home."""
    told = {
        "PREFECT_API_URL": api_url(settings),
        "NIGHTJAR_HOME": str(settings.folder),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    for name, value in (
        ("NIGHTJAR_SOURCE", settings.source),
        ("NIGHTJAR_RAW", settings.raw),
        ("NIGHTJAR_KEY_FILE", settings.key_file),
    ):
        if value is not None:
            told[name] = str(Path(value).absolute())
    return told


def server_command(settings: NightjarSettings) -> list[str]:
    return [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        HOST,
        "--port",
        str(settings.prefect_port),
    ]


def worker_command() -> list[str]:
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]


def mlflow_command(settings: NightjarSettings) -> list[str]:
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(settings.mlflow_port),
        "--backend-store-uri",
        settings.mlflow_url,
        "--artifacts-destination",
        (settings.folder / "mlartifacts").as_uri(),
        "--workers",
        "1",
    ]


def deploy(settings: NightjarSettings, cron: str | None = None) -> None:
    """Make or renew the deployments; a schedule that is gone from the settings goes."""
    from prefect import Flow, flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.schedules import Cron

    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    nightly = [Cron(cron or settings.nightly_cron, timezone=settings.nightly_timezone)]
    for name, schedules, description in (
        ("nightly", nightly, "Clean, features, train, score, publish."),
        ("backfill", [], "A range of days in one pass, published as one release."),
        ("rollback", [], "Make the release before the current one current again."),
    ):
        entrypoint = f"flows/{name}.py:{name}"
        deployed = flow.from_source(source=str(REPOSITORY), entrypoint=entrypoint)
        if not isinstance(deployed, Flow):
            raise TypeError("from_source gave a coroutine where it was not awaited")
        deployed.deploy(
            name=name,
            work_pool_name=POOL,
            concurrency_limit=1,
            print_next_steps=False,
            schedules=schedules,
            description=description,
            ignore_warnings=True,
        )


def start(
    command: list[str], environment: Mapping[str, str], logs: Path, stack: ExitStack
) -> subprocess.Popen[bytes]:
    """A process that writes to its own log and is stopped with the stack, or when we die."""
    logs.mkdir(parents=True, exist_ok=True)
    log = stack.enter_context((logs / f"{command[2]}-{command[3]}.log").open("ab"))
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=REPOSITORY,
        start_new_session=True,
        preexec_fn=_die_with_parent,
    )
    stack.callback(stop, process)
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started; a worker may outlive SIGTERM by minutes."""
    for number, seconds in ((signal.SIGINT, 10), (signal.SIGKILL, 10)):
        if process.poll() is None:
            try:
                os.killpg(process.pid, number)
                process.wait(seconds)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for(address: str, process: subprocess.Popen[bytes], name: str, logs: Path) -> None:
    """Wait until the address answers.

    Raises:
        ContractError: the process ended, or took longer than anybody should wait.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if answers(address):
            return
        if process.poll() is not None:
            raise ContractError(
                f"{name} ended with {process.returncode} while starting; see {logs}"
            )
        time.sleep(0.3)
    raise ContractError(f"{name} did not answer within {START_SECONDS} seconds; see {logs}")
