"""Everything that serves people, on this machine: Prefect server, worker, schedule, MLflow."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import yaml

from contracts.errors import ContractError
from contracts.parent_process import die_with_parent
from flows.lifecycle import signals
from flows.settings import (
    CATALOGUE_VARIABLE,
    NightjarSettings,
    configure_libraries,
    shipped,
)
from flows.state.postgres import PREFECT_VARIABLE, make_databases, prefect_database
from flows.storage.permissions import close_home, open_log, write_private

POOLS = ("control", "spark", "gpu")
"""All of type process on one machine; elsewhere each may be of another type, or machine."""
HOST = "127.0.0.1"
START_SECONDS = 120
STOP_SECONDS = 10.0
STOPPED = "stopped; `nightjar up` starts it again"
OUR_TAG = "nightjar"
"""Of every deployment in `infra/prefect.yaml`: another with it is taken for one of ours."""
OPERATOR = "operator"
"""Who may use Prefect and MLflow, where a password is set."""


def up(settings: NightjarSettings, say: Callable[[str], None]) -> None:
    """Start all of it, print where it is, and wait; a signal or the end of one part ends all.

    What runs already at a port of ours is used and left running.

    Raises:
        ContractError: a part did not start.
    """
    if (notice := close_home(settings.home_folder)) is not None:
        say(notice)
    configure_libraries(settings.home_folder)
    if settings.postgres_url is not None:
        for name in make_databases(settings):
            say(f"PostgreSQL: created database {name}")
        prefect_database(settings, os.environ, say)
    environment, logs = service_environment(settings), settings.home_folder.logs
    os.environ.update(environment)
    started: dict[str, subprocess.Popen[bytes]] = {}
    signals.say_when_stopped(STOPPED)
    with ExitStack() as stack, signals.cleaned_up_when_stopped(lambda: stop_all(started.values())):
        for name, command, address in (
            ("Prefect server", server_command(settings), f"{api_url(settings)}/health"),
            ("MLflow", mlflow_command(settings), f"http://{HOST}:{settings.mlflow_port}/health"),
            ("Analysts' pages", pages_command(), f"http://{HOST}:{settings.pages_port}/"),
        ):
            if answers(address):
                say(f"{name} runs already")
                continue
            started[name] = start(command, environment, logs, stack)
            wait_for(address, started[name], name, logs)
        deploy(settings)
        for pool in POOLS if settings.pools else POOLS[:1]:
            started[f"worker of pool {pool}"] = start(
                worker_command(pool), environment, logs, stack, f"worker-{pool}"
            )
        say(f"""\
