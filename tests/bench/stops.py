"""`python -m tests.bench.stops`: disturb nights at many moments, and read all that they print.

Each moment is a line that a night prints. When it comes, the night gets a signal: what it printed
after that must be one sentence, its exit code must say which signal it was, and no process may be
left. Or the database goes away, or Prefect's server, or MLflow's database: the night may print its
own lines and one sentence, must end by itself, and leave no process. The same command again goes on
where it was; what then lies there must be what an undisturbed night leaves, to the bit.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from flows.lifecycle.signals import KEPT, STOPPED
from flows.server.up import stop, wait_for
from flows.settings import CATALOGUE_VARIABLE
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.bench.contents import contents
from tests.bench.kills import environment, marked, watches
from tests.conftest import REPOSITORY
from tests.flows.conftest import no_postgres, postgres_server
from tests.flows.first_night import DAYS, NIGHT, START
from tests.flows.server_outage import doorway

COMMAND = [sys.executable, "-c", "from flows.cli.start import main; main()"]
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
    variables: dict[str, str],
    mark: str,
    line: str,
    number: signal.Signals,
    wait: float,
) -> Ended:
    """Run the command, and send it a signal `wait` seconds after a line that holds `line`."""
    return disturbed(
        [*COMMAND, *call], variables, mark, line, wait, lambda pid: os.kill(pid, number)
    )


def disturbed(
    command: Sequence[str],
    variables: dict[str, str],
    mark: str,
    line: str,
    wait: float,
    act: Callable[[int], object],
    grace: float = 0.0,
) -> Ended:
    """Run the command, and do something `wait` seconds after a line that holds `line`.

    What is left is looked for once it has ended, and then for so many seconds of `grace`.
    """
    with subprocess.Popen(
        command,
        env=variables,
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
            printed = process.stdout.readline()
            before.append(printed.rstrip())
            if not printed or line in printed:
                break
        time.sleep(wait)
        started = time.monotonic()
        last = threading.Timer(MOST_SECONDS, process.kill)
        last.start()
        act(process.pid)
        after = process.stdout.read()
        code = process.wait()
        last.cancel()
        ended = time.monotonic()
        while (left := running(mark)) and time.monotonic() < ended + grace:
            time.sleep(0.1)
        return Ended(before, after, code, ended - started, left)


def running(mark: str) -> list[str]:
    """Command lines of processes that a run with this mark has started; one that has ended since it
    was found has none."""
    return [line for pid in marked(mark) if not watches(pid) and (line := words(pid))]


_LINE = re.compile(
    r"\d\d:\d\d:\d\d (  )?(night of |task \w+ is |surface \w+ is |too little history |measured on "
    r"|nothing had changed|warning: |published release |(the mapping's expressions|land_\w+|clean_\w+"
    r"|user_\w+|item_\w+|interactions|late_data|labels|examples|scoreboard|rec_\w+|retrieve|train|gate"
    r"|score|rank|recommendations|audit|publish|repaired after a crash|report): "
    r"|[\w ]+: once more, for it stopped at this: )"
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
    parser.add_argument("--outages", nargs="*", default=[outage.__name__ for outage in OUTAGES])
    parser.add_argument("--as-of", type=date.fromisoformat, default=NIGHT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightjar-stops-") as folder:
        root = Path(folder)
        if options.raw is None:
            simulate(Market(150, START, DAYS + 2, 3), root / "raw", lambda done, total: None)
        else:
            (root / "raw").symlink_to(options.raw.absolute())
        call = ("run", "--as-of", str(options.as_of))
        undisturbed(call, environment(root, root / "whole", "whole"))
        expected = contents(root / "whole")
        problems = [] if not options.moments else signals(root, call, options.moments, expected)
        for outage in OUTAGES:
            if outage.__name__ in options.outages:
                problems += outage(root, call, expected)
        print(json.dumps({"wrong": len(problems), "problems": problems}))
    sys.exit(bool(problems))


def undisturbed(call: tuple[str, ...], variables: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, *call], env=variables, cwd=REPOSITORY, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(call)} failed:\n{done.stderr[-3000:]}")


def signals(
    root: Path, call: tuple[str, ...], moments: Sequence[int], expected: dict[str, Any]
) -> list[str]:
    """Ask nights to stop. What was wrong."""
    problems = []
    for n in moments:
        line, number, wait = MOMENTS[n]
        mark = f"stop-{n}"
        variables = environment(root, root / "home", mark)
        ended = stopped(call, variables, mark, line, number, wait)
        last = KEPT if line or wait > 2 else STOPPED
        wrong = strange(ended, last, 128 + number)
        problems += said(f"{number.name} {wait} s after {line!r}", ended, wrong)
    undisturbed(call, environment(root, root / "home", "stop-end"))
    return problems + differing("stopped", contents(root / "home"), expected)


def database_away(root: Path, call: tuple[str, ...], expected: dict[str, Any]) -> list[str]:
    """Shut PostgreSQL's port, and open it again. What was wrong."""
    why = no_postgres()
    if why is not None:
        return skipped("database_away", why)
    problems = []
    with postgres_server() as url, doorway(make_url(url).port or 0) as door:
        server = make_url(url).set(port=door.port).render_as_string(hide_password=False)
        for n, (line, wait) in enumerate(AWAY_AT):
            mark = f"database-{n}"
            variables = environment(root, root / "served", mark) | {"NIGHTJAR_POSTGRES_URL": server}
            ended = disturbed(
                [*COMMAND, *call], variables, mark, line, wait, lambda pid: door.shut(), GRACE
            )
            door.open_again()
            wrong = strange(ended, "the database does not answer. What is finished is kept", 1)
            problems += said(f"database away {wait} s after {line!r}", ended, wrong)
        undisturbed(call, variables)
        return problems + differing("database", contents_on(url, root / "served"), expected)


