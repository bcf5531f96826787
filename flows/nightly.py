"""The night, top to bottom."""

from __future__ import annotations

from typing import Any

from prefect.runtime import flow_run

from contracts.errors import UsageError
from flows.engine.run import Run
from flows.learning import gate
from flows.planning import stage_list
from flows.planning.plan import Plan, check_kept
from flows.planning.planner import planned
from flows.pools import on_pools
from flows.state.nights import NIGHT, name_of
from flows.state.writer_lock import NIGHT_FIRST
from flows.steps import publish, tasks
from flows.steps.candidate import Candidate
from flows.steps.opening import (
    check_night,
    default_as_of,
    of_raw_files,
    only_writer,
    open_night,
    result_of,
)
from flows.steps.parameters import as_text, command_of
from flows.steps.prefect_tasks import flow
from flows.steps.process_stages import PROCESS_STAGES
from flows.steps.run_pages import page_of_failure
from flows.steps.runner import RUNNER, execute


def run_name() -> str:
    """The night that a run is about, whether it was told or not."""
    try:
        return f"nightly-{flow_run.parameters.get('as_of') or default_as_of()}"
    except UsageError:
        return "nightly"  # the run itself says what is wrong with its settings


@flow(name="nightly", flow_run_name=run_name, task_runner=RUNNER, validate_parameters=False)
def nightly(
    as_of: str = "",
    source: str = "",
    raw: str = "",
    plan: str = "",
    accept: str = "",
    no_train: bool = False,
) -> dict[str, Any]:
    """Clean what landed, compute features, train, score every user, publish a release.

    Args:
        as_of: The midnight UTC to score as of, such as 2025-01-31. Empty: that of the scheduled
            night; of a run that a person starts, the latest.
        source: The mapping of the raw files. Empty: the one in the settings.
        raw: The folder of the raw files. Empty: the one in the settings.
        plan: The token of a plan: run exactly that, or refuse if anything has moved since.
        accept: A model that needs approval, by its id: approve it, and publish its scores.
        no_train: Leave training out: users are scored by the model there is; where there is none,
            features and labels are published without scores.
    """
    run = open_night(as_of, source, raw, no_train)
    what, model_id = name_of(NIGHT, run.as_of), as_text(accept, "accept")
    options = {"as-of": run.as_of, **of_raw_files(source, raw)}
    command = command_of("run", options | {"no-train": no_train, "accept": model_id})
    page = run.settings.home_folder.report_of_failure(run.as_of)
    with page_of_failure(run, what, command, page, "night-report"):
        check_night(run)
        accept_model(run, model_id)
        return execute_and_publish(run, source, raw, as_text(plan, "plan"))


def accept_model(run: Run, model_id: str | None) -> None:
    """Approve the model that the night has trained, if one is named."""
    if model_id is not None:
        receipt = run.receipts.get("train", run.as_of)
        gate.accept(run.engine, receipt.outputs if receipt else None, model_id)


def execute_and_publish(run: Run, source: str, raw: str, token: str | None) -> dict[str, Any]:
    """Do what the night needs, or refuse if its plan, by its token, is not what would be done."""
    if run.settings.pools:
        if token is not None:
            check_kept(run.engine, token, plan_of_night(run))
        on_pools(run, source, raw)
        token = None  # it is being run

    with only_writer(run, name_of(NIGHT, run.as_of), NIGHT_FIRST):
        if token is not None:
            check_kept(run.engine, token, plan_of_night(run))
        candidate = Candidate.of(execute(run, stage_list.nightly(run.context)))
        audited = publish.audit(run, candidate, [run.as_of])
        release = publish.publish(run, candidate, [run.as_of])
        trained = gate.trained_tonight(run.context, run.receipts)
        page = tasks.report(run, trained, candidate.scored, audited, release)
    return result_of(run) | {"release_id": release.release_id} | page


def plan_of_night(run: Run) -> Plan:
    """What the night would do now."""
    call: dict[str, Any] = {"command": "run", "as_of": str(run.as_of)}
    if run.settings.no_train:
        call["no_train"] = True
    return planned(run.days, stage_list.nightly(run.context), PROCESS_STAGES, call)
