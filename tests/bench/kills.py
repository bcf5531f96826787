"""`make kill-test`: SIGKILL nights and backfills at random instants, and lose nothing.

Each round begins with an empty home, kills its night and then its backfill again and again, each at
a random instant (the whole process group, the main process alone, or a random one of its children),
and lets them end at last. What then lies there must be what an uninterrupted night and backfill
leave, to the bit. After each kill what analysts read must be one whole release or none, and no
process may be left. The last line is JSON with `kills` and `lost`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from flows.release.duckdb_views import query
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.bench.contents import contents, untrue_receipts
from tests.conftest import REPOSITORY
from tests.flows.conftest import ENVIRONMENT
from tests.flows.first_night import DAYS, NIGHT, START

MARK = "NIGHTJAR_KILL_TEST"
LAST = NIGHT - timedelta(days=1)
FIRST = NIGHT - timedelta(days=6)
CALLS = (
    ("run", "--as-of", str(NIGHT)),
    ("backfill", "--start", str(FIRST), "--end", str(LAST), "--stages", "examples,score"),
)
LEFT_SECONDS = 20


def environment(root: Path, home: Path, mark: str) -> dict[str, str]:
    own = {"NIGHTJAR_HOME": str(home), "NIGHTJAR_RAW": str(root / "raw"), MARK: mark}
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, **ENVIRONMENT, **own, "PYTHONPATH": path}


def start(root: Path, home: Path, call: tuple[str, ...], mark: str) -> subprocess.Popen[bytes]:
    log = (home.parent / f"{home.name}.log").open("ab")
    return subprocess.Popen(
        [sys.executable, "-c", "from flows.cli.main import main; main()", *call],
        env=environment(root, home, mark),
        cwd=REPOSITORY,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def marked(mark: str) -> Iterator[int]:
    """Processes that a run with this mark has started, and the run."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}\0".encode() in path.read_bytes() + b"\0":
                yield int(path.parent.name)
        except OSError:
            continue


def watches(pid: int) -> bool:
    """Whether it is the process that waits for the end of a run, to clean up behind it."""
    try:
        return b"sys.stdin.buffer.read" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def kill(process: subprocess.Popen[bytes], how: str, mark: str, rng: random.Random) -> str:
    """Kill some of a run; says what was killed."""
    if how == "child":
        children = [p for p in marked(mark) if p != process.pid and not watches(p)]
        if children:
            victim = rng.choice(sorted(children))
            try:
                words = Path(f"/proc/{victim}/cmdline").read_bytes().split(b"\0")
                os.kill(victim, signal.SIGKILL)
            except OSError:
                return "a child that had ended"
            return f"child {Path(words[0].decode()).name} {b' '.join(words[1:4]).decode()[:60]}"
        how = "main"
    if how == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(process.pid, signal.SIGKILL)
    return how


def check_seen(home: Path) -> list[str]:
    """What analysts read must be one whole release."""
    database = home / "nightjar.duckdb"
    if not database.exists():
        return []
    problems = []
    sums = query(
        database,
        "SELECT as_of, count(*), count(DISTINCT user_key), count(DISTINCT release_id), "
        "(SELECT count(*) FROM user_features f WHERE f.as_of = s.as_of) "
        "FROM user_scores s GROUP BY as_of",
    )[1]
    for day, n, users, ids, known in sums:
        if not (n == users == known and ids == 1):
            problems.append(f"{day}: {n} rows, {users} users, {ids} releases, {known} known")
    lost = query(
        database,
        "SELECT count(*) FROM reconciliation WHERE n_in <> n_clean + n_duplicate + n_quarantined + n_erased",
    )[1][0][0]
    return problems + ([f"{lost} days do not reconcile"] if lost else [])


def wait_for_end(mark: str) -> list[str]:
    """Processes that are still there some seconds after a run was killed."""
    deadline = time.monotonic() + LEFT_SECONDS
    while time.monotonic() < deadline:
        if not list(marked(mark)):
            return []
        time.sleep(0.2)
    left = []
    for pid in marked(mark):
        left.append(Path(f"/proc/{pid}/cmdline").read_bytes()[:80].decode(errors="replace"))
        os.kill(pid, signal.SIGKILL)
    return left


def finish(root: Path, home: Path, call: tuple[str, ...], mark: str) -> float:
    started = time.monotonic()
    process = start(root, home, call, mark)
    if process.wait(900) != 0:
        tail = (home.parent / f"{home.name}.log").read_text(errors="replace")[-3000:]
        raise SystemExit(f"{' '.join(call)} failed:\n{tail}")
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--per-round", type=int, default=13, help="kills of one home's night")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    root = Path(tempfile.mkdtemp(prefix="nightjar-kills-"))
    simulate(Market(150, START, DAYS, 3), root / "raw", lambda done, total: None)
    print("an uninterrupted night and backfill first", flush=True)
    took = [finish(root, root / "whole", call, "whole") for call in CALLS]
    expected = contents(root / "whole")
    problems: list[str] = [f"whole: {p}" for p in untrue_receipts(root / "whole")]
    print(f"they took {took[0]:.0f} and {took[1]:.0f} s", flush=True)
    kills, rounds = 0, 0
    by_kind: dict[str, int] = {}
    while kills < options.kills:
        rounds += 1
        home = root / f"round{rounds}"
        for call, seconds, share in zip(CALLS, took, (0.7, 0.3), strict=True):
            for _ in range(max(1, round(options.per_round * share))):
                if kills >= options.kills:
                    break
                mark = f"{rounds}-{kills}"
                process = start(root, home, call, mark)
                # A run that takes up what was done comes to its end sooner: look at all of it.
                delay = rng.uniform(2, min(max(12, seconds), 32))
                try:
                    process.wait(delay)
                    print(f"{call[0]} had ended before it was killed", flush=True)
                    break
                except subprocess.TimeoutExpired:
                    pass
                how = rng.choice(["group", "group", "main", "child"])
                what = kill(process, how, mark, rng)
                try:
                    process.wait(600)  # whoever lost a child says so and ends
                except subprocess.TimeoutExpired:
                    problems.append(f"round {rounds}: hangs after the loss of {what}")
                    os.killpg(process.pid, signal.SIGKILL)
                kills += 1
                by_kind[how] = by_kind.get(how, 0) + 1
                left = wait_for_end(mark)
                problems += [f"round {rounds}: left behind after {what}: {p}" for p in left]
                problems += [f"round {rounds}: {p}" for p in check_seen(home)]
                print(f"kill {kills}: {call[0]} after {delay:.1f} s, {what}", flush=True)
            finish(root, home, call, f"{rounds}-end")
        at_the_end = contents(home)
        for name in expected:
            if at_the_end[name] != expected[name]:
                problems.append(f"round {rounds}: {name} differs from an uninterrupted run")
        problems += [f"round {rounds}: {p}" for p in untrue_receipts(home)]
        print(f"round {rounds}: {problems or 'the same'}", flush=True)
        shutil.rmtree(home)
    rows: Any = {"kills": kills, "lost": len(problems), "rounds": rounds, "by_kind": by_kind}
    for problem in problems:
        print(problem)
    if not problems:
        shutil.rmtree(root)
    print(json.dumps(rows))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
