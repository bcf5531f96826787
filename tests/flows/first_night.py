"""The first night on a tiny market: run once in a test run, and copied for each module.

Tables name files by where they lie. A copy has every such name rewritten, in a folder whose name is
as long: Avro counts the bytes of its texts.
"""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.avro.file import AvroFile
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import Record

from flows.lake.lake import Lake
from flows.nightly import nightly
from flows.release.model_registry import Registry
from flows.release.releases import Releases, repair
from flows.settings import read_settings
from flows.state.schema import open_database
from jobs.market.files import simulate
from jobs.market.traits import Market
from tests.flows.executed import Executed, recorded
from tests.flows.terminal_lines import lines_at_a_terminal

START, DAYS = date(2025, 1, 1), 132
NIGHT = START + timedelta(days=DAYS)
HOME = "Anns Häuschen"
"""A name with a space and an umlaut is as good as another."""
IMMUTABLE = frozenset({".parquet", ".png", ".safetensors"})
"""Files that are replaced and never changed, and that name no other."""


@dataclass(frozen=True)
class FirstNight:
    """A home with one released night, and what the night gave."""

    root: Path
    """Holds the home and, beside it, two days of raw logs more than the night saw."""
    result: dict[str, Any]
    lines: list[str]
    """As a person at a terminal would have seen them."""
    executed: Executed
    """What of our code its stages ran."""
    prefect: Path
    """The folder of the Prefect that ran it."""

    @property
    def home(self) -> Path:
        return self.root / HOME

    @property
    def raw(self) -> Path:
        return self.root / "raw"


def build(root: Path) -> FirstNight:
    """Run the night in `root`; the environment must name its home and raw logs."""
    simulate(Market(150, START, DAYS + 2, 3), root / "raw", lambda done, total: None)
    with lines_at_a_terminal() as lines, recorded() as executed:
        result = nightly(NIGHT)
    return FirstNight(root, result, lines, executed, Path(os.environ["PREFECT_HOME"]))


def copied(night: FirstNight) -> FirstNight:
    """The night in a folder of its own, which may be changed."""
    root = night.root.with_name(uuid4().hex[: len(night.root.name)])
    old, new = (str(of).encode() for of in (night.root, root))
    assert len(old) == len(new)
    for path in sorted(night.root.rglob("*")):
        target = root / path.relative_to(night.root)
        if path.is_dir():
            target.mkdir(parents=True)
            target.chmod(path.stat().st_mode)
        elif path.suffix in IMMUTABLE:
            os.link(path, target)
        elif path.suffix == ".db":
            _copy_database(path, target, old.decode(), new.decode())
        elif path.suffix == ".avro":
            target.write_bytes(_renamed_in_avro(path, old, new))
        elif path.name.endswith((".duckdb", "-wal", "-shm")):
            continue  # the views are made anew; databases are copied whole
        else:
            shutil.copy2(path, target)
            content = path.read_bytes()
            if old in content:
                target.write_bytes(content.replace(old, new))
    return replace(night, root=root, result=_renamed(night.result, old.decode(), new.decode()))


def _renamed(value: Any, old: str, new: str) -> Any:
    """The same value with a text replaced, however deep it stands."""
    if isinstance(value, dict):
        return {name: _renamed(inner, old, new) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_renamed(inner, old, new) for inner in value)
    if isinstance(value, Path):
        return Path(str(value).replace(old, new))
    return value.replace(old, new) if isinstance(value, str) else value


def show_release(home: Path) -> None:
    """Make the file of views that analysts open, as the next run would."""
    settings = read_settings()
    engine = open_database(f"sqlite:///{home}/nightjar.db")
    repairs = repair(
        Releases(engine), Lake(home / "lake"), Registry(settings), home / "nightjar.duckdb"
    )
    engine.dispose()
    assert repairs.problems == []


def _copy_database(path: Path, target: Path, old: str, new: str) -> None:
    """A SQLite database, with a text replaced in every column."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        tables = copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, *_ in copy.execute(f'PRAGMA table_info("{table}")').fetchall():
                copy.execute(
                    f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?) '
                    f'WHERE typeof("{column}") = \'text\' AND instr("{column}", ?)',
                    (old, new, old),
                )
        copy.commit()
    target.chmod(path.stat().st_mode)


def _renamed_in_avro(path: Path, old: bytes, new: bytes) -> bytes:
    """An Avro file with bytes replaced by as many others, in each of its blocks."""
    content = path.read_bytes()
    with AvroFile[Record](PyArrowFileIO().new_input(str(path))) as file:
        begin, codec, sync = file.decoder.tell(), file.header.compression_codec(), file.header.sync
    decoder, renamed = new_decoder(content), io.BytesIO()
    encoder = BinaryEncoder(renamed)
    encoder.write(decoder.read(begin).replace(old, new))
    while decoder.tell() < len(content):
        encoder.write_int(decoder.read_int())
        block = decoder.read_bytes()
        if codec is None:
            encoder.write_bytes(block.replace(old, new))
        else:
            encoder.write_bytes(codec.compress(codec.decompress(block).replace(old, new))[0])
        encoder.write(decoder.read(len(sync)))
    return renamed.getvalue()
