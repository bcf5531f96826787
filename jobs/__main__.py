"""`python -m jobs NAME SPEC REPORT`: one stage of the night, for spark-submit.

The spec is the JSON of a `JobSpec` (`contracts/specs.py`). The user key comes from NIGHTJAR_KEY.
The report says which files hold which day; the lake's owner commits them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from contracts.errors import ContractError, NightjarError, UsageError
from contracts.spec_json import decode
from contracts.specs import JobSpec
from jobs.landing.lookup_files import read_lookups
from jobs.mapping.sources import read_mapping
from jobs.run import run_job
from jobs.spark.config import SparkConfig
from jobs.spark.session import start_session
from jobs.stage import Job, Settings
from jobs.stages import SPARK_JOBS, job_named
from jobs.values.user_key import UserKey


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m jobs", description=__doc__)
    parser.add_argument("name", choices=[job.name for job in SPARK_JOBS])
    parser.add_argument("spec", type=Path)
    parser.add_argument("report", type=Path)
    arguments = parser.parse_args()
    job = job_named(arguments.name)
    try:
        spec = read_spec(arguments.spec, job)
        mapping = Path(spec.mapping)
        raw = mapping.parent if spec.raw is None else Path(spec.raw)
        settings = Settings(
            read_lookups(read_mapping(mapping), raw, mapping.parent),
            UserKey(os.environ.get("NIGHTJAR_KEY", "").encode()),
            spec.settle_days,
            spec.known_until,
            spec.surfaces,
            spec.ranking,
        )
        with tempfile.TemporaryDirectory() as scratch:
            result = run_job(
                start_session(SparkConfig(), Path(scratch)),
                job,
                spec.inputs,
                spec.days,
                spec.folder,
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


def read_spec(path: Path, job: Job) -> JobSpec:
    """What the file says is to be done.

    Raises:
        UsageError: it cannot be read, is no such spec, or lacks a table that the job reads.
    """
    try:
        spec = decode(JobSpec, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected UTF-8, found other bytes") from None
    except ContractError as error:
        raise UsageError(f"{path}: {error}") from None
    needed = [read.table for read in job.reads]
    needed += [] if job.incremental is None else [job.incremental]
    missing = dict.fromkeys(table.name for table in needed if table.name not in spec.inputs)
    if missing:
        raise UsageError(
            f"{path}: inputs: {job.name} reads {', '.join(missing)} as well; name each with its "
            "files, or with none: []"
        )
    return spec


if __name__ == "__main__":
    sys.exit(main())