Prefect   http://{HOST}:{settings.prefect_port}   nightly (at \
{settings.nightly_cron} {settings.nightly_timezone}), backfill, rollback, replay, erase
MLflow    http://{HOST}:{settings.mlflow_port}
pages     http://{HOST}:{settings.pages_port}   releases, quality, scores, one user: for analysts
logs      {logs}
Ctrl-C stops what was started here.""")
        while all(process.poll() is None for process in started.values()):
            time.sleep(0.5)
        ended = ", ".join(name for name, p in started.items() if p.poll() is not None)
        raise ContractError(f"{ended} has ended by itself; see {logs}")


def api_url(settings: NightjarSettings) -> str:
    return f"http://{HOST}:{settings.prefect_port}/api"


def service_environment(settings: NightjarSettings) -> dict[str, str]:
    """Of the server, the worker and the runs that it starts: where the home is."""
    environment = {
        "PREFECT_API_URL": api_url(settings),
        "NIGHTJAR_HOME": str(settings.home_folder),
        "MLFLOW_BACKEND_STORE_URI": settings.mlflow_url,  # not an argument: it may hold a password
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; see `flows/server/automations.py`
    }
    if settings.postgres_url is not None:
        environment |= {
            PREFECT_VARIABLE: settings.postgres("nightjar_prefect", "asyncpg"),
            CATALOGUE_VARIABLE: settings.postgres("nightjar"),
        }
    if settings.operators_password is not None:
        environment |= password_environment(
            settings, settings.operators_password.get_secret_value()
        )
    for name, value in (
        ("NIGHTJAR_SOURCE", settings.source),
        ("NIGHTJAR_RAW", settings.raw),
        ("NIGHTJAR_KEY_FILE", settings.key_file),
    ):
        if value is not None:
            environment[name] = str(Path(value).absolute())
    return environment


def password_environment(settings: NightjarSettings, password: str) -> dict[str, str]:
    """Environment in which Prefect and MLflow ask for a name and password.

    MLflow keeps accounts in a database of its own, which is created again each time, so that the
    password is always the one in the settings.
    """
    accounts = settings.home_folder.mlflow_accounts
    settings.home_folder.storage.remove(str(accounts))
    config = settings.home_folder.mlflow_accounts_settings
    write_private(
        config,
        "[mlflow]\n"
        f"database_uri = sqlite:///{accounts}\n"
        f"admin_username = {OPERATOR}\n"
        "default_permission = READ\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
    )
    return {
        "PREFECT_SERVER_API_AUTH_STRING": f"{OPERATOR}:{password}",
        "PREFECT_API_AUTH_STRING": f"{OPERATOR}:{password}",
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }


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


def worker_command(pool: str) -> list[str]:
    command = [sys.executable, "-m", "prefect", "worker", "start"]
    return [*command, "--pool", pool, "--type", "process"]


def pages_command() -> list[str]:
    return [sys.executable, "-m", "flows.server.pages"]


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
        "--artifacts-destination",
        settings.home_folder.mlflow_artifacts_uri,
        "--workers",
        "1",
        *(["--app-name", "basic-auth"] if settings.operators_password is not None else []),
    ]


def deploy(settings: NightjarSettings) -> None:
    """Create or update pools, deployments and automations, as `infra/prefect.yaml` says.

    Raises:
        ContractError: Prefect refuses; its last words are in the message.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    from flows.server.automations import put_automations

    with get_client(sync_client=True) as client:
        for pool in POOLS:
            with suppress(ObjectAlreadyExists):
                client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    variables = {
        "NIGHTJAR_FOLDER": str(Path.cwd()),  # of `nightjar.toml`, for runs to read as well
        "NIGHTJAR_NIGHTLY_CRON": settings.nightly_cron,
        "NIGHTJAR_NIGHTLY_TIMEZONE": settings.nightly_timezone,
        "NIGHTJAR_RELEASE_DUE_CRON": settings.release_due_cron,
        "NIGHTJAR_HOUSEKEEPING_CRON": settings.housekeeping_cron,
        "PREFECT_API_URL": api_url(settings),
    }
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    deployment = subprocess.run(
        [*command, "--prefect-file", str(shipped("prefect.yaml"))],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if deployment.returncode:
        tail = "\n".join((deployment.stdout + deployment.stderr).splitlines()[-15:])
        raise ContractError(f"infra/prefect.yaml cannot be deployed:\n{tail}")
    remove_old_deployments()
    put_automations(settings)


def remove_old_deployments() -> None:
    """Remove deployments of earlier versions, of which the schedules would go on."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    declared = yaml.safe_load(shipped("prefect.yaml").read_text())["deployments"]
    names = {deployment["name"] for deployment in declared}
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[OUR_TAG]))
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments(deployment_filter=ours):
            if deployment.name not in names:
                client.delete_deployment(deployment.id)


def start(
    command: list[str],
    environment: Mapping[str, str],
    logs: Path,
    stack: ExitStack,
    name: str | None = None,
) -> subprocess.Popen[bytes]:
    """A process that writes to its own log and is stopped with the stack, or when we die."""
    log = stack.enter_context(open_log(logs / f"{name or '-'.join(command[2:4])}.log"))
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=partial(die_with_parent, os.getpid(), signal.SIGTERM),
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


def stop_all(processes: Iterable[subprocess.Popen[bytes]], seconds: float = STOP_SECONDS) -> None:
    """End processes together, and all that they started."""
    left = list(processes)
    for process in left:
        _send(process, signal.SIGINT)
    deadline = time.monotonic() + seconds
    while any(p.poll() is None for p in left) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in left:  # what a process has started may outlive it
        _send(process, signal.SIGKILL)
        process.wait()


def _send(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


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
