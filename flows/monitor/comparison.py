"""What was published beside what then happened: how the tables of such comparisons are written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from contracts.hashes import hash_of
from contracts.specs import Spec
from contracts.table import Table
from flows.engine.accounting import Work
from flows.engine.model_process import run_models
from flows.engine.run import Run
from flows.lifecycle.progress import Say
from flows.state.receipts import Fingerprint

Row = dict[str, Any]


def write_comparison(
    run: Run,
    table: Table,
    spec: Spec,
    fingerprints: Mapping[date, Fingerprint],
    says_n_users: Callable[[Row], bool],
    say: Say,
) -> list[Row]:
    """Have a process compare days, replace their rows of a table, and write receipts of its stage,
    which is called like it.

    Args:
        run: the run.
        table: where the rows go.
        spec: what the process is asked; it reports `days`, lists of rows.
        fingerprints: of each day that is compared.
        says_n_users: which rows count users, each once.
        say: takes lines of progress.

    Returns:
        The rows.
    """
    started, days = time.monotonic(), list(fingerprints)
    key = run.settings.key_of_weights()
    compared = run_models(spec, run.context.process_folder, say, key)["days"]
    rows = [row | {"as_of": date.fromisoformat(row["as_of"])} for day in compared for row in day]
    snapshot = run.lake.replace_rows(table, rows, days, {})
    outputs = {}
    for day in days:
        of_day = [row for row in rows if row["as_of"] == day]
        outputs[day] = {
            table.name: {"digest": hash_of(of_day), "rows": len(of_day), "snapshot": snapshot}
        }
    rows_in = sum(row["n_users"] for row in rows if says_n_users(row))
    seconds = time.monotonic() - started
    run.note(Work(table.name, fingerprints, rows_in, len(rows), seconds, 0), outputs, say)
    run.fingerprints.invalidate(table.name)
    return rows
