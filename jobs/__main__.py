"""`python -m jobs NAME SPEC REPORT`: one stage of the night, for spark-submit.

The spec is JSON: `inputs` (table to Parquet files), `days`, `folder` (to write under), `mapping`
(path of the TOML file), `raw` (the raw folder, where lookups may lie that are not beside the
mapping), `known_until`, `settle_days`. The user key comes from NIGHTJAR_KEY. The report says which
files hold which day; the lake's owner commits them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import date
from pathlib import Path

from contracts.errors import NightjarError, UsageError
from jobs.landing.lookup_files import read_lookups
from jobs.mapping.sources import read_mapping
from jobs.run import run_job
from jobs.spark.config import SparkConfig
from jobs.spark.session import start_session
from jobs.stage import Settings
from jobs.stages import SPARK_JOBS, job_named
from jobs.values.user_key import UserKey


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m jobs", description=__doc__)
    parser.add_argument("name", choices=[job.name for job in SPARK_JOBS])
    parser.add_argument("spec", type=Path)
    parser.add_argument("report", type=Path)
    arguments = parser.parse_args()
    spec = json.loads(arguments.spec.read_text())
    try:
        path = Path(spec["mapping"])
        settings = Settings(
            read_lookups(read_mapping(path), Path(spec.get("raw", path.parent)), path.parent),
            UserKey(os.environ.get("NIGHTJAR_KEY", "").encode()),
            spec["settle_days"],
            date.fromisoformat(spec["known_until"]),
        )
        with tempfile.TemporaryDirectory() as scratch:
            result = run_job(
                start_session(SparkConfig(), Path(scratch)),
                job_named(arguments.name),
                spec["inputs"],
                [date.fromisoformat(day) for day in spec["days"]],
                spec["folder"],
                settings,
            )
    except NightjarError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    report = {
        "written": {
            table: {
                str(day): {"rows": written.rows, "digest": written.digest, "files": written.files}
                for day, written in days.items()
            }
            for table, days in result.written.items()
        },
        "reconciled": result.reconciled,
    }
    arguments.report.write_text(json.dumps(report, indent=1, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
