"""Stages of what is recommended that Spark computes: part of the map of the data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

from pyspark.sql import DataFrame

from contracts.clean_tables import CLEAN_TABLES
from contracts.recommendation_tables import (
    INTERACTIONS,
    REC_CANDIDATES,
    REC_HISTORIES,
    REC_ITEMS,
    REC_POPULAR,
)
from contracts.source_table import content
from contracts.source_tables.blocks import BLOCKS
from contracts.source_tables.follows import FOLLOWS
from contracts.source_tables.items import ITEMS
from contracts.source_tables.posts import POSTS
from contracts.source_tables.users import USERS
from contracts.surfaces import Surface
from contracts.table import Table
from contracts.tables import USER_FEATURES
from jobs.candidates import histories, items
from jobs.candidates.interactions import interactions
from jobs.candidates.popular import POPULAR_DAYS, rec_popular
from jobs.candidates.rec_candidates import declared_by, rec_candidates
from jobs.cleaning.verdicts import in_days
from jobs.stage import Inputs, Job, Output, Read, Settings


def _interactions(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    facts = {
        table.name: inputs[table.name].where(in_days("landed_on", days)) for table in _INTERACTED
    }
    return Output({INTERACTIONS.name: interactions(facts)})


def _rec_items(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    surfaces = settings.mapped_surfaces
    targets = {surface.target for surface in surfaces}
    of_users = "user" in targets
    known = items.Known(
        inputs[INTERACTIONS.name],
        items=_mapped(ITEMS, inputs, settings) if "item" in targets else None,
        posts=_mapped(POSTS, inputs, settings) if "post" in targets else None,
        timeless=inputs[FOLLOWS.name] if of_users and _has_timeless(settings) else None,
        users=_of_days(USER_FEATURES, inputs, days) if of_users else None,
    )
    return Output({REC_ITEMS.name: items.rec_items(known, surfaces, days)})


def _rec_histories(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    surfaces = settings.mapped_surfaces
    of_users = any(surface.target == "user" for surface in surfaces)
    known = histories.Known(
        inputs[INTERACTIONS.name],
        known_users=_of_days(USER_FEATURES, inputs, days),
        items=_of_days(REC_ITEMS, inputs, days),
        users=_mapped(USERS, inputs, settings),
        follows=_mapped(FOLLOWS, inputs, settings) if of_users else None,
        blocks=_mapped(BLOCKS, inputs, settings),
        has_timeless=_has_timeless(settings),
    )
    return Output({REC_HISTORIES.name: histories.rec_histories(known, surfaces, days)})


def _rec_popular(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    rows = rec_popular(
        _of_days(REC_ITEMS, inputs, days),
        inputs[INTERACTIONS.name],
        _mapped(USERS, inputs, settings),
        settings.mapped_surfaces,
        days,
        settings.ranking.candidates_per_source,
    )
    return Output({REC_POPULAR.name: rows})


def _rec_candidates(inputs: Inputs, days: Sequence[date], settings: Settings) -> Output:
    histories, items = (
        inputs[table.name].where(in_days("as_of", days)) for table in (REC_HISTORIES, REC_ITEMS)
    )
    n = settings.ranking.candidates_per_source
    found = rec_candidates(histories, items, settings.mapped_surfaces, n)
    return Output({REC_CANDIDATES.name: found})


def _candidates_settings(settings: Settings, day: date) -> Any:
    return [
        settings.ranking.candidates_per_source,
        [declared_by(surface) for surface in settings.mapped_surfaces],
    ]


def _mapped(table: Table, inputs: Inputs, settings: Settings) -> DataFrame | None:
    """The rows of a clean table; None where no source fills it, which makes the query shorter."""
    return inputs[table.name] if table.name in settings.mapping.mapped_tables else None


def _has_timeless(settings: Settings) -> bool:
    """Whether there may be edges without a time that features see."""
    return f"{FOLLOWS.name}.valid_from" in settings.mapping.mapped


def _of_days(table: Table, inputs: Inputs, days: Sequence[date]) -> DataFrame:
    return inputs[table.name].where(in_days("as_of", days))


def _of_surfaces(surfaces: Collection[Surface]) -> list[Any]:
    """What rows of items and histories depend on of the surfaces that are on."""
    return [
        content((s.name, s.target, s.signals, s.goals, s.owned_by, s.max_age_days))
        for s in surfaces
    ]


def _depends(settings: Settings, day: date) -> Any:
    return [_of_surfaces(settings.mapped_surfaces), sorted(settings.mapping.mapped & _ASKED)]


def _popular_depends(settings: Settings, day: date) -> Any:
    surfaces = settings.mapped_surfaces
    return [
        [content((s.name, s.target, s.goals, s.sources)) for s in surfaces],
        settings.ranking.candidates_per_source,
        USERS.name in settings.mapping.mapped_tables,
    ]


_INTERACTED = tuple(table for table in CLEAN_TABLES if table.interactions)
_ASKED = {
    *(table.name for table in (ITEMS, POSTS, FOLLOWS, USERS, BLOCKS)),
    f"{FOLLOWS.name}.valid_from",
}
_ALL_TIME = Read(INTERACTIONS, None, 0)

RECOMMENDATION_JOBS: tuple[Job, ...] = (
    Job(
        "interactions",
        "Tiles of what users did with items, ads, posts and other users, or were shown.",
        reads=tuple(Read(table, 0, 1) for table in _INTERACTED),
        writes=(INTERACTIONS,),
        compute=_interactions,
        declared=content([(t.name, t.interactions) for t in _INTERACTED]),
    ),
    Job(
        "rec_items",
        "What each surface can recommend as of a midnight.",
        reads=(
            _ALL_TIME,
            *(Read(table, None, 0) for table in (ITEMS, POSTS, FOLLOWS)),
            Read(USER_FEATURES, 0, 1),
        ),
        writes=(REC_ITEMS,),
        compute=_rec_items,
        settings=_depends,
    ),
    Job(
        "rec_histories",
        "What each known user had to do with what a surface recommends, as of a midnight.",
        reads=(
            _ALL_TIME,
            *(Read(table, None, 0) for table in (USERS, FOLLOWS, BLOCKS)),
            Read(USER_FEATURES, 0, 1),
            Read(REC_ITEMS, 0, 1),
        ),
        writes=(REC_HISTORIES,),
        compute=_rec_histories,
        settings=_depends,
    ),
    Job(
        "rec_popular",
        "What is popular on each surface as of a midnight, in all and by segment; and what is new.",
        reads=(
            Read(INTERACTIONS, -POPULAR_DAYS - 1, 0),
            Read(USERS, None, 0),
            Read(REC_ITEMS, 0, 1),
        ),
        writes=(REC_POPULAR,),
        compute=_rec_popular,
        settings=_popular_depends,
    ),
    Job(
        "rec_candidates",
        "What counting suggests to each user.",
        reads=(Read(REC_HISTORIES, 0, 1), Read(REC_ITEMS, 0, 1)),
        writes=(REC_CANDIDATES,),
        compute=_rec_candidates,
        settings=_candidates_settings,
    ),
)
