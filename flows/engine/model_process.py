"""Training and scoring as processes of their own, which end when the flow does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import ContractError, UsageError
from contracts.spec_json import encode
from contracts.specs import Spec
from flows.settings import WEIGHTS_VARIABLE
from flows.storage.permissions import open_log, write_private
from flows.storage.storage import Storage


def run_models(
    spec: Spec,
    folder: Path,
    say: Callable[[str], None],
    weights_key: str | None,
    secrets: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run `python -m models COMMAND` with a spec, passing on its lines, and return its report.

    What it and its libraries write to standard error goes to a log beside the report.
    The spec stays in a file, for looking into. Secrets are handed over in the environment alone,
    never in a file or as an argument, which everybody on the machine may read.

    Args:
        spec: what it is asked for.
        folder: for spec, report and log.
        say: takes its lines.
        weights_key: models' weights are sealed with it; None leaves them open.
        secrets: other secrets, by the name of their variable.

    Raises:
        UsageError: the process says that a setting is wrong.
        ContractError: it says that its data are not right, or it ended without a report.
    """
    command = spec.command
    storage = Storage(str(folder))
    storage.make_folder(str(folder))
    spec_path, report_path = folder / f"{command}.spec.json", folder / f"{command}.report.json"
    write_private(spec_path, encode(spec))
    storage.remove(str(report_path))
    environment = _environment(str(spec.threads), weights_key, secrets or {})
    arguments = [command, str(spec_path), str(report_path), "--parent", str(os.getpid())]
    log = folder / f"{command}.log"
    code = _run_to_its_end(arguments, environment, log, say)
    if not storage.exists(str(report_path)):
        raise ContractError(f"{ending(command, code)}; its log is {log}")
    report: dict[str, Any] = json.loads(storage.read_text(str(report_path)))
    if "error" in report:
        raise (UsageError if report.get("is_call") else ContractError)(report["error"])
    return report


def _environment(
    threads: str, weights_key: str | None, secrets: Mapping[str, str]
) -> dict[str, str]:
    """The variables of the process: ours, its threads, and what it must keep to itself."""
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        **secrets,
    }
    if weights_key is not None:
        environment[WEIGHTS_VARIABLE] = weights_key
    return environment


def _run_to_its_end(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    say: Callable[[str], None],
) -> int:
    """Run `python -m models` with these arguments; how it ended. It is killed if this fails."""
    command, *_ = arguments
    with (
        open_log(log, anew=True) as complaints,
        subprocess.Popen(
            [sys.executable, "-m", "models", *arguments],
            stdout=subprocess.PIPE,
            stderr=complaints,  # libraries' bars and warnings, and the stack of an error
            text=True,
            env=environment,
            start_new_session=True,  # a Ctrl-C is for the run, which then asks this process to end
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                if line.strip():
                    say(f"{command}: {line.rstrip()}")
        except BaseException:
            process.send_signal(signal.SIGKILL)
            raise
    return process.returncode


def ending(command: str, code: int) -> str:
    """How a process ended that did not say why."""
    if code == -signal.SIGKILL:
        return f"the process `{command}` was killed, most often for lack of memory"
    if code < 0:
        return f"the process `{command}` was ended by {signal.Signals(-code).name}"
    return f"the process `{command}` ended unexpectedly, with exit code {code}"