def mlflow_away(root: Path, call: tuple[str, ...], expected: dict[str, Any]) -> list[str]:
    """Let nobody into MLflow's database while a night trains: it warns and goes on. What was
    wrong."""
    why = no_postgres()
    if why is not None:
        return skipped("mlflow_away", why)
    with postgres_server() as url:
        variables = environment(root, root / "untracked", "mlflow") | {"NIGHTJAR_POSTGRES_URL": url}

        def lock(pid: int) -> None:
            on_server(
                url,
                "ALTER DATABASE nightjar_mlflow ALLOW_CONNECTIONS false",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = 'nightjar_mlflow'",
            )

        on_server(url, "CREATE DATABASE nightjar_mlflow")
        ended = disturbed([*COMMAND, *call], variables, "mlflow", "train: ", 0.0, lock, GRACE)
        wrong = strange(ended, "its page: ", 0, n_last=3)
        if "warning: MLflow does not have model" not in ended.after:
            wrong.append("no word of it")
        problems = said("MLflow away while training", ended, wrong)
        problems += differing("untracked", contents_on(url, root / "untracked"), expected)
        on_server(url, "ALTER DATABASE nightjar_mlflow ALLOW_CONNECTIONS true")
        again = disturbed([*COMMAND, *call], variables, "mlflow", "", 0.0, lambda pid: None, GRACE)
        wrong = strange(again, "its page: ", 0, n_last=3)
        if "champion is model" not in again.after:
            wrong.append("no word of the champion")
        return problems + said("MLflow back", again, wrong)


def prefect_away(root: Path, call: tuple[str, ...], expected: dict[str, Any]) -> list[str]:
    """Shut the port of a lasting server of Prefect's, and open it again. What was wrong."""
    with prefect_server(root / "prefect") as port, doorway(port) as door:
        variables = environment(root, root / "followed", "prefect") | {
            "PREFECT_API_URL": f"http://127.0.0.1:{door.port}/api"
        }
        away = "Prefect's server does not answer. What is finished is kept"
        ended = disturbed(
            [*COMMAND, *call],
            variables,
            "prefect",
            "clean_orders:",
            1.0,
            lambda pid: door.shut(),
            GRACE,
        )
        wrong = strange(ended, away, 1)
        if "is not announced: Prefect's server does not answer" not in ended.after:
            wrong.append("no word of the announcement")
        problems = said("Prefect away while cleaning", ended, wrong)
        problems += differing("followed", contents(root / "followed"), expected)
        door.open_again()
        undisturbed(call, variables)
        return problems


OUTAGES = (database_away, mlflow_away, prefect_away)
AWAY_AT = (
    ("night of", 0.0),
    ("land_posts: reading", 1.0),
    ("clean_orders:", 1.0),
    ("user_features:", 1.0),
    ("train: training", 0.5),
    ("gate: ", 0.0),
    ("score: ", 0.0),
    ("audit: ", 0.0),
    ("published release", 0.0),
)
"""What a line holds after which the database goes away, and how many seconds later."""
GRACE, MOST_SECONDS = 8.0, 600.0
"""How long what a night started may outlive one that ended by itself, and how long that may take."""


@contextmanager
def prefect_server(home: Path) -> Iterator[int]:
    """A lasting server of Prefect's; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        env={**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/api/health", process, "Prefect server", home)
        yield port
    finally:
        stop(process)


def on_server(url: str, *statements: str) -> None:
    engine = create_engine(
        f"{url.replace(':', '+psycopg:', 1)}/postgres", isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def contents_on(url: str, home: Path) -> dict[str, Any]:
    """What a home holds whose receipts and catalogue are on a server."""
    address = f"{url.replace(':', '+psycopg:', 1)}/nightjar"
    os.environ[CATALOGUE_VARIABLE] = address
    try:
        return contents(home, address)
    finally:
        del os.environ[CATALOGUE_VARIABLE]


def strange(ended: Ended, last: str, code: int, n_last: int = 1) -> list[str]:
    """What must not be of a night that was disturbed, and should end with `last`."""
    lines = ended.after.splitlines()
    wrong = [f"said {line}" for line in lines[:-n_last] if not is_line_of_a_night(line)]
    if not lines or not lines[-1].startswith(last):
        wrong.append(f"ended with {lines[-1:]}")
    if ended.code != code:
        wrong.append(f"exit code {ended.code}, expected {code}")
    return wrong + [f"left {process}" for process in ended.left]


def said(moment: str, ended: Ended, wrong: list[str]) -> list[str]:
    """Print what came of a moment; what was wrong with it, named by the moment."""
    about = {
        "moment": moment,
        "fine": not wrong,
        "seconds": round(ended.seconds, 2),
        "code": ended.code,
        "after": ended.after.splitlines()[-6:],
        "wrong": wrong,
    }
    print(json.dumps(about), flush=True)
    return [f"{moment}: {problem}" for problem in wrong]


def skipped(what: str, why: str) -> list[str]:
    print(json.dumps({"skipped": what, "why": why}), flush=True)
    return []


def differing(what: str, held: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """Tables, and the release, in which a home differs from an undisturbed one."""
    wrong = [f"{what}: {name} differs" for name in expected if held[name] != expected[name]]
    print(json.dumps({"home": what, "release": held["release"], "differs": wrong}), flush=True)
    return wrong


if __name__ == "__main__":
    main()
