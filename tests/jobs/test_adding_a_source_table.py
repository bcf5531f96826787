"""The page about adding a source table is followed to the letter, on a copy of the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

MAPPING = """
[sources.helpdesk]
files = "{day}.csv"
format = "csv"
columns = ["id", "who", "topic", "text", "at"]
[sources.helpdesk.tables.support_tickets]
ticket_id = "id"
user_id = "who"
topic = "topic"
text = "text"
occurred_at = "at"
"""
TICKETS = """id,who,topic,text,at
1,ann,delivery,Where is it?,2025-01-01T08:00:00Z
2,ann,payment,Charged twice,2025-01-01T09:00:00Z
3,bob,payment,,2025-01-01T10:00:00Z
4,bob,weather,Rain again,2025-01-01T11:00:00Z
4,bob,other,,2025-01-01T12:00:00Z
"""
FROM_FILES_TO_FEATURES = """
import sys
from collections import defaultdict
from datetime import date
from pathlib import Path

from contracts.features import FEATURES
from contracts.tables import LANDED, QUARANTINE, USER_FEATURES, table_named
from jobs.landing.raw_folder import raw_files
from jobs.mapping.sources import read_mapping
from jobs.run import run_job, run_landing
from jobs.spark.config import SparkConfig
from jobs.spark.files import read_table
from jobs.spark.session import start_session
from jobs.stage import Settings
from jobs.stages import SPARK_JOBS
from jobs.values.user_key import UserKey

folder, landed_on, as_of = Path(sys.argv[1]), date(2025, 1, 1), date(2025, 1, 2)
mapping = read_mapping(folder / "helpdesk.toml")
spark = start_session(SparkConfig(master="local[1]", shuffle_partitions=1), folder / "spark")
files = defaultdict(list)


def keep(result):
    for table, days in result.written.items():
        files[table] += [path for written in days.values() for path in written.files]


(source,) = mapping.sources
keep(run_landing(spark, source, raw_files(source, folder / "raw"), [landed_on], str(folder / "out")))
settings = Settings(mapping, UserKey(b"a key for the tests alone"))
for job in SPARK_JOBS:
    if job.name.startswith("clean_") and job.name != "clean_support_tickets":
        continue
    inputs = {read.table.name: list(files[read.table.name]) for read in job.reads}
    if job.incremental is not None:
        inputs[job.incremental.name] = list(files[job.incremental.name])
    day = landed_on if job.writes[0].day == "landed_on" else as_of
    keep(run_job(spark, job, inputs, [day], str(folder / "out" / job.name), settings))
    if job.name == "user_features":
        break

reasons = read_table(spark, QUARANTINE, files["quarantine"]).select("line", "reason").collect()
assert sorted(map(tuple, reasons)) == [
    (4, "text: nothing written about a payment"),
    (5, "topic: not one of delivery, payment, other"),
], reasons
rows = read_table(spark, USER_FEATURES, files["user_features"]).collect()
told = sorted(
    (r.n_events_all, r.n_tickets_7d, r.n_payment_tickets_all, r.n_orders_all, r.seq_verb)
    for r in rows
)
assert told == [(1, 1, 0, 0, ["ticket"]), (2, 2, 1, 0, ["ticket", "ticket"])], told
assert [f.name for f in FEATURES if f.name.endswith("tickets_30d")] == [
    "n_tickets_30d", "n_payment_tickets_30d",
]
assert table_named("support_tickets").grain == ("ticket_id",)
print("one module was enough")
"""

MONEY_AND_USERS = """
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import UsageError
from contracts.tables import table_named
from flows.mapping_check.expected_night import known_users
from jobs.mapping.sources import read_mapping
from jobs.run import Result
from jobs.spark.files import WrittenDay
from jobs.spark.schema import arrow_schema

folder, day = Path(sys.argv[1]), date(2025, 1, 1)
try:
    read_mapping(folder / "helpdesk.toml")
except UsageError as error:
    print(error)
