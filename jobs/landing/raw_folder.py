"""What lies in the raw folder: each source's files, and the days that they land on."""

from __future__ import annotations

import glob
import os
import re
import stat
from datetime import date, timedelta
from pathlib import Path

from contracts.counts import n_of
from contracts.days import as_ranges
from contracts.errors import ContractError, NightjarError
from jobs.mapping.sources import RawFile, Source, SourceMapping

SHOWN = 10
"""Ranges of days without a file that a message names."""
_GLOBS = {"{day}": "[0-9]" * 4 + "-[0-9][0-9]-[0-9][0-9]", "*": "*"}


def raw_files(source: Source, folder: Path) -> tuple[RawFile, ...]:
    """The files of `source` that lie under `folder` now, by name.

    Raises:
        ContractError: there is none, or some are no files that can be read, or a name has something
            else where its day should be; every such one is named.
    """
    parts = re.split(r"(\{day\}|\*)", source.files)
    pattern = "".join(_GLOBS.get(part, glob.escape(part)) for part in parts)
    paths = sorted(path for path in folder.glob(pattern) if not _is_mark(path, source, folder))
    if not paths:
        raise ContractError(f"{source.name}: no file matches {folder / source.files}")
    shape = re.compile(
        "".join(
            r"(\d{4}-\d\d-\d\d)" if part == "{day}" else "[^/]*" if part == "*" else re.escape(part)
            for part in parts
        )
    )
    files, problems = [], []
    for path in paths:
        name = path.relative_to(folder).as_posix()
        day = None
        why = _no_file(path, source)
        if why is not None:
            problems.append(f"{name} {why}")
            continue
        if source.daily:
            match = shape.fullmatch(name)
            try:
                day = date.fromisoformat(match.group(1)) if match else None
            except ValueError:
                day = None
            if day is None:
                problems.append(f"{name} names no day that exists")
                continue
            day += timedelta(days=source.lands_after_days)
        files.append(RawFile(path, name, day))
    if problems:
        more = f"; and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise ContractError(f"{source.name}: {'; '.join(problems[:10])}{more}")
    return tuple(files)


_MARK = re.compile(r"\.|_(?:SUCCESS|committed_|started_|metadata$|common_metadata$|temporary)")
"""How files begin that desktops, editors and Spark leave beside others."""


def _is_mark(path: Path, source: Source, folder: Path) -> bool:
    """Whether some part of the path is a file's mark, and only a `*` in the mapping found it."""
    parts = zip(source.files.split("/"), path.relative_to(folder).parts, strict=True)
    return any(part.startswith("*") and _MARK.match(name) for part, name in parts)


def _no_file(path: Path, source: Source) -> str | None:
    """What lies there instead of a file that can be read, and what to do about it."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "is a link to a file that is not there: mend it, or take it away"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if stat.S_ISDIR(mode):
        return (
            "is a folder, such as Spark writes: name the files in it, "
            f'files = "{source.files}/*", or move it away'
        )
    if not stat.S_ISREG(mode):
        return "is no file but a pipe, socket or device: move it away"
    if not os.access(path, os.R_OK):
        return "may not be read by this user: change its permissions"
    return None


def files_before(
    mapping: SourceMapping, folder: Path, as_of: date, gaps_found: list[str] | None = None
) -> dict[str, tuple[RawFile, ...]]:
    """Each source's raw files that had landed before midnight `as_of`.

    With `gaps_found`, days that are missing are told there instead.

    Raises:
        ContractError: there is none, or a day is missing of a source that says to stop; all
            sources are named.
    """
    by_source: dict[str, tuple[RawFile, ...]] = {}
    problems = []
    for source in mapping.sources:
        try:
            files = raw_files(source, folder)
        except NightjarError as error:
            problems.append(f"  {error}")
            continue
        here = tuple(f for f in files if f.landed_on is None or f.landed_on < as_of)
        by_source[source.name] = here
        if not here:
            problems.append(
                f"  {source.name}: its first file landed on {files[0].landed_on}, "
                f"not before {as_of}"
            )
        gaps = missing_days(here, as_of)
        if gaps and source.missing == "stop":
            ranges = as_ranges(gaps)
            missing = ", ".join(
                str(r.start) if len(r) == 1 else f"{r.start} to {r.end - timedelta(days=1)}"
                for r in ranges[:SHOWN]
            ) + (" and others" if len(ranges) > SHOWN else "")
            (problems if gaps_found is None else gaps_found).append(
                f"  {source.name}: no file for {n_of(len(gaps), 'day')}: {missing}; if such "
                'days are normal, say missing = "empty" in the mapping'
            )
    if problems:
        raise ContractError("\n".join(["raw files are missing:", *problems]))
    return by_source


def missing_days(files: tuple[RawFile, ...], as_of: date) -> tuple[date, ...]:
    """Days from the source's first file up to `as_of` on which no file landed."""
    landed_days = {file.landed_on for file in files if file.landed_on is not None}
    if not landed_days:
        return ()
    first = min(landed_days)
    return tuple(
        day
        for n in range((as_of - first).days)
        if (day := first + timedelta(days=n)) not in landed_days
    )
