"""`make soak`: thirty nights in a row of a small market, and what goes wrong on the way.

A Prefect server runs all the while with the automations of `nightjar up`, and a receiver counts the
alerts that arrive. Nights are started as a person would, with the command. Late rows come with the
simulated market; beside them a raw file arrives truncated, the source of orders changes its folder
and columns, a night is killed with all its processes, and an audit fails. After each of these the
night is put right as the messages say and run again; when nothing was published by morning, `release-deadline`
runs, as its schedule would, and housekeeping every week. Prints a table, and last a JSON line with `nights` and `published`.
With `--root` a soak that was stopped goes on after its last night.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import http.server
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from prefect.settings import PREFECT_API_URL, temporary_settings

from contracts.tables import TABLES
from flows.lake.lake import Lake
from flows.release.releases import Releases
from flows.server import up
from flows.settings import configure_libraries, read_settings
from flows.state.schema import open_database
from flows.storage.home import Home
from flows.storage.permissions import close_home
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.bench.kills import MARK, marked
from tests.conftest import REPOSITORY
from tests.flows.conftest import ENVIRONMENT
from tests.flows.first_night import DAYS, START

HISTORY = DAYS
TRUNCATED, MOVED, KILLED, AUDIT = 5, 12, 18, 24
"""Nights, counted from 0, on which something goes wrong."""

CHECK_DEADLINE = (
    "import sys; from flows.release_deadline import release_deadline; release_deadline(sys.argv[1])"
)


@dataclass
class Soak:
    root: Path
    alerts: list[str] = field(default_factory=list)
    rows: list[dict[str, object]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def mapping(self) -> Path:
        return self.root / "market.toml"

    def environment(self, **more: str) -> dict[str, str]:
        own = {
            "NIGHTJAR_HOME": str(self.home),
            "NIGHTJAR_RAW": str(self.raw),
            "NIGHTJAR_SOURCE": str(self.mapping),
            "PYTHONPATH": str(REPOSITORY),
            MARK: str(self.root),
        }
        return {**os.environ, **ENVIRONMENT, **own, **more}

    def start(self, *call: str, **more: str) -> subprocess.Popen[bytes]:
        log = (self.root / "nights.log").open("ab")
        return subprocess.Popen(
            [sys.executable, "-c", "from flows.cli.main import main; main()", *call],
            env=self.environment(**more),
            cwd=REPOSITORY,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def night(self, day: date, **more: str) -> int:
        """The night of a day, to its end."""
        return self.start("run", "--as-of", str(day), **more).wait()

    def kill_night(self, day: date, after: float) -> None:
        """The night of a day, killed with everything it has started."""
        process = self.start("run", "--as-of", str(day))
        time.sleep(after)
        for pid in {process.pid, *marked(str(self.root))} - {os.getpid()}:
            try:
                if pid != self.server_pid:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()

    server_pid: int = 0

    def check_deadline(self, day: date) -> None:
        """What the schedule does in the morning."""
        subprocess.run(
            [sys.executable, "-c", CHECK_DEADLINE, str(day)],
            env=self.environment(),
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )

    def housekeeping(self) -> None:
        """What the schedule does every week, as if these nights lay a day apart."""
        at_once = {"NIGHTJAR_KEEP_SNAPSHOT_DAYS": "0", "NIGHTJAR_KEEP_FILES_HOURS": "0"}
        self.start("housekeeping", **at_once).wait()

    def published(self, day: date) -> bool:
        current = Releases(open_database(f"sqlite:///{self.home}/nightjar.db")).current()
        return current is not None and current.as_of == day

    def note(self, day: date, what: str, tries: int, seconds: float) -> None:
        lake = Lake(self.home / "lake")
        files = [p for p in self.home.rglob("*") if p.is_file()]
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        row = {
            "night": str(day),
            "what": what,
            "tries": tries,
            "published": self.published(day),
            "seconds": round(seconds),
            "alerts": len(self.alerts),
            "disk_mb": round(sum(p.stat().st_size for p in files) / 1e6),
            "snapshots": sum(len(lake.table(t).snapshots()) for t in TABLES),
            "peak_mb": round(peak),
        }
        self.rows.append(row)
        show(row)
        self.kept.write_text(json.dumps({"rows": self.rows, "alerts": self.alerts}))

    @property
    def kept(self) -> Path:
        return self.root / "soak.json"

    def take_up(self) -> None:
        """Go on after the last night of a soak that was stopped."""
        if self.kept.exists():
            known = json.loads(self.kept.read_text())
            self.rows, self.alerts[:] = known["rows"], known["alerts"]
            for row in self.rows:
                show(row)


def show(row: dict[str, object]) -> None:
    print("  ".join(f"{value!s:>10}" for value in row.values()), flush=True)


def truncate(file: Path, kept: Path) -> None:
    """Cut a gzip file in its middle; the whole one is kept, also for a soak that is taken up."""
    if not kept.exists():
        shutil.copyfile(file, kept)
    whole = kept.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


def move_orders(raw: Path, days: list[date]) -> None:
    """From now on orders come in another folder, with other names and order of columns."""
    (raw / "orders_v2").mkdir(exist_ok=True)
    for day in days:
        old = raw / f"orders/{day}.csv.gz"
        if not old.exists():
            continue
        rows = list(csv.reader(io.StringIO(gzip.decompress(old.read_bytes()).decode("latin-1"))))
        heads = {"line_id": "line", "price": "unit_price"}
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow(["channel", *(heads.get(h, h) for h in rows[0])])
        out.writerows(["web", *row] for row in rows[1:])
        new = raw / f"orders_v2/{day}.csv.gz"
        new.write_bytes(gzip.compress(text.getvalue().encode("latin-1"), mtime=0))
        old.unlink()


def map_moved_orders(mapping: Path) -> None:
    """What the message and the README tell an operator to do: a second source for the new files."""
    text = mapping.read_text()
    start = text.index("[sources.orders]")
    end = text.index("[sources.", text.index("[sources.orders.tables.orders]") + 10)
    block = text[start:end]
    new = (
        block.replace("sources.orders", "sources.orders_v2")
        .replace('"orders/{day}', '"orders_v2/{day}')
        .replace('"line_id",', '"line",')
        .replace('"price",', '"unit_price",')
        .replace('line_id = "line_id"', 'line_id = "line"')
        .replace('unit_price = "price"', 'unit_price = "unit_price"')
        .replace('missing = "stop"', 'missing = "empty"')
    )
    old = block.replace('missing = "stop"', 'missing = "empty"')
    mapping.write_text(text[:start] + old + new + text[end:])


def soak(of: Soak, nights: int, users: int) -> None:
    if not of.mapping.exists():
        simulate(Market(users, START, HISTORY + nights, 3), of.raw, lambda done, total: None)
        of.mapping.write_text((REPOSITORY / "infra/sources/market.toml").read_text())
    print("  ".join(f"{head:>10}" for head in (
        "night", "what", "tries", "published", "seconds", "alerts", "disk MB", "snapshots", "peak MB",
    )))  # fmt: skip
    of.take_up()
    for n in range(len(of.rows), nights):
        day = START + timedelta(days=HISTORY + n)
        started, what, tries = time.monotonic(), "", 1
        if n == TRUNCATED:
            file = of.raw / f"engagements/{day - timedelta(days=1)}.jsonl.gz"
            truncate(file, of.root / file.name)
            of.night(day)
            of.check_deadline(day)
            shutil.copyfile(of.root / file.name, file)  # the source sends it again
            what, tries = "bad file", 2
        elif n == MOVED:
            last = START + timedelta(days=HISTORY + nights)
            span = (last - day).days + 2
            move_orders(of.raw, [day + timedelta(days=k - 1) for k in range(span)])
            of.night(day)
            of.check_deadline(day)
            if "orders_v2" not in of.mapping.read_text():
                map_moved_orders(of.mapping)
            what, tries = "schema", 2
        elif n == KILLED:
            of.kill_night(day, 20)
            of.check_deadline(day)
            what, tries = "killed", 2
        elif n == AUDIT:
            of.night(day, NIGHTJAR_MAX_SCORE_SHIFT="0.0000001")
            of.check_deadline(day)
            what, tries = "audit", 2
        of.night(day)
        if n % 7 == 6:
            of.housekeeping()
        time.sleep(2)  # for an alert to arrive
        of.note(day, what, tries, time.monotonic() - started)


class Receiver(http.server.BaseHTTPRequestHandler):
    of: Soak

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.of.alerts.append(json.loads(body)["text"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=30)
    parser.add_argument("--users", type=int, default=150)
    parser.add_argument("--root", type=Path, help="folder to work in; kept")
    options = parser.parse_args()
    of = Soak(options.root or Path(tempfile.mkdtemp(prefix="nightjar-soak-")))
    of.home.mkdir(parents=True, exist_ok=True)
    Receiver.of = of
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    settings = read_settings(
        home=of.home, prefect_port=4310, alert_webhook=f"http://127.0.0.1:{hook.server_port}/"
    )
    close_home(Home.of(of.home))
    configure_libraries(Home.of(of.home))
    services = up.service_environment(settings) | {"PREFECT_HOME": str(of.home / "prefect")}
    os.environ.update(services)
    (of.home / "prefect").mkdir(exist_ok=True)
    with ExitStack() as stack:
        server = up.start(up.server_command(settings), services, of.home / "logs", stack)
        of.server_pid = server.pid
        up.wait_for(f"{up.api_url(settings)}/health", server, "Prefect", of.home / "logs")
        with temporary_settings({PREFECT_API_URL: up.api_url(settings)}):
            up.deploy(settings)
        soak(of, options.nights, options.users)
    print("\nalerts:")
    for text in of.alerts:
        print("  " + " | ".join(text.splitlines()[:2])[:200])
    first, last = of.rows[0], of.rows[-1]
    print(
        json.dumps(
            {
                "nights": len(of.rows),
                "published": sum(bool(row["published"]) for row in of.rows),
                "alerts": len(of.alerts),
                "disk_mb_first": first["disk_mb"],
                "disk_mb": last["disk_mb"],
                "snapshots": last["snapshots"],
                "peak_mb": last["peak_mb"],
            }
        )
    )
    if options.root is None:
        shutil.rmtree(of.root, ignore_errors=True)


if __name__ == "__main__":
    main()