tickets = table_named("support_tickets")
row = {column.name: None for column in tickets.columns} | {"landed_on": day}
rows = [
    row | {"user_key": "ann", "seller_key": "bob"},
    row | {"user_key": "ann", "seller_key": "cid"},
    row | {"user_key": "bob", "till_key": "a device"},
]
path = str(folder / "tickets.parquet")
pq.write_table(pa.Table.from_pylist(rows, arrow_schema(tickets)), path)
result = Result({tickets.name: {day: WrittenDay(day, 3, "", (path,))}})
print(known_users([tickets], [result], [date(2025, 1, 2)]))
"""


def test_one_module_is_enough(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/adding-a-table.md").read_text()
    module = re.search(r'```python\n("""Tickets.*?\n)```', page, flags=re.S)
    assert module is not None
    added(module.group(1), MAPPING, tmp_path, "contracts", "jobs")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/2025-01-01.csv").write_text(TICKETS)
    assert run(FROM_FILES_TO_FEATURES, tmp_path) == "one module was enough\n"


def test_its_amounts_need_money_and_the_users_that_it_names_are_known(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs/adding-a-table.md").read_text()
    module = re.search(r'```python\n("""Tickets.*?\n)```', page, flags=re.S)
    assert module is not None
    text = module.group(1)
    for before, more in (
        ("        OCCURRED_AT,\n", """
        Column("seller_key", "string", "The seller: a keyed hash.", nullable=True),
        Column("till_key", "string", "The till: a keyed hash.", nullable=True),
        Column("amount_minor", "bigint", "Asked back, in minor units.", nullable=True),
"""),
        ('        Field("occurred_at", ', """
        Field("seller_id", "who sold it", required=False),
        Field("till_id", "where it was sold", required=False),
        Field("refund", "what is asked back", required=False),
        Field("currency", "ISO code", required=False),
"""),
        ("            Time(),\n        ),\n        checks", """
            KeyedUser("seller_key", "seller_id"),
            KeyedUser("till_key", "till_id"),
            Amount("refund"),
"""),
        ("    measures=(\n", """
    things=(Thing("counterpart", "seller_key"), Thing("device", "till_key")),
"""),
    ):  # fmt: skip
        assert text.count(before) == 1
        text = text.replace(before, more.lstrip("\n") + before)
    text = text.replace("import Cleaning", "import Amount, Cleaning")
    text = text.replace("    SourceTable,\n", "    SourceTable,\n    Thing,\n")
    mapping = MAPPING.replace("[sources.helpdesk]", "name = 'helpdesk'\n[sources.helpdesk]")
    added(text, mapping + 'refund = "text"\n', tmp_path, "contracts", "jobs", "flows", "infra")
    assert run(MONEY_AND_USERS, tmp_path) == (
        f"{tmp_path}/helpdesk.toml is not a valid mapping:\n"
        "  money: sources.helpdesk.tables.support_tickets needs [money] with reporting_currency "
        "and rates\n"
        "{datetime.date(2025, 1, 2): 3}\n"
    )


def added(module: str, mapping: str, folder: Path, *layers: str) -> None:
    """A copy of the code in which the table is declared and listed, with a mapping that fills it."""
    for layer in layers:
        shutil.copytree(
            REPOSITORY / layer, folder / layer, ignore=shutil.ignore_patterns("__pycache__")
        )
    (folder / "contracts/source_tables/support_tickets.py").write_text(module)
    listed = folder / "contracts/clean_tables.py"
    text = listed.read_text()
    last = "    BLOCKS,\n)"
    assert text.count(last) == 1
    first_import = "from contracts.source_tables.users import USERS\n"
    listed.write_text(
        text.replace(last, "    BLOCKS,\n    SUPPORT_TICKETS,\n)").replace(
            first_import,
            "from contracts.source_tables.support_tickets import SUPPORT_TICKETS\n" + first_import,
        )
    )
    (folder / "helpdesk.toml").write_text(mapping)


def run(script: str, folder: Path) -> str:
    """What a script prints that runs with the copy of the code."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
