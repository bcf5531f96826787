"""A person is erased from everything that is kept, and does not come back."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import os
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pytest
from pyiceberg.avro.file import AvroFile
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import Record

from contracts.clean_tables import CLEAN_TABLES
from contracts.content_tables import CONTENT_SCORES
from contracts.erasure import TEXTS_BY
from contracts.errors import ContractError, UsageError
from contracts.source_tables.follows import FOLLOWS
from contracts.tables import LANDED, RECONCILIATION, TABLES
from flows.engine.run import Run
from flows.engine.spark_stages import compute, land
from flows.erase import as_key, erase
from flows.lake.lake import Lake
from flows.nightly import plan_of_night
from flows.planning.plan import Planned
from flows.release.duckdb_views import query
from flows.release.model_registry import TRAINED_ON_ERASED, Registry
from flows.release.releases import Releases
from flows.settings import NightjarSettings, read_settings
from flows.state.schema import suppressed
from tests.flows.first_night import NIGHT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def person(home: Path, first) -> tuple[str, str]:
    """A raw id and key of somebody who ordered and is followed."""
    key = os.environ["NIGHTJAR_KEY"].encode()
    lake = Lake(home / "lake")
    with duckdb.connect() as connection:
        raw = connection.execute(
            "SELECT DISTINCT fields[3] FROM read_parquet(?, hive_partitioning = false) "
            "WHERE source = 'orders' AND regexp_full_match(fields[3], 'u[0-9]+') "
            "ORDER BY length(fields[3]) DESC, 1",
            [[f.path for f in lake.files(LANDED)]],
        ).fetchall()
        followed = {
            row[0]
            for row in connection.execute(
                "SELECT DISTINCT followed_key FROM read_parquet(?)",
                [[f.path for f in lake.files(FOLLOWS)]],
            ).fetchall()
        }
    for (one,) in raw:
        hashed = hmac.new(key, one.encode(), hashlib.sha256).hexdigest()[:32]
        if hashed in followed:
            return one, hashed
    raise AssertionError("nobody who ordered is followed")


def files_that_say(folder: Path, word: str) -> list[str]:
    """Files of a folder, Parquet, Avro and others, in which a word stands by itself.

    In weights and pictures short words stand by chance; ids that a model knows are in its JSON.
    """
    files = []
    whole = re.compile(rf"\b{word}\b".encode())
    tables: dict[Path, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            tables.setdefault(path.parent, []).append(str(path))
        elif path.suffix == ".avro":
            with AvroFile[Record](PyArrowFileIO().new_input(str(path))) as records:
                files += [str(path)] if any(whole.search(repr(r).encode()) for r in records) else []
        elif path.suffix in (".png", ".safetensors"):
            continue
        elif path.is_file() and path.name not in ("nightjar.db", "prefect.db"):
            files += [str(path)] if whole.search(path.read_bytes()) else []
    with duckdb.connect() as connection:
        for paths in tables.values():
            rows = connection.execute(
                "SELECT DISTINCT filename FROM read_parquet(?, hive_partitioning = false, "
                "union_by_name = true, filename = true) AS rows "
                "WHERE regexp_matches(replace(rows::VARCHAR, filename, ''), ?)",
                [paths, rf"\b{word}\b"],
            ).fetchall()
            files += [path for (path,) in rows]
    return files


def texts_of_nobody_else(home: Path, key: str) -> list[str]:
    """Hashes of scored texts that only this person wrote, as far as they are scored."""
    lake = Lake(home / "lake")
    texts = [
        (text, author or "NULL", [file.path for file in lake.files(table)])
        for table, text, author in TEXTS_BY
        if lake.files(table)
    ]
    parts = [
        f"SELECT {author} AS user_key, sha256({text}) AS hash FROM read_parquet({paths}, "
        f"hive_partitioning = false) WHERE {text} IS NOT NULL"
        for text, author, paths in texts
    ]
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT hash FROM ({' UNION ALL '.join(parts)}) GROUP BY hash "
            f"HAVING bool_and(user_key IS NOT DISTINCT FROM '{key}') INTERSECT "
            "SELECT content_hash FROM read_parquet(?, hive_partitioning = false) ORDER BY 1",
            [[file.path for file in lake.files(CONTENT_SCORES)]],
        ).fetchall()
    return [hash_ for (hash_,) in found]


def killed(*_: object) -> None:
    raise ContractError("killed")


def plan_of(settings: NightjarSettings) -> list[Planned]:
    """What the same night would do about every day of every stage, and why."""
    night = Run(settings, NIGHT)
    night.look_at_files()
    days = plan_of_night(night).days
    return [replace(p, rows=None, seconds=None, bytes=None) for p in days]


def test_a_person_is_gone_from_every_release_and_stays_so(
    home: Path, first, person, monkeypatch
) -> None:
    raw_id, key = person
    assert files_that_say(home, key)
    assert files_that_say(home, raw_id)
    texts = texts_of_nobody_else(home, key)
    assert texts
    assert all(files_that_say(home / "lake", text) for text in texts)
    settings = read_settings()
    lake, releases = Lake(home / "lake"), Releases(Run(settings, NIGHT).engine)
    counts = query(home / "nightjar.duckdb", "SELECT count(*) FROM user_scores")[1][0][0]
    n_releases = len(releases.all())
    planned = plan_of(settings)
    assert len(planned) > 1000

    # the first try is killed once every table is rewritten, and nothing is pointed to them yet
    with monkeypatch.context() as patch:
        patch.setattr("flows.retention.erasure.point_to", killed)
        with pytest.raises(ContractError, match="killed"):
            erase(key, reason="request 7")
    report = erase(key, reason="request 7")

    assert report["raw_rows"] > 0
    for name in ("orders", "follows", "users", "user_days_orders", "user_state", "user_features"):
        assert report["rows"][name] > 0, name
    assert not files_that_say(home, key)
    assert not files_that_say(home, raw_id)
    assert not any(files_that_say(home / "lake", text) for text in texts)
    assert not (home / "content").exists() or not list((home / "content").iterdir())
    # every release that is kept can be read, and has nobody else less
    assert len(releases.all()) == n_releases
    n_files = 0
    for release in releases.all():
        for table in TABLES:
            snapshot = release.snapshots.get(table.name)
            if snapshot is not None and lake.has_snapshot(table, snapshot):
                for file in lake.files(table, snapshot=snapshot):
                    assert Path(file.path).exists()
                    n_files += 1
    assert n_files >= n_releases
    days = query(home / "nightjar.duckdb", "SELECT count(DISTINCT as_of) FROM user_scores")[1][0][0]
    after = query(home / "nightjar.duckdb", "SELECT count(*) FROM user_scores")[1][0][0]
    assert after == counts - days
    lost = query(
        home / "nightjar.duckdb",
        "SELECT count(*) FROM reconciliation "
        "WHERE n_in <> n_clean + n_duplicate + n_quarantined + n_erased",
    )[1][0][0]
    assert lost == 0
    erased = query(home / "nightjar.duckdb", "SELECT sum(n_erased)::INT FROM reconciliation")[1]
    assert erased[0][0] > 0
    # what the tables hold is what is counted
    for table in CLEAN_TABLES:
        n = sum(f.rows for f in lake.files(table))
        counted = query(
            home / "nightjar.duckdb",
            f"SELECT coalesce(sum(n_clean), 0)::INT FROM reconciliation "
            f"WHERE table_name = '{table.name}'",
        )[1][0][0]
        assert n == counted, table.name
    # models that were trained on them are marked
    assert report["models_marked"]
    versions = Registry(settings)._versions()
    marked = {v.tags["model_id"] for v in versions if v.tags.get(TRAINED_ON_ERASED) == "1"}
    assert marked == set(report["models_marked"])
    # fingerprints do not know of it: a night would do what it would have done before
    assert plan_of(settings) == planned


def test_a_day_that_lands_again_does_not_bring_them_back(home: Path, first, person) -> None:
    """The raw file of a day on which they ordered is written anew, as a correction would be."""
    raw_id, key = person
    word = re.compile(rf"\b{raw_id}\b".encode())
    file = next(
        path
        for path in sorted((home.parent / "raw/orders").glob("*.gz"))
        if word.search(gzip.decompress(path.read_bytes()))
    )
    text = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(text + text.splitlines()[-1] + b"\n", mtime=1))
    night = Run(read_settings(), NIGHT)
    night.look_at_files()
    lines: list[str] = []
    source = next(s for s in night.mapping.sources if s.name == "orders")
    assert land(night, source, lines.append).recomputed == 1
    day = date.fromisoformat(file.name.split(".")[0])
    assert compute(night, "clean_orders", [day], lines.append).recomputed == 1
    assert not files_that_say(home / "lake", raw_id)
    assert not files_that_say(home / "lake", key)
    counted = night.lake.table(RECONCILIATION).scan().to_arrow().to_pylist()
    (row,) = (r for r in counted if r["table_name"] == "orders" and r["landed_on"] == day)
    assert row["n_erased"] > 0
    assert row["n_in"] == sum(
        row[f"n_{v}"] for v in ("clean", "duplicate", "quarantined", "erased")
    )


def test_erasing_somebody_twice_changes_nothing_and_keeps_them_out(home, first, person) -> None:
    _, key = person
    with pytest.raises(UsageError, match="erased already, and stays so: nothing was changed"):
        erase(key)
    assert key in suppressed(Run(read_settings(), NIGHT).engine)


def test_who_is_not_known_is_said_and_nothing_is_kept_of_it(home: Path, first) -> None:
    with pytest.raises(UsageError, match="no table holds that user_key: nothing was erased"):
        erase("0" * 32)
    with pytest.raises(UsageError) as error:
        as_key("ann@example.com")
    assert "ann" not in str(error.value)
    assert "0" * 32 not in suppressed(Run(read_settings(), NIGHT).engine)
