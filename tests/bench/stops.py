"""`python -m tests.bench.stops`: ask nights to stop at many moments, and read all that they print.

Each moment is a line that a night prints; when it comes, the night gets a signal. What it printed
after that must be one sentence, its exit code must say which signal it was, and no process may be
left. The last night ends, and its release must be that of one that was never stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from flows.stopping import KEPT, STOPPED
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.bench.kills import environment, marked, watches
from tests.conftest import REPOSITORY
from tests.flows.conftest import DAYS, NIGHT, START

COMMAND = [sys.executable, "-c", "from flows.start import main; main()"]
MOMENTS = (
    ("", signal.SIGINT, 0.5),
    ("", signal.SIGTERM, 3.0),
    ("night of", signal.SIGINT, 0.0),
    ("land_posts: reading", signal.SIGTERM, 1.0),
    ("clean_orders:", signal.SIGINT, 1.0),
    ("user_features:", signal.SIGHUP, 1.0),
    ("labels:", signal.SIGTERM, 0.5),
    ("train: ", signal.SIGINT, 3.0),
    ("is calibrated", signal.SIGTERM, 1.0),
    ("gate: ", signal.SIGINT, 0.2),
    ("audit: ", signal.SIGTERM, 0.0),
    ("published release", signal.SIGINT, 0.0),
)
"""What a line holds after which a signal comes, the signal, and how many seconds later."""


@dataclass(frozen=True)
class Ended:
    """How a process ended that was asked to stop."""

    before: list[str]
    """What it had printed on standard error when the signal came."""
    after: str
    """What it printed from then on, on both streams."""
    code: int
    seconds: float
    left: list[str]
    """Command lines of processes that it left."""


def stopped(
    call: tuple[str, ...],
    told: dict[str, str],
    mark: str,
    line: str,
    number: signal.Signals,
    wait: float,
) -> Ended:
    """Run the command, and send it a signal `wait` seconds after a line that holds `line`."""
    with subprocess.Popen(
        [*COMMAND, *call],
        env=told,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    ) as process:
        assert process.stdout is not None
        before: list[str] = []
        while line:
            found = process.stdout.readline()
            before.append(found.rstrip())
            if not found or line in found:
                break
        time.sleep(wait)
        started = time.monotonic()
        os.kill(process.pid, number)
        after = process.stdout.read()
        code = process.wait()
        left = [words(pid) for pid in marked(mark) if not watches(pid)]
        return Ended(before, after, code, time.monotonic() - started, left)


_LINE = re.compile(
    r"\d\d:\d\d:\d\d (  )?(night of |task \w+ is |too little history |measured on |nothing had changed"
    r"|warning: |published release |(the mapping's expressions|land_\w+|clean_\w+|user_\w+|item_features"
    r"|late_data|labels|examples|scoreboard|train|gate|score|audit|publish|mended after a crash"
    r"|report): )"
)


def is_line_of_a_night(text: str) -> bool:
    """Whether a line is one of those with which a night says how far it is, and not Prefect's."""
    return _LINE.match(text) is not None


def heed_signals() -> None:
    """What a shell ignores for its background jobs, their children would ignore as well."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
    except OSError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, help="raw logs of a market; simulated if not given")
    parser.add_argument("--moments", type=int, nargs="*", default=range(len(MOMENTS)))
    parser.add_argument("--as-of", type=date.fromisoformat, default=NIGHT)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightjar-stops-") as folder:
        root = Path(folder)
        if told.raw is None:
            simulate(Market(150, START, DAYS + 2, 3), root / "raw", lambda done, total: None)
        else:
            (root / "raw").symlink_to(told.raw.absolute())
        wrong = 0
        for n in told.moments:
            line, number, wait = MOMENTS[n]
            mark = f"stop-{n}"
            found = stopped(
                ("run", "--as-of", str(told.as_of)),
                environment(root, root / "home", mark),
                mark,
                line,
                number,
                wait,
            )
            last = found.after.rstrip("\n").rpartition("\n")[2]
            told_more = [
                text for text in found.after.splitlines()[:-1] if not is_line_of_a_night(text)
            ]
            fine = (
                last == (KEPT if line or wait > 2 else STOPPED)
                and found.code == 128 + number
                and not found.left
            )
            fine = fine and not told_more
            wrong += not fine
            print(
                json.dumps(
                    {
                        "moment": line,
                        "signal": number.name,
                        "wait": wait,
                        "fine": fine,
                        "seconds": round(found.seconds, 2),
                        "code": found.code,
                        "left": found.left,
                        "after": found.after.splitlines()[-6:],
                    }
                ),
                flush=True,
            )
        print(json.dumps({"moments": len(told.moments), "wrong": wrong}))
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
