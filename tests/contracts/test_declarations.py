"""What is declared is whole, and the pages made from it are up to date."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.__main__ import PAGES, tables_page, with_tables
from contracts.errors import ContractError
from contracts.features import FEATURES
from contracts.kinds import (
    KINDS,
    Binary,
    Count,
    MultiClass,
    MultiLabel,
    Ordinal,
    Regression,
    ZeroInflatedLogNormal,
)
from contracts.released_table import ReleasedTable
from contracts.source_table import LANDED_ON, USER_KEY
from contracts.sources import FIELDS
from contracts.table import Table
from contracts.tables import (
    AS_OF,
    ON_BRANCH,
    RELEASED_TABLES,
    TABLES,
    USER_FEATURES,
)
from contracts.tasks import TASKS, Mask, Task, enabled_tasks, lacking, task_named
from flows.engine.code_hash import code_fingerprint
from flows.release.audits import AUDITS
from flows.steps.process_stages import PROCESS_STAGES
from jobs import labels
from jobs.processes import PROCESSES
from models.evaluation import metrics
from models.network import heads
from models.released_table import rows_function
from tests.conftest import REPOSITORY


def test_every_kind_has_its_label_head_and_metrics() -> None:
    assert set(labels.KINDS) == set(KINDS)
    assert set(heads.KINDS) == set(KINDS)
    assert set(metrics.KINDS) == set(KINDS)
    assert {type(kind) for kind in EXAMPLES_OF_KINDS} == set(KINDS)


EXAMPLES_OF_KINDS = [
    Binary(),
    Count(),
    Regression(),
    ZeroInflatedLogNormal(),
    Ordinal(3),
    MultiClass(("bad", "good")),
    MultiLabel(8),
]


@pytest.mark.parametrize("kind", EXAMPLES_OF_KINDS, ids=repr)
def test_every_kind_has_score_columns_that_end_with_the_percentile(kind) -> None:
    task = Task("some", "Does it.", kind, 7, "order", Mask("all"), ())
    columns = task.score_columns()
    assert columns[-1].name == "percentile_some"
    assert all(c.nullable for c in columns)


def test_every_table_and_stage_that_writes_on_branches_is_declared_once() -> None:
    assert len({table.name for table in TABLES}) == len(TABLES)
    assert len(set(RELEASED_TABLES)) == len(RELEASED_TABLES)
    assert len({released.stage for released in ON_BRANCH}) == len(ON_BRANCH)
    assert set(RELEASED_TABLES) <= set(TABLES)


def test_what_is_declared_of_released_tables_can_be_done() -> None:
    for n, released in enumerate(ON_BRANCH):
        assert set(released.audits) <= set(AUDITS)
        before = [earlier.table for earlier in ON_BRANCH[:n]]
        late = [t for t in released.reads if t in {r.table for r in ON_BRANCH} and t not in before]
        assert late == [], "a process reads what is written after it"
        if released.rows is not None:
            assert callable(rows_function(released.table, released.rows))
            assert code_fingerprint((released.rows.replace(":", "."),))


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("models.nowhere:loyalty", "No module named 'models.nowhere'"),
        ("models.train:loyalty", "module 'models.train' has no attribute 'loyalty'"),
    ],
)
def test_a_released_table_whose_rows_no_function_gives_is_said_in_a_sentence(
    rows: str, why: str
) -> None:
    with pytest.raises(ContractError) as error:
        rows_function(NEW, rows)
    assert str(error.value) == f"new: rows: expected the function {rows}, found none: {why}"
    dotted = rows.replace(":", ".")
    with pytest.raises(ContractError) as error:
        code_fingerprint((dotted,))
    assert str(error.value) == f"{dotted} is neither a module of ours nor defined in one"


def test_every_process_of_the_map_can_be_planned_and_run_and_no_other() -> None:
    """Whoever writes a released table says how; train and scoreboard write theirs themselves."""
    assert set(PROCESS_STAGES) == {process.name for process in PROCESSES}
    write = {name for name, stage in PROCESS_STAGES.items() if stage.writer is not None}
    assert write == {str(released.stage) for released in ON_BRANCH}


NEW = Table("new", "A table.", ("user_key", "as_of"), "as_of", (USER_KEY, AS_OF))
LANDS = Table("lands", "A table.", ("user_key", "landed_on"), "landed_on", (USER_KEY, LANDED_ON))


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"table": NEW, "rows": "models.new:rows"},
            "new: rows and reads are of a stage, which it lacks",
        ),
        (
            {"table": NEW, "stage": "new", "rows": "models.new.rows"},
            "new: rows: expected a function such as models.loyalty:loyalty, found models.new.rows",
        ),
        (
            {"table": LANDS, "stage": "lands"},
            "lands: expected days of as_of, which releases replace, found days of landed_on",
        ),
    ],
)
def test_a_released_table_that_cannot_be_is_refused(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError) as error:
        ReleasedTable(**declared)
    assert str(error.value) == message


def test_names_are_declared_once() -> None:
    for names in ([t.name for t in TABLES], [f.name for f in FEATURES], [t.name for t in TASKS]):
        assert len(names) == len(set(names))
    assert USER_FEATURES.names == ("user_key", "as_of", *(f.name for f in FEATURES))


def test_a_task_stays_within_a_longer_one_of_the_same_target() -> None:
    for task in TASKS:
        if task.within is not None:
            outer = task_named(task.within)
            assert (outer.target, outer.mask) == (task.target, task.mask)
            assert outer.horizon > task.horizon


def test_a_task_without_its_source_is_off() -> None:
    names = [t.name for t in enabled_tasks(frozenset({"engagements"}))]
    engaged = ["view_7d", "like_7d", "comment_7d", "share_7d", "search_7d", "ad_click_7d"]
    assert names == [*engaged, "churn_28d", "return_90d"]


def test_a_task_without_a_field_that_it_asks_about_is_off() -> None:
    tables = frozenset({"items", "engagements"})
    interests = task_named("interests_30d")
    assert interests not in enabled_tasks(tables)
    assert interests in enabled_tasks(tables | {"items.category_id"})
    assert lacking(interests, tables) == ("items.category_id",)
    assert lacking(interests, frozenset()) == ("items",)
    for task in TASKS:
        for table, _, name in (field.partition(".") for field in task.needs_fields):
            assert table in task.needs
            assert [f.required for f in FIELDS[table] if f.name == name] == [False]


def test_wrong_tasks_are_refused() -> None:
    with pytest.raises(ContractError, match="horizon must be 1 day or more, found 0"):
        Task("t", "T.", Binary(), 0, "order", Mask("all"), ())
    with pytest.raises(ContractError, match="needs 2 levels or more, found 1"):
        Ordinal(1)
    with pytest.raises(ContractError, match="needs 2 classes or more, found one"):
        MultiClass(("one",))
    with pytest.raises(ContractError, match="target 'n_smiles': expected a measure of user_days"):
        Task("t", "T.", Count(), 7, "n_smiles", Mask("all"), ())
    with pytest.raises(ContractError, match="given 'order': expected a measure of user_days"):
        Task("t", "T.", Binary(), 7, "order", Mask("all"), (), given="order")
    with pytest.raises(ContractError, match="task 'nothing': expected one of purchase_7d"):
        task_named("nothing")


def test_the_page_of_tables_is_up_to_date() -> None:
    assert (REPOSITORY / "docs/tables.md").read_text() == tables_page(), "run `make docs`"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_lists_what_is_declared(path: str) -> None:
    page = (REPOSITORY / path).read_text()
    assert page == with_tables(path, page), "run `make docs`"
