"""`make bench-mappings`: the last steps of a night for every set of tables that may be mapped.

The tests do it with a sample; this takes about ten minutes. It stops at the first set that fails.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from pathlib import Path

import pytest

from flows.settings import configure_libraries
from flows.storage.home import Home
from flows.storage.permissions import close_home
from tests.flows.steps.simulated_scores import SETS, finish_nights, nights_in, steps_without_servers

NIGHTS = 16
"""In one home: each is compared with the one before, and what a night costs grows with them."""


def main() -> None:
    started = time.monotonic()
    sets = random.Random(0).sample(SETS, len(SETS))  # so that tasks come and go between nights
    for n in range(0, len(sets), NIGHTS):
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            close_home(Home.of(folder))
            configure_libraries(Home.of(folder))
            steps_without_servers(patch)
            finish_nights(Path(folder), nights_in(Path(folder), patch), patch, sets[n : n + NIGHTS])
    seconds = round(time.monotonic() - started, 1)
    print(json.dumps({"benchmark": "mappings", "sets": len(sets), "seconds": seconds}))


if __name__ == "__main__":
    main()
