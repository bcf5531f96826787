"""`python -m tests.bench.night COMMAND…`: run a night and say what each stage took, as Markdown.

Memory is the proportional set size of all processes below, read from /proc every half second; a
stage's peak is the most that was seen while it ran, whatever ran beside it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

STARTS = re.compile(r"^\S+\s+(\w+): (?:reading|\d+ days,|\d{4}-)")
TRAINS = re.compile(r"^\S+\s+(train|score): ")
ENDS = re.compile(
    r"^\S+\s+(\w+): ([\d,]+) rows in, ([\d,]+) (?:out|clean).*?, ([\d.]+) s, ([\d,]+) rows/s"
)


def memory(root: int) -> float:
    """GB in use by a process and all below it."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        parents.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(
            int(path.parent.name)
        )
    todo, total = [root], 0
    while todo:
        pid = todo.pop()
        todo += parents.get(pid, [])
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(next(x.split()[1] for x in rollup.splitlines() if x.startswith("Pss:")))
    return total / 1e6


def main() -> None:
    started = time.monotonic()
    process = subprocess.Popen(
        sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    seen: list[tuple[float, float]] = []

    def sample() -> None:
        while process.poll() is None:
            seen.append((time.monotonic(), memory(process.pid)))
            time.sleep(0.5)

    threading.Thread(target=sample, daemon=True).start()
    began: dict[str, float] = {}
    rows = []
    for line in process.stdout or ():
        print(line, end="", file=sys.stderr, flush=True)
        now = time.monotonic()
        match = ENDS.match(line)
        for pattern in (STARTS, TRAINS):
            if match is None and (start := pattern.match(line)):
                began.setdefault(start[1], now)
        if match is not None:
            since = began.get(match[1], now - float(match[4]))
            peak = max((gb for at, gb in seen if since - 0.5 <= at <= now), default=0.0)
            rows.append((match[1], match[2], match[3], match[4], match[5], f"{peak:.1f}"))
    process.wait()
    print("| stage | rows in | rows out | seconds | rows/s | peak GB, all processes |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    peak = max((gb for _, gb in seen), default=0.0)
    print(
        f"\n{time.monotonic() - started:.0f} s in all, peak {peak:.1f} GB; exit {process.returncode}"
    )
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
