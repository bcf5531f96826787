"""The audits that released tables declare, by their names."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.recommendation_tables import REC_HISTORIES, REC_ITEMS, REC_LISTS
from contracts.released_table import ReleasedTable
from contracts.tables import USER_FEATURES
from flows.release.audit import Audit, Audited, DayToAudit
from flows.release.list_audits import ListFiles, audit_list_drift, audit_list_rows, audit_lists
from flows.release.score_audits import audit_drift, audit_scores
from flows.release.table_audits import audit_contract, audit_rows, audit_users


def _contract(day: DayToAudit) -> tuple[Audited, ...]:
    return audit_contract(day.table, day.files, day.day)


def _known_users(day: DayToAudit) -> tuple[Audited, ...]:
    return audit_users(day.table, day.files, day.files_of(USER_FEATURES), day.day)


def _scores(day: DayToAudit) -> tuple[Audited, ...]:
    features, rates = day.files_of(USER_FEATURES), day.outputs.get("base_rates", ())
    return audit_scores(day.files, features, day.day, day.outputs["tasks"], rates)


def _score_drift(day: DayToAudit) -> tuple[Audited, ...]:
    if day.before is None:
        return ()
    return audit_drift(
        day.files, day.before, day.outputs["tasks"], day.max_users_lost, day.max_score_shift
    )


def _list_files(day: DayToAudit) -> ListFiles:
    return ListFiles(
        day.files,
        day.files_of(REC_ITEMS),
        day.files_of(REC_HISTORIES),
        day.files_of(USER_FEATURES),
    )


def _lists(day: DayToAudit) -> tuple[Audited, ...]:
    return audit_lists(_list_files(day), day.surfaces, day.day)


def _list_drift(day: DayToAudit) -> tuple[Audited, ...]:
    limits = day.min_coverage, day.max_list_change, day.max_same_lists
    return audit_list_drift(_list_files(day), day.before, day.surfaces, day.day, *limits)


def _list_rows(day: DayToAudit) -> tuple[Audited, ...]:
    return (
        *audit_rows(day.table, day.files, day.day),
        *audit_list_rows(day.files, day.files_of(REC_LISTS)),
    )


AUDITS: Mapping[str, Audit] = {
    "contract": _contract,
    "lists": _lists,
    "list_drift": _list_drift,
    "list_rows": _list_rows,
    "known_users": _known_users,
    "scores": _scores,
    "score_drift": _score_drift,
}


def audit(released: ReleasedTable, day: DayToAudit) -> list[Audited]:
    """Every audit that the table declares, in their order."""
    return [audited for name in released.audits for audited in AUDITS[name](day)]
