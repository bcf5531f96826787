"""The last words of each user's newest posts, and their tone, in a sweep over as-of days."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.measures import TEXT_BUCKETS, TEXT_POSTS, TEXT_TOKENS, WINDOWS
from jobs.one_pass.running_aggregates import Buckets, Ints, LastRows, summed
from jobs.one_pass.task_rows import POST, WORD, Rows, by_time, whole_numbers


class RecentText:
    """Hashed words of posts, by user and time. Letters: U users, T words."""

    def __init__(self, rows: Rows):
        posts, users, micros = rows.of(POST), rows.users(POST), rows.ints(POST, "micros")
        order = by_time(users, micros, posts, ("id",))
        lists = posts["numbers"].combine_chunks().take(pa.array(order))
        self._tokens = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
        self._ends = np.cumsum(lists.value_lengths().to_numpy(zero_copy_only=False))
        self._newest = LastRows(users[order], rows.enters(POST)[order], rows.n_users, TEXT_POSTS)
        self._user, self._day = users[order], rows.ints(POST, "day")[order]
        self._n_users = rows.n_users

    def at(self, k: int, day: int) -> tuple[Ints, Ints]:
        """How many words of each user, (U,), and all of them, (T,), as of `day` at place `k`."""
        newest = self._newest.at(k, among=self._day >= day - max(WINDOWS))
        ends = self._ends[newest.rows]
        before = np.concatenate([[0], self._ends])[newest.rows]
        lengths = ends - before
        owner = np.repeat(self._user[newest.rows], lengths)
        place = np.repeat(before - (np.cumsum(lengths) - lengths), lengths) + np.arange(
            lengths.sum()
        )
        totals = np.bincount(owner, minlength=self._n_users)
        from_end = np.cumsum(totals)[owner] - np.arange(len(owner))
        kept = from_end <= TEXT_TOKENS
        return np.minimum(totals, TEXT_TOKENS), self._tokens[place[kept]]


class RatedWords:
    """What reviews say of each word: of each only the days on which it changes are kept."""

    def __init__(self, rows: Rows):
        words = rows.of(WORD)
        lists = words["numbers"].combine_chunks()
        lengths = whole_numbers(pc.list_value_length(lists)) // 3
        changes = whole_numbers(lists.flatten()).reshape(-1, 3)
        self._word = np.repeat(rows.ints(WORD, "amount"), lengths)
        self._change = changes[:, 1:]
        at = np.searchsorted(rows.days, changes[:, 0]).astype(np.int64)
        self._at = Buckets(at, len(rows.days))
        self._rated = np.zeros((TEXT_BUCKETS + 1, 2), np.int64)
        self._n_users = rows.n_users

    def advance(self, k: int) -> None:
        at = self._at[k]
        self._rated[self._word[at]] = self._change[at]

    def of(self, counts: Ints, words: Ints) -> dict[str, Ints]:
        """The columns of `RATED_WORDS` of users with so many words each, (U,), in (T,) words."""
        user = np.repeat(np.arange(self._n_users), counts)
        n, above = self._rated[words].T
        return {
            "n_rated_words": summed(user, n, self._n_users),
            "rated_words_above": summed(user, above, self._n_users),
        }
