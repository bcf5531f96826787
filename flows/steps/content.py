"""What heads say of content: what is asked of the process, and which models it trains."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

from contracts.content import CONTENT_SOURCES, LEARN_DAYS, LEARN_EVERY_DAYS, cut_of
from contracts.content_specs import ContentDay, ContentScoresSpec
from contracts.hashes import hash_of, short_hash
from contracts.spec_json import to_plain
from flows.engine.code_hash import code_fingerprint
from flows.engine.model_process import run_models
from flows.engine.run_context import RunContext
from flows.engine.run_days import RunDays
from flows.state.receipts import CONTENT
from flows.steps.prefect_tasks import say
from flows.steps.tables_on_main import DaysToWrite, Notes, table_on_main
from flows.storage.home import Home
from flows.storage.location import join
from jobs.mapping.content_heads import heads_of

_CODE = ("models.content.content_scores",)


def score(context: RunContext, asked: DaysToWrite) -> Notes:
    """Train the models that the days need and the home lacks, and score what landed; of each day,
    which model did, and what became of its heads."""
    settings = context.settings
    home, storage = settings.home_folder, settings.home_folder.storage
    (files,) = {tuple(sorted(by_table.items())) for by_table in asked.inputs.values()}
    cuts = {cut_of(day) for day in asked.days}
    cuts |= {cut - timedelta(days=LEARN_EVERY_DAYS) for cut in cuts}
    heads = heads_of(context.mapping)
    models = {
        str(cut): str(storage.local_path(home.content_model(model_name(asked.run_days, cut))))
        for cut in sorted(cuts)
    }
    spec = ContentScoresSpec(
        heads,
        tuple(ContentDay(day, asked.path(day)) for day in asked.days),
        dict(files),
        models,
        str(storage.local_path(join(home.content_scoring, _scratch(asked)))),
        settings.ranking.processes,
    )
    report = run_models(spec, context.process_folder, say, settings.key_of_weights())
    return {day: {CONTENT: of} for day, of in zip(asked.days, report["days"], strict=True)}


def model_name(run_days: RunDays, cut: date) -> str:
    """The folder of the model of a cut: the cut, and a hash of all that the model is made of, which
    is what may have labels."""
    learnt, fingerprints = [], run_days.state.fingerprints
    for source in filter(lambda source: source.has_labels, CONTENT_SOURCES):
        digests = fingerprints.digests(f"clean_{source.table.name}", source.table.name)
        learnt += [
            (source.table.name, str(day), digest)
            for day, digest in sorted(digests.items())
            if cut - timedelta(days=LEARN_DAYS) <= day < cut
        ]
    made_of = [code_fingerprint(_CODE), configuration(run_days.context), learnt]
    return f"{cut}-{short_hash(hash_of(made_of))}"


def _scratch(asked: DaysToWrite) -> str:
    """Names what a scoring that is killed leaves, and one of the same days and inputs goes on
    from."""
    return short_hash(hash_of([asdict(asked.fingerprints[day]) for day in asked.days]))


def remove_scratch(home: Home) -> None:
    """Remove what scorings that were killed have left: the rows are committed."""
    home.storage.discard_folder(home.content_scoring)


def configuration(context: RunContext) -> Any:
    """What of the mapping decides what content is asked."""
    return to_plain(heads_of(context.mapping))


CONTENT_SCORING = table_on_main(
    "content_scores", _CODE, configuration, score, remove_scratch, together=True
)
