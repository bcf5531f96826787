"""The map of the data: which stage reads which days of which tables, and what it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from contracts.clean_tables import CLEAN_TABLES
from contracts.days import label_is_closed
from contracts.errors import ContractError
from contracts.measures import WINDOWS
from contracts.source_table import KNOWN_DAYS, content
from contracts.source_tables.follows import FOLLOWS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.orders import ORDERS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.reviews import REVIEWS
from contracts.source_tables.users import USERS
from contracts.table import Table
from contracts.tables import (
    EXAMPLES,
    ITEM_FEATURES,
    LABELS,
    USER_FEATURES,
    USER_STATE,
    table_named,
)
from contracts.tasks import LABEL_REACH, enabled_tasks
from contracts.tile_tables import ITEM_DAYS, LATE_DATA, TILES, USER_ITEM_DAYS
from jobs import labels as labelling
from jobs.cleaning import verdicts as cleaning
from jobs.features.events import events, narrowed
from jobs.features.item_features import item_features
from jobs.features.user_days import (
    item_days,
    late_data,
    united,
    user_days,
    user_item_days,
)
from jobs.features.user_features import user_features
from jobs.features.user_state import user_state
from jobs.one_pass.features import features_in_one_pass
from jobs.processes import PROCESSES
from jobs.recommendation_stages import RECOMMENDATION_JOBS
from jobs.source_table_stages import clean_job, tiles_job
from jobs.stage import Inputs, Job, Output, Process, Read, Settings, Stage


def _user_item_days(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    facts = narrowed(inputs, lambda rows: rows.where(cleaning.in_days("landed_on", days)))
    return Output({USER_ITEM_DAYS.name: user_item_days(facts, inputs[POSTS.name])})


def _item_days(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    facts = {
        table.name: inputs[table.name].where(cleaning.in_days("landed_on", days))
        for table in _ITEM_FACTS
    }
    return Output({ITEM_DAYS.name: item_days(facts)})


def _tiles(inputs: Inputs) -> list[DataFrame]:
    return [inputs[table.name] for table in TILES.values()]


def _late_data(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    tiles = user_days(_tiles(inputs)).where(cleaning.in_days("landed_on", days))
    return Output({LATE_DATA.name: late_data(tiles)})


def _user_state(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    base = inputs[USER_STATE.name]
    newest = base.agg(F.max("as_of")).collect()[0][0]
    return Output(
        {
            USER_STATE.name: user_state(
                base,
                user_days(_tiles(inputs)),
                inputs[USER_ITEM_DAYS.name],
                inputs[USERS.name],
                events(inputs),
                newest,
                days,
            )
        }
    )


def _item_features(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    return Output(
        {ITEM_FEATURES.name: item_features(inputs[ITEM_DAYS.name], inputs[ITEMS.name], days)}
    )


def _user_features(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    state = inputs[USER_STATE.name]
    if [state.agg(F.max("as_of")).collect()[0][0]] != list(days):
        state = _user_state(inputs, days, settings).tables[USER_STATE.name]
    return Output(
        {
            USER_FEATURES.name: user_features(
                state,
                united(_tiles(inputs)),
                inputs[USER_ITEM_DAYS.name],
                inputs[USERS.name],
                inputs[ITEM_FEATURES.name],
                inputs[FOLLOWS.name],
                inputs[POSTS.name],
                inputs[REVIEWS.name],
                days,
            )
        }
    )


def _user_features_in_one_pass(
    inputs: Inputs, days: Sequence[date], settings: Settings, folder: str
) -> DataFrame:
    return features_in_one_pass(
        inputs[USER_STATE.name],
        user_days(_tiles(inputs)),
        inputs[USER_ITEM_DAYS.name],
        inputs[USERS.name],
        inputs[ITEM_FEATURES.name],
        inputs[FOLLOWS.name],
        inputs[POSTS.name],
        inputs[REVIEWS.name],
        events(inputs),
        days,
        folder,
    )


def _labels(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    known = labelling.Known(
        user_days=united(_tiles(inputs)),
        **{table.name: inputs[table.name] for table in _LABELLED_FROM},
    )
    return Output(
        {
            LABELS.name: labelling.labels(
                inputs[USER_FEATURES.name],
                known,
                days,
                settings.known_until,
                settings.settle_days,
                enabled_tasks(settings.mapping.mapped),
            )
        }
    )


def _closed_tasks(settings: Settings, day: date) -> Any:
    return [
        task.name
        for task in enabled_tasks(settings.mapping.mapped)
        if label_is_closed(day, task.closes_after, settings.settle_days, settings.known_until)
    ]


def _examples(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    features, labels = (
        inputs[table.name].where(cleaning.in_days("as_of", days))
        for table in (USER_FEATURES, LABELS)
    )
    return Output({EXAMPLES.name: labelling.examples(features, labels)})


_WIDEST = max(WINDOWS)
_LABELLED_FROM = tuple(
    table_named(known.name) for known in fields(labelling.Known) if known.name != "user_days"
)
_LABELS_SINCE: Mapping[Table, int | None] = {ITEMS: None, ORDERS: -2}
"""From where on labels read, if not from the day before: a cancellation may be stamped just before
the order, and so before midnight, that it undoes."""

_FACTS = tuple(table for table in CLEAN_TABLES if table.event is not None)
_ITEM_FACTS = tuple(table for table in CLEAN_TABLES if table.item_measures)
_STATE = tuple(
    Read(table, None, 0, carried=True)
    for table in (*TILES.values(), USER_ITEM_DAYS, USERS, *_FACTS)
)

SPARK_JOBS: tuple[Job, ...] = (
    *(clean_job(table) for table in CLEAN_TABLES),
    *(tiles_job(table) for table in _FACTS),
    Job(
        "user_item_days",
        "Orders, items, other users and devices that each user had to do with, per day.",
        reads=tuple(Read(t, -KNOWN_DAYS if t is POSTS else 0, 1) for t in _FACTS),
        writes=(USER_ITEM_DAYS,),
        compute=_user_item_days,
        declared=content([(t.name, t.things) for t in CLEAN_TABLES]),
    ),
    Job(
        "item_days",
        "Tiles of items: counts and sums per item and day.",
        reads=tuple(Read(table, 0, 1) for table in _ITEM_FACTS),
        writes=(ITEM_DAYS,),
        compute=_item_days,
        declared=content([(t.name, t.things, t.item_measures) for t in _ITEM_FACTS]),
    ),
    Job(
        "late_data",
        "What landed after its day had ended.",
        reads=tuple(Read(tiles, 0, 1) for tiles in TILES.values()),
        writes=(LATE_DATA,),
        compute=_late_data,
    ),
    # A row may happen up to a day after it landed, so an increment reaches back one day more.
    Job(
        "user_state",
        "Everything known of each user, all time.",
        reads=_STATE,
        writes=(USER_STATE,),
        compute=_user_state,
        incremental=USER_STATE,
    ),
    Job(
        "item_features",
        "Each item as of a midnight.",
        reads=(Read(ITEM_DAYS, -_WIDEST - 1, 0), Read(ITEMS, None, 0)),
        writes=(ITEM_FEATURES,),
        compute=_item_features,
    ),
    Job(
        "user_features",
        "Features of each user as of a midnight.",
        reads=(
            *_STATE,
            Read(USERS, None, 0),
            *(Read(tiles, -_WIDEST - 1, 0) for tiles in TILES.values()),
            Read(USER_ITEM_DAYS, -_WIDEST - 1, 0),
            Read(ITEM_FEATURES, 0, 1),
            Read(FOLLOWS, None, 0),
            Read(POSTS, -_WIDEST - 1, 0),
            Read(REVIEWS, -_WIDEST - 1, 0),
        ),
        writes=(USER_FEATURES,),
        compute=_user_features,
        incremental=USER_STATE,
        one_pass=_user_features_in_one_pass,
    ),
    Job(
        "labels",
        "What then happened, where it is known.",
        reads=(
            Read(USER_FEATURES, 0, 1),
            *(
                Read(t, _LABELS_SINCE.get(t, -1), None, within=LABEL_REACH)
                for t in (*TILES.values(), *_LABELLED_FROM)
            ),
        ),
        writes=(LABELS,),
        compute=_labels,
        settings=_closed_tasks,
    ),
    Job(
        "examples",
        "Features and labels side by side, to learn from.",
        reads=(Read(USER_FEATURES, 0, 1), Read(LABELS, 0, 1)),
        writes=(EXAMPLES,),
        compute=_examples,
    ),
    *RECOMMENDATION_JOBS,
)


JOBS: tuple[Stage, ...] = (*SPARK_JOBS, *PROCESSES)
"""Every stage but landing, which is one per source of a mapping."""


def stage_named(name: str) -> Stage:
    """The stage of that name, a `Job` of Spark's or a `Process`.

    Raises:
        ContractError: there is none.
    """
    for stage in JOBS:
        if stage.name == name:
            return stage
    raise ContractError(f"no stage is called {name}")


def job_named(name: str) -> Job:
    """The Spark job of that name.

    Raises:
        ContractError: there is none.
    """
    for job in SPARK_JOBS:
        if job.name == name:
            return job
    raise ContractError(f"no Spark job is called {name}")


def process_named(name: str) -> Process:
    """The stage of that name that a process computes.

    Raises:
        ContractError: there is none.
    """
    for process in PROCESSES:
        if process.name == name:
            return process
    raise ContractError(f"no process computes a stage called {name}")
