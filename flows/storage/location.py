"""Locations: where a file lies, as a URI that Iceberg, Arrow and people write the same way.

They are not percent-encoded: no reader of Iceberg's locations decodes them.
"""

from __future__ import annotations

import os
from pathlib import Path

ONLY_LOCAL = (
    "{given} is an address; homes, mappings, raw files and keys are read from folders of this "
    "machine so far: give a path, such as where it is mounted"
)


def uri_of(path: str | Path) -> str:
    """A local file as Iceberg's tables name it: percent signs mean themselves, for no reader of
    Iceberg's locations decodes them. pyiceberg cuts a URI at `#`, but not a bare path."""
    name = str(path)
    return name if "://" in name or "#" in name else f"file://{name}"


def plain_path(uri: str) -> str:
    """Local files as plain paths, which Spark, Arrow and DuckDB all read."""
    return uri.removeprefix("file://")


def resolved(uri: str) -> str:
    """Where a file really lies, whatever links and `..` its name goes through: names of files are
    compared only so."""
    path = plain_path(uri)
    return path if "://" in path else os.path.realpath(path)


def is_within(uri: str, folder: str) -> bool:
    """Whether a file really lies below a folder."""
    return resolved(uri).startswith(resolved(folder).rstrip("/") + "/")


def relative(uri: str, folder: str) -> str:
    """A location as it is named from a folder, both by where they really lie."""
    return os.path.relpath(resolved(uri), resolved(folder))


def relative_name(location: str, folder: str) -> str:
    """What follows a folder's name in a location below it."""
    return plain_path(location).removeprefix(plain_path(folder).rstrip("/") + "/")


def join(folder: str, *names: str) -> str:
    """A location below a folder's."""
    return "/".join([folder.rstrip("/"), *names])


def name_of(uri: str) -> str:
    """The last part of a location."""
    return uri.rstrip("/").rpartition("/")[2]


def folder_of(uri: str) -> str:
    """The folder that a location lies in."""
    return uri.rstrip("/").rpartition("/")[0]
