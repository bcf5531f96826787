"""The page about adding a surface is followed to the letter, on a copy of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.declared_rows import at_work, copy_code, declared, put

pytestmark = pytest.mark.slow

THE_SURFACE_AT_WORK = """
import asyncio, json, sys
from datetime import timedelta
from pathlib import Path
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from contracts.ranking_config import RankingConfig
from contracts.recommendation_tables import *
from contracts.specs import RankDay, RankInputs, RankSpec, RetrieveDay, RetrieveSpec, TableDay
from contracts.surfaces import SURFACES, mapped_surfaces
from contracts.tables import RELEASED_TABLES, USER_FEATURES
from flows.release.duckdb_views import build_database
from flows.release.export import FileFormat, surface_named, write_lists
from flows.release.list_audits import ListFiles, audit_lists
from flows.release.recommended import user_lists
from flows.server.pages.app import make_app
from flows.settings import read_settings
from jobs.mapping.sources import read_mapping
from jobs.recommendations_from_clean import recommendations_from_clean
from jobs.spark.config import SparkConfig
from jobs.spark.session import start_session
from jobs.stage import Settings
from jobs.values.user_key import UserKey
from models.ranking.rank import rank_days
from models.ranking.recommendations import recommendations
from models.retrieval.retrieve import retrieve_days
from tests.jobs.candidates import naive_tables as naive
from tests.jobs.features.worlds import START

folder, day = Path(sys.argv[1]), START + timedelta(days=100)
past = day - timedelta(days=14)
(surface,) = (s for s in SURFACES if s.name == "reminders")
assert surface in mapped_surfaces(SURFACES, {"orders"})
assert surface not in mapped_surfaces(SURFACES, {"follows"})
assert "reminders" in REC_LISTS["surface"].values

# Candidates, by the stages of a night.
spark = start_session(SparkConfig(master="local[1]", shuffle_partitions=1), folder / "spark")
clean = naive.world_with_recommendations(4).frames(spark)
mapping = read_mapping(Path("infra/sources/market.toml"))
settings = Settings(mapping, UserKey(b"a key for the tests alone"), surfaces=(surface,))
written = recommendations_from_clean(clean, (past, day), settings, str(folder / "tables"))
files = lambda table, of: written[table.name][of].files
sources = {row["source"] for row in pq.read_table(files(REC_CANDIDATES, day)[0]).to_pylist()}
assert sources == {"own"}

# A ranker and lists.
config = RankingConfig(min_learn_users=1)
retrieved = {of: str(folder / f"retrieved-{of}.parquet") for of in (past, day)}
retrieve_days(RetrieveSpec((surface.for_candidates,), tuple(
    RetrieveDay(of, files(REC_ITEMS, of), files(REC_HISTORIES, of), retrieved[of], str(folder / "parts"))
    for of in retrieved
), config))
inputs = lambda of: RankInputs(
    of, *(files(table, of) for table in (REC_ITEMS, REC_HISTORIES, REC_POPULAR, REC_CANDIDATES)),
    (retrieved[of],), files(USER_FEATURES, of))
landed = [path for of, tiles in written[INTERACTIONS.name].items() if of < day for path in tiles.files]
rank = RankDay(inputs(day), (inputs(past),), tuple(dict.fromkeys(landed)), None, str(folder / "ranker"),
               "r1", str(folder / "lists.parquet"), str(folder / "scratch"))
Path(rank.folder).mkdir()
(report,) = rank_days(RankSpec((surface,), (rank,), config))["days"]
assert report["surfaces"]["reminders"]["ranker_id"]
lists = pq.read_table(rank.path).to_pylist()
assert {row["surface"] for row in lists} == {"reminders"}
assert len(lists) == pq.read_metadata(files(USER_FEATURES, day)[0]).num_rows
shown = [row for row in lists if row["item_ids"]]
assert max(len(row["item_ids"]) for row in shown) <= 20
# Repeats: what a user had is shown again.
assert any("own" in row["sources"][0].split(",") for row in shown)

# Audits.
audited = audit_lists(
    ListFiles((rank.path,), files(REC_ITEMS, day), files(REC_HISTORIES, day), files(USER_FEATURES, day)),
    (surface,), day)
assert audited and all(a.passed for a in audited), [a for a in audited if not a.passed]
assert any(a.check.startswith("reminders: ") for a in audited)

# Rows for analysts, as views, on pages, and for a key-value store.
rows = pa.concat_tables(recommendations(TableDay(
    day, {"rec_lists": (rank.path,), "rec_items": files(REC_ITEMS, day)}, "r1", str(folder / "rows.parquet"))))
pq.write_table(rows, folder / "rows.parquet")
tables = {table: [] for table in RELEASED_TABLES}
tables |= {REC_LISTS: [rank.path], RECOMMENDATIONS: [str(folder / "rows.parquet")],
           REC_ITEMS: list(files(REC_ITEMS, day))}
home = read_settings(home=folder / "home")
home.home_folder.storage.make_folder(home.home_folder.root)
build_database(home.home_folder.analysts_file, "r1", day, tables)
best = shown[0]
(of_user,) = user_lists(home.home_folder.analysts_file, best["user_key"])
assert of_user.surface == "reminders"
assert of_user.places[0].item_id == best["item_ids"][0]


async def page(path):
    transport = httpx.ASGITransport(make_app(home))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return (await client.get(path)).text


assert "reminders" in asyncio.run(page("/recommendations"))
assert best["item_ids"][0] in asyncio.run(page(f"/recommendations/reminders/items?item_id={best['item_ids'][0]}"))
n = write_lists([rank.path], surface_named("reminders"), day, FileFormat.jsonl, str(folder / "reminders.jsonl"))
assert n == len(lists)
line = json.loads((folder / "reminders.jsonl").read_text().splitlines()[0])
assert line["key"].startswith("reminders:") and "p_order" in line and "p_view" not in line
print("the row was enough")
"""


def test_one_row_is_enough(tmp_path: Path) -> None:
    copy_code(tmp_path, ("contracts", "jobs", "models", "flows", "infra", "tests"))
    row = declared("docs/adding-a-surface.md", "Surface")
    place = "SURFACES: tuple[Surface, ...] = (\n"
    put(row, tmp_path / "contracts/surfaces.py", place, is_after=True)
    done = at_work(tmp_path, "-c", THE_SURFACE_AT_WORK, str(tmp_path / "run"))
    assert done.stdout.endswith("the row was enough\n"), done.stderr[-2000:]
