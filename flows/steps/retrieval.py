"""What models retrieve for every known user: what is asked of the process."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from contracts.hashes import hash_of, short_hash
from contracts.recommendation_tables import REC_HISTORIES, REC_ITEMS
from contracts.spec_json import to_plain
from contracts.specs import RetrieveDay, RetrieveSpec
from contracts.surfaces import Surface
from flows.engine.model_process import run_models
from flows.engine.run_context import RunContext
from flows.state.receipts import Fingerprint
from flows.steps.prefect_tasks import say
from flows.steps.tables_on_main import DaysToWrite, Notes, table_on_main
from flows.storage.home import Home
from flows.storage.location import join


def retrieve(context: RunContext, asked: DaysToWrite) -> Notes:
    """Fit models of items and users as of each day, and write what they retrieve."""
    settings = context.settings
    spec = RetrieveSpec(
        surfaces_of(context),
        tuple(
            RetrieveDay(
                day,
                items=asked.inputs[day][REC_ITEMS.name],
                histories=asked.inputs[day][REC_HISTORIES.name],
                path=asked.path(day),
                scratch=_scratch(settings.home_folder, asked.fingerprints[day]),
            )
            for day in asked.days
        ),
        settings.ranking,
    )
    run_models(spec, context.process_folder, say, settings.key_of_weights())
    return {}


def _scratch(home: Home, fingerprint: Fingerprint) -> str:
    """Where a retrieval that is killed leaves what it has done, and one of the same code, settings
    and inputs goes on."""
    name = short_hash(hash_of(asdict(fingerprint)))
    return str(home.storage.local_path(join(home.retrieval, name)))


def remove_scratch(home: Home) -> None:
    """Remove what retrievals that were killed have left: the rows are committed."""
    home.storage.discard_folder(home.retrieval)


def surfaces_of(context: RunContext) -> tuple[Surface, ...]:
    """Those that are on, without what only their ranking depends on."""
    return tuple(surface.for_candidates for surface in context.surfaces)


def configuration(context: RunContext) -> Any:
    """What of the settings decides what is retrieved."""
    config = context.settings.ranking
    return [to_plain(surfaces_of(context)), to_plain(config.of_retrieval)]


RETRIEVAL = table_on_main(
    "rec_retrieved", ("models.retrieval.retrieve",), configuration, retrieve, remove_scratch
)
