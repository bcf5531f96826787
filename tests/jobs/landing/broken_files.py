"""Raw files with accidents, seeded: bytes, quotes, line ends, encodings and compression damaged."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
from dataclasses import dataclass
from pathlib import Path

from jobs.landing.read import raw_rows
from jobs.mapping.raw_row import WHOLE_FILE, Row
from jobs.mapping.sources import Source
from tests.jobs.landing.coverage_of_bytes import decoded, uncovered

COLUMNS = ("id", "user", "item", "text", "at")

_TOKENS = (
    b'"', b'""', b"'", b"\\", b"\x00", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"{", b"}", b"}{", b"[",
    b"]", b",", b"::", b":", b"null", b"NaN", b"\\N", b"1e999", b"\t", b"\r", b"\n", b"\r\n", b" ",
    b"\\u", b"\\ud83d", b"\xe2\x80\xa8", "\u00a0".encode(), "\U0001f600".encode(), b"9" * 40, b"<",
    b"0x1F", b"true", b'"id":', b"\x1f\x8b", b"2025-13-45T99:99:99Z", b"9999-12-31", b"x" * 3000,
)  # fmt: skip


@dataclass(frozen=True)
class Broken:
    """A file's name and bytes, and how a source would read it."""

    name: str
    content: bytes
    source: Source


def lines(format_: str, rng: random.Random, n: int) -> list[bytes]:
    """Good rows; some have quotes, line breaks and letters of other scripts in a cell."""
    records = []
    for i in range(n):
        text = rng.choice(["plain", "", "so, so", 'an "inch"', "Größe 小明", "two\nlines", "NULL"])
        values = (f"e{i}", f"u{i % 3}", f"i{i % 5}", text, f"2025-06-01T10:00:{i % 60:02d}Z")
        if format_ == "csv":
            quoted = '"' + text.replace('"', '""') + '"'
            cell = quoted if set(text) & set('",\n') or rng.random() < 0.2 else text
            records.append(",".join((*values[:3], cell, values[4])).encode())
        else:
            record = dict(zip(COLUMNS, values, strict=True))
            records.append(json.dumps(record, ensure_ascii=rng.random() < 0.5).encode())
    return records


def broken(format_: str, rng: random.Random) -> Broken:
    """A file with a few accidents, as a source of that format may meet it."""
    header = format_ == "csv" and rng.random() < 0.5
    rows = lines(format_, rng, rng.randint(1, 12))
    if header:
        rows.insert(0, ",".join(COLUMNS).encode())
    between = b"" if format_ == "jsonl" and rng.random() < 0.2 else rng.choice([b"\n", b"\r\n"])
    content = between.join(rows) + rng.choice([b"", b"\n"])
    if format_ == "json":
        content = b"[" + b",\n".join(rows) + b"]"
    for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
        content = _accident(content, rng)
    encoding = rng.choice(
        ["utf-8"] * 6 + ["latin-1", "windows-1252", "utf-16", "utf-16-le", "utf-32"]
    )
    if rng.random() < 0.8:  # else the mapping is wrong about it
        content = content.decode("utf-8", "replace").encode(encoding, "replace")
    if rng.random() < 0.1:
        content = _accident(content, rng)
    suffix, pack = rng.choice(
        [("", bytes)] * 5 + [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
    )
    content = pack(content)
    if suffix and rng.random() < 0.4:
        content = _accident(content, rng)
    given = {"encoding": encoding, "max_undecodable_share": 1.0}
    if format_ == "csv":
        given |= {"header": header, "multiline": rng.random() < 0.5}
        given["separator"] = rng.choice([",", ",", ",", "::", "whitespace", ";"])
    else:
        given["missing_key"] = rng.choice(["stop", "null", "null"])
    source = Source("log", "f", format_, COLUMNS, (), landed_on="x", **given)  # type: ignore[arg-type]
    return Broken(f"f.{format_}{suffix}", content, source)


def _accident(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    match rng.randrange(8):
        case 0:
            return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        case 1:
            return content[:at] + content[at + rng.randint(1, 30) :]
        case 2 | 3:
            return content[:at] + rng.choice(_TOKENS) + content[at:]
        case 4:
            return content[:at]
        case 5:
            end = min(len(content), at + rng.randint(1, 200))
            return content[:end] + content[at:]
        case 6:
            return content[:at] + content[at:].replace(b"\n", rng.choice([b"", b"\r", b"\n\n"]), 1)
    return content[:at] + content[at : at + 40] * rng.randint(2, 50) + content[at:]


def unaccounted(file: Broken, rows: list[Row]) -> str | None:
    """What of the file is neither in one of its rows nor known to be in none, if anything."""
    whole = [row for row in rows if row.line == WHOLE_FILE]
    if len(whole) > 1 or (whole and rows[-1] is not whole[0]):
        return f"{len(whole)} verdicts"
    if any(row.line < WHOLE_FILE or (row.fields is None) == (row.problem is None) for row in rows):
        return "a row that is neither good nor bad"
    if any(row.fields is not None and len(row.fields) != len(COLUMNS) for row in rows):
        return "a row of another width"
    verdict = whole[0].problem or "" if whole else ""
    if "has a fault" in verdict:
        return verdict
    for row in rows:
        for field in row.fields or ():
            if field is not None:
                field.encode()
    if (
        whole
        and not verdict.startswith(("none of", "its only row"))
        and " rows cannot be" not in verdict
    ):
        return None  # the file was not read to its end
    content = decoded(file.content, file.source.encoding)
    if sum(row.n_bytes for row in rows) > len(content):
        return f"more bytes in rows than the {len(content)} of the file"
    return uncovered(content, file.source, [(row.line, row.row_hash) for row in rows if row.line])


def torture(format_: str, seed: int, n: int, path: Path) -> tuple[int, int, list[str]]:
    """Read `n` broken files: how many were refused, how many rows came out, and what was lost."""
    rng = random.Random(seed)
    refused, n_rows, lost = 0, 0, []
    for i in range(n):
        file = broken(format_, rng)
        path.write_bytes(file.content)
        rows: list[Row] = []
        try:
            rows += raw_rows(path, file.source)
            problem = unaccounted(file, rows)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem is not None:
            lost.append(f"{format_} {seed} {i}: {problem}: {file.source} {file.content[:300]!r}")
        refused += any(row.line == WHOLE_FILE for row in rows)
        n_rows += sum(row.line != WHOLE_FILE for row in rows)
    return refused, n_rows, lost
