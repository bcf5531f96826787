"""What a night's stages execute is part of their fingerprints."""

from __future__ import annotations

from flows.engine.code_hash import name_of, reached
from flows.engine.fingerprints import CODE_OF_FILES, CODE_OF_LANDING
from jobs.stages import SPARK_JOBS
from tests.flows.first_night import FirstNight

RUNNER = (
    "contracts.days.Days.__post_init__",
    "contracts.days.as_ranges",
    "contracts.hashes.hash_of",  # of fingerprints; what hashes rows by it would reach it
    "contracts.hashes.text_hash",
    "contracts.measures.Distinct.hashes",  # a column's name
    "contracts.tables.",
    "contracts.tile_tables.",
    "contracts.clean_tables.",
    "contracts.table.",
    "jobs.run.",
    "jobs.spark.jvm_names.",
    "jobs.stage.Job.",
    "jobs.stage.Read.",
    "jobs.stages.job_named",
)
"""What asks for a stage and counts what came of it, and what is in tables' own fingerprints."""
SETTINGS = (
    "jobs.stages._closed_tasks",
    "jobs.recommendation_stages._depends",
    "jobs.recommendation_stages._popular_depends",
    "jobs.recommendation_stages._of_surfaces",
    "jobs.recommendation_stages._candidates_settings",
    "jobs.candidates.rec_candidates.declared_by",
    "contracts.source_table.content",
)
"""What they give is the fingerprint's configuration."""


def test_what_a_stage_executes_is_in_its_fingerprint(original: FirstNight) -> None:
    executed = original.executed
    roots = {
        job.name: [name_of(f) for f in (job.compute, job.one_pass) if f is not None]
        for job in SPARK_JOBS
    }
    assert executed.keys() == roots.keys() | {"land"}
    missing = {}
    for stage, names in executed.items():
        known = reached([*roots[stage], *CODE_OF_FILES] if stage in roots else CODE_OF_LANDING)
        assert len(names) > 10
        missing[stage] = {
            name
            for name in names
            if not name.startswith((*RUNNER, *SETTINGS))
            and not any(f"{name}.".startswith(f"{definition}.") for definition in known)
        }
    assert {stage: names for stage, names in missing.items() if names} == {}
