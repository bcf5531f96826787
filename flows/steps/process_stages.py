"""Every stage that a process of its own computes: how it is planned, executed and written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Any

from contracts.errors import NightjarError
from contracts.tables import ON_BRANCH
from flows.engine.run import Run
from flows.engine.run_days import RunDays
from flows.learning.fingerprints import score_fingerprint, train_fingerprint
from flows.learning.ranking import rank_fingerprint
from flows.learning.ranking import reads as ranking_reads
from flows.monitor.recommendation_outcomes import outcomes_fingerprint
from flows.monitor.scoreboard import scoreboard_fingerprint
from flows.planning.process_fingerprints import FingerprintOf, ReadsOf, declared
from flows.planning.stage_list import StageDays
from flows.steps import tasks
from flows.steps.candidate import Candidate, TableUpdate, Written, update_of, write_table
from flows.steps.content import CONTENT_SCORING
from flows.steps.declared_rows import writer_of
from flows.steps.process_stage import ProcessStage
from flows.steps.ranking import RANKING
from flows.steps.retrieval import RETRIEVAL
from flows.steps.scoring import SCORING
from flows.steps.writers import Writer


def released_table(
    fingerprint: FingerprintOf, writer: Writer, reads: ReadsOf | None = None
) -> ProcessStage:
    """A stage that writes a released table on a branch."""

    def execute(run: Run, entry: StageDays, results: Mapping[str, Any]) -> Written:
        days, model_id = entry.days(run.days), model_of(run.days, entry)
        asked = dict.fromkeys(entry.released_with, days)
        update = update_for(run.days, entry.stage, asked, model_id, entry.force)
        return write_table(run, update, writer, Candidate.of(results))

    return ProcessStage(fingerprint, execute, writer, reads)


def update_for(
    run_days: RunDays,
    stage: str,
    asked: Mapping[str, Sequence[date]],
    model_id: str,
    force: Collection[date] = (),
) -> TableUpdate:
    """What a stage that writes a released table is asked for.

    Args:
        run_days: the run's.
        stage: whose table is written.
        asked: stages that write tables of the same release, its own too, to their days.
        model_id: the model that scores.
        force: days that are written even if nothing has changed.
    """
    fingerprints = {
        name: {day: PROCESS_STAGES[name].fingerprint(run_days, day, model_id) for day in days}
        for name, days in asked.items()
    }
    return update_of(run_days.context, run_days.state, stage, fingerprints, model_id, force)


def model_of(days: RunDays, entry: StageDays) -> str:
    """The model that an entry scores with.

    Raises:
        NightjarError: it is not known yet.
    """
    model_id = entry.model(days) if entry.model is not None else None
    if model_id is None:
        raise NightjarError("scores were asked for before there was a model to score with")
    return model_id


PROCESS_STAGES: Mapping[str, ProcessStage] = {
    "train": ProcessStage(
        lambda days, day, model_id: train_fingerprint(days),
        lambda run, entry, results: tasks.train(run),
    ),
    "content_scores": CONTENT_SCORING,
    "rec_retrieved": RETRIEVAL,
    "score": released_table(
        lambda days, day, model_id: score_fingerprint(days.context, days.state, model_id, day),
        SCORING,
    ),
    "rank": released_table(rank_fingerprint, RANKING, ranking_reads),
    **{
        str(released.stage): released_table(
            declared(released, released.rows, lambda stage: PROCESS_STAGES[stage].fingerprint),
            writer_of(released),
        )
        for released in ON_BRANCH
        if released.rows is not None
    },
    "scoreboard": ProcessStage(
        lambda days, day, model_id: scoreboard_fingerprint(days.context, days.state.receipts, day),
        lambda run, entry, results: tasks.compare_scores(run, entry.days(run.days)),
    ),
    "rec_outcomes": ProcessStage(
        lambda days, day, model_id: outcomes_fingerprint(days.context, days.state, day),
        lambda run, entry, results: tasks.compare_lists(run, entry.days(run.days)),
    ),
}
"""By name: those of `PROCESSES` in `jobs/stages.py`, and no other."""
