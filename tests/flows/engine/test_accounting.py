"""What a run says of each stage."""

from __future__ import annotations

from dataclasses import replace

from flows.engine.accounting import StageReport, StageReports


def test_a_run_says_of_each_table_what_became_of_its_rows() -> None:
    """No line of a cleaning says only how many came out: what is missing was dropped for a reason."""
    verdicts = {"clean": 1_200, "duplicate": 3, "quarantined": 0, "erased": 0}
    cleaned = StageReport("clean_orders", 2, 1, 1_203, 1_200, 2.0, {"input moved": 1}, verdicts)
    erased = replace(cleaned, rows_in=1_204, verdicts=verdicts | {"erased": 1}, recomputed=2)
    landed = StageReport("land_log", 1, 1, 10, 10, 2.0, {"never computed": 1})
    reused = StageReport("clean_users", 2, 0)
    lines: list[str] = []
    reports = StageReports()
    for report in (cleaned, erased, landed, reused):
        reports.add(report, lines.append)
    assert lines == [
        "clean_orders: 1,203 rows in, 1,200 clean, 3 duplicate, 0 quarantined, 2.0 s, 602 rows/s; "
        "1 day reused; input moved (1)",
        "clean_orders: 1,204 rows in, 1,200 clean, 3 duplicate, 0 quarantined, 1 erased, 2.0 s, "
        "602 rows/s; input moved (1)",
        "land_log: 10 rows in, 10 out, 2.0 s, 5 rows/s; never computed (1)",
        "clean_users: reused, nothing changed",
    ]
    assert list(reports) == [cleaned, erased, landed, reused]
