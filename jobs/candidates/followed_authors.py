"""Posts by whom a user follows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.candidates.entries import Catalogue, Entries
from jobs.candidates.fixed_point import ONE, firsts, fixed
from jobs.candidates.step_rows import LISTS, TASTES, World, grouped

HALF_AGE = 3
"""Days after which a post counts half as much."""

SOURCE = "followed_authors"


def followed_authors(
    world: World, entries: Entries, follows: NDArray[np.bool_], n: int
) -> list[pa.Table]:
    """The `n` authors whom each user follows, those of the strongest signals between them, for the
    posts of `world`: an author counts by the root of one more than the signals of the reader.

    `entries` are of users and people; `follows` are those in which the user follows somebody.
    """
    strongest = entries.strongest(follows, n)
    weight = fixed(np.sqrt(1 + entries.signals[strongest] / ONE))
    ids = entries.ids.take(pa.array(strongest))
    return [grouped(world, TASTES, SOURCE, entries.users, entries.user[strongest], ids, weight)]


def by_authors(world: World, catalogue: Catalogue, n: int) -> list[pa.Table]:
    """The `n` newest posts of each author. A post counts by its age, and by the root of one more
    than its users of the last 30 days."""
    post = np.flatnonzero(catalogue.available & (catalogue.author >= 0))
    author, first_day = catalogue.author[post], catalogue.first_day[post]
    newest = firsts(author, (-first_day, post), n)
    post, author, age = post[newest], author[newest], world.day - first_day[newest]
    score = fixed(HALF_AGE / (HALF_AGE + age) * np.sqrt(1.0 + catalogue.n_users_30d[post]))
    ids = catalogue.ids.take(pa.array(post))
    return [grouped(world, LISTS, SOURCE, catalogue.authors, author, ids, score)]
