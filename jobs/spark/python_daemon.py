"""Starts Spark's Python workers as `pyspark.daemon` does, where sessions are local.

Before each task a worker forgets what it knows of importable files (`importlib.invalidate_caches`).
Python 3.11 then reads the whole directory of pyspark.zip again, once per package that came
from it: more than small tasks take. The zips are Spark's own and stay as they are.
"""

from __future__ import annotations

import zipimport


def _keep_caches(_: zipimport.zipimporter) -> None:
    pass


zipimport.zipimporter.invalidate_caches = _keep_caches  # type: ignore[method-assign, assignment]

from pyspark.daemon import manager  # noqa: E402  after it, for its imports come from the zip

if __name__ == "__main__":
    manager()
