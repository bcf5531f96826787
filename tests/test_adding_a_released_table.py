"""The page about adding a table is followed to the letter, on a copy of the code."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.declared_rows import at_work, copy_code, declared, put

THE_TABLE_AT_WORK = '''
"""The added table is written, audited, published, repaired, compared, rolled back and erased."""

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.errors import ContractError
from contracts.tables import TABLES, released_named
from contracts.__main__ import tables_page
from flows.engine.fingerprints import ROLLED_BACK, decide
from flows.planning.stage_list import released_stages, released_tables, tonight
from flows.release.diff import compare
from flows.release.duckdb_views import query
from flows.release.releases import Releases, branch_of
from flows.retention import erasure, personal_rows
from flows.retention.personal_rows import PersonalRows
from flows.state.receipts import WITHDRAWN, Fingerprint
from flows.steps import publish
from flows.steps.candidate import Candidate, write_table
from flows.steps.process_stages import PROCESS_STAGES, update_for
from jobs.stages import process_named
from tests.flows.steps.simulated_scores import (
    FIRST,
    SETS,
    USERS,
    nights_in,
    steps_without_servers,
)

LOYALTY = released_named("loyalty").table


def write(night, candidate):
    update = update_for(night.days, "loyalty", {stage: [night.as_of] for stage in ("score", "loyalty")}, "m1")
    return write_table.fn(night, update, PROCESS_STAGES["loyalty"].writer, candidate)


def candidate_of(night):
    """A night up to its audit: scores are made up, the table's rows come from its process."""
    (scores,) = night.commit(night.context.tasks).tables
    written = write(night, Candidate((scores,)))
    return Candidate((scores, written))


def published(night):
    candidate = candidate_of(night)
    publish.audit.fn(night, candidate, [night.as_of])
    return publish.publish.fn(night, candidate, [night.as_of])


def loyalty(night, sql="SELECT as_of, user_key, tier, release_id FROM loyalty ORDER BY ALL"):
    return query(night.settings.home_folder.analysts_file, sql)[1]


def test_the_entry_and_the_module_are_enough(tmp_path, monkeypatch):
    said = steps_without_servers(monkeypatch)
    monkeypatch.setattr(erasure, "say", said.append)
    made_up = Fingerprint("code", "config", "inputs")
    scored = replace(PROCESS_STAGES["score"], fingerprint=lambda *given: made_up)
    monkeypatch.setitem(PROCESS_STAGES, "score", scored)
    night_of = nights_in(tmp_path, monkeypatch)
    assert LOYALTY in TABLES
    assert "## loyalty" in tables_page()
    assert process_named("loyalty").writes == (LOYALTY,)

    # A night writes it on a branch, where nobody reads it before its audit.
    one = night_of(0, SETS[-1])
    asked = released_stages(with_lists=False)
    assert [entry.stage for entry in released_tables(asked, tonight, lambda night: "m1")] == ["score", "loyalty"]
    candidate = candidate_of(one)
    assert one.lake.files(LOYALTY) == ()
    audited = publish.audit.fn(one, candidate, [FIRST])
    assert [(a.check, a.found) for a in audited if a.table == "loyalty"] == [
        ("rows of loyalty conform to its contract", "3 rows"),
        ("one row of loyalty per user_key, as_of", "3 rows, 3 different"),
        ("one day of loyalty", "0 rows of another day"),
        ("one row per user", "3 rows, 3 users"),
        ("every known user, no other", "3 known, 3 there, 0 unknown"),
        ("one day", "0 rows of another day"),
    ]

    # A crash behind the row that publishes: the next start repairs it.
    with monkeypatch.context() as patch:
        patch.setattr(publish, "repair_and_announce", lambda *given: None)
        first = publish.publish.fn(one, candidate, [FIRST])
    assert one.lake.files(LOYALTY) == ()
    publish.repair_after_crash(one.engine, one.lake, one.settings)
    tier = "one"
    assert loyalty(one) == [(FIRST, user, tier, first.release_id) for user in USERS]
    assert one.lake.snapshot(LOYALTY) == first.snapshots["loyalty"]
    assert one.lake.snapshot(LOYALTY, branch_of(first.release_id)) is None
    assert "repaired after a crash: loyalty points to release " + first.release_id in said

    # The same again is reused, and gives the same release.
    lines = len(said)
    written = write(one, Candidate())
    assert said[lines:] == ["loyalty: reused, nothing changed"]
    assert written.snapshot == first.snapshots["loyalty"]

    # A failing audit stops the release, and analysts keep the one before.
    bad = night_of(5, SETS[-1])
    bad.users = [USERS[0], *USERS]
    with pytest.raises(ContractError) as error:
        published(bad)
    assert str(error.value).partition("loyalty fails")[2] == (
        " its audit; the release before stays current:\\n"
        "  one row of loyalty per user_key, as_of: 4 rows, 3 different\\n"
        "  one row per user: 4 rows, 3 users\\n"
        "  every known user, no other: 4 known, 3 there, 0 unknown"
    )
    assert len(loyalty(bad)) == 3

    # The next release compares, and is rolled back.
    two = night_of(1, SETS[-1])
    second = published(two)
    assert [row[0] for row in loyalty(two)] == [FIRST] * 3 + [two.as_of] * 3
    compared = compare(two.settings, first.release_id, second.release_id, None)
    assert compared.tables == (("loyalty", 3, 3, 0, 0, 0),)
    releases = Releases(two.engine)
    releases.rollback(two.lake)
    publish.repair_and_announce(releases, two.lake, two.settings, "rollback")
    assert len(loyalty(two)) == 3
    assert two.lake.snapshot(LOYALTY) == first.snapshots["loyalty"]
    two.reload_receipts()
    receipt = two.receipts.get("loyalty", two.as_of)
    assert receipt.fingerprint.inputs == WITHDRAWN
    again = PROCESS_STAGES["loyalty"].fingerprint(two.days, two.as_of, "m1")
    assert decide("loyalty", two.as_of, again, receipt).reason == ROLLED_BACK

    # Somebody is erased from it, in every release.
    monkeypatch.setattr(personal_rows, "find", lambda *given: PersonalRows({}, (), {}))
    made = erasure.erase_person(two, USERS[0], None)
    assert made["rows"]["loyalty"] == 1
    assert loyalty(two) == [(FIRST, user, tier, first.release_id) for user in USERS[1:]]
    assert releases.of(second.release_id).snapshots["loyalty"] != second.snapshots["loyalty"]
'''


def test_one_entry_and_one_module_are_enough(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/adding-a-table.md").read_text()
    module = re.search(r"```python\n(\"\"\"How loyal.*?)```", page, flags=re.S)
    assert module is not None
    copy_code(tmp_path, ("contracts", "jobs", "models", "flows", "infra", "tests"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    row = declared("docs/adding-a-table.md", "ReleasedTable")
    place = "    ReleasedTable(USER_FEATURES),\n"
    put(row, tmp_path / "contracts/tables.py", place, is_after=False)
    (tmp_path / "models/loyalty.py").write_text(module.group(1))
    (tmp_path / "tests/flows/test_loyalty.py").write_text(THE_TABLE_AT_WORK)
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/flows/test_loyalty.py")
    done = at_work(tmp_path, *words)
    assert done.returncode == 0, done.stdout[-4000:]
