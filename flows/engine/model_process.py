"""Training and scoring as processes of their own, which end when the flow does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contracts.errors import ContractError, UsageError
from contracts.spec_json import encode
from contracts.specs import Spec
from flows.settings import WEIGHTS_VARIABLE, read_settings
from flows.storage.permissions import open_log, write_private
from flows.storage.storage import Storage


def run_models(
    spec: Spec,
    folder: Path,
    say: Callable[[str], None],
    secrets: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run `python -m models COMMAND` with a spec, passing on its lines, and return its report.

    What it and its libraries write to standard error goes to a log beside the report.
    The spec stays in a file, for looking into. `secrets` are handed over in the environment alone,
    never in a file or as an argument, which everybody on the machine may read.

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
    threads = str(spec.threads)
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        **(secrets or {}),
    }
    key = read_settings().key_of_weights()
    if key is not None:
        environment[WEIGHTS_VARIABLE] = key
    log = folder / f"{command}.log"
    with (
        open_log(log, anew=True) as complaints,
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "models",
                command,
                str(spec_path),
                str(report_path),
                "--parent",
                str(os.getpid()),
            ],
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
    if not storage.exists(str(report_path)):
        raise ContractError(f"{ending(command, process.returncode)}; its log is {log}")
    report: dict[str, Any] = json.loads(storage.read_text(str(report_path)))
    if "error" in report:
        raise (UsageError if report.get("is_call") else ContractError)(report["error"])
    return report


def ending(command: str, code: int) -> str:
    """How a process ended that did not say why."""
    if code == -signal.SIGKILL:
        return f"the process `{command}` was killed, most often for lack of memory"
    if code < 0:
        return f"the process `{command}` was ended by {signal.Signals(-code).name}"
    return f"the process `{command}` ended unexpectedly, with exit code {code}"
