"""The raw files of a simulated market: one per day and kind of log, dirt included, and the truth.

What lands on a day is what happened on it, less what is late, and what earlier days send again or
late. Those few lines are kept from day to day; a day that is made alone makes them again.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.days import example_days
from jobs.market import accounts, events, hidden, lines, posts, shown, social
from jobs.market.catalogue import Items
from jobs.market.dirt import (
    CLEAN,
    CONFLICT_AFTER,
    EXPECTED,
    FATES,
    LATE_BY,
    REPEATED_AFTER,
    Landing,
    altered,
    broken,
    code,
    draw_fates,
    faults_of,
    land,
)
from jobs.market.lines import LOGS
from jobs.market.outcomes import write_outcomes
from jobs.market.preferences import write_preferences
from jobs.market.traits import Block, Flags, Market, blocks
from jobs.market.truth import write_latents, write_truth

_DELAYS = (("conflict", CONFLICT_AFTER), ("repeated", REPEATED_AFTER), ("late", LATE_BY))
Make = Callable[[lines.Fault], pa.Array]
STREAMS = tuple(name for name in LOGS if name not in ("users", "items"))
DONE = "SIMULATED"


class DayFile:
    """A gzip file that comes out the same, byte for byte, each time it is written."""

    def __init__(self, path: Path, header: str | None = None):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._raw: IO[bytes] = path.open("wb")
        self._stream = gzip.GzipFile("", "wb", 1, self._raw, mtime=0)
        self.rows = 0
        if header:
            self._stream.write(header.encode() + b"\n")

    def write(self, texts: pa.Array) -> None:
        """Lines of text or bytes, written as the one piece of memory that they lie in."""
        if len(texts):
            whole = pc.binary_join_element_wise(
                texts.cast(pa.binary()), pa.scalar(b"\n"), pa.scalar(b"")
            )
            offsets = np.frombuffer(whole.buffers()[1], np.int32)
            start, end = offsets[whole.offset], offsets[whole.offset + len(whole)]
            self._stream.write(memoryview(whole.buffers()[2])[start:end])
            self.rows += len(texts)

    def close(self) -> int:
        self._stream.close()
        self._raw.close()
        return self.rows


class Simulation:
    """Writes days of a market, in order or alone."""

    def __init__(self, market: Market, folder: Path):
        self.market, self.folder = market, folder
        self.items = Items.of(market)
        self._deferred: dict[tuple[str, int, int], dict[str, pa.Array]] = {}

    def write_day(self, day: int) -> int:
        """Write the files that land on one day, and the list of what is wrong with them.

        Returns:
            Raw rows written.
        """
        named = self.market.day(day).isoformat()
        files = {
            name: DayFile(self.folder / f"{name}/{named}.{LOGS[name].suffix}", LOGS[name].header)
            for name in (*STREAMS, "users")
        }
        wrong = DayFile(
            self.folder / f"truth/defects/{named}.csv.gz", "source,line,defect,expected"
        )
        for traits in blocks(self.market):
            for name in STREAMS:
                before = files[name].rows + (LOGS[name].header is not None)
                text, fates = self._landing(name, traits, day)
                files[name].write(text)
                rows = np.flatnonzero(fates != CLEAN)
                kinds = np.array(FATES)[fates[rows]]
                expected = [EXPECTED.get(kind, "quarantined") for kind in kinds]
                if len(rows):
                    wrong.write(
                        lines.join(
                            f"{name},", rows + before + 1, ",", kinds, ",", pa.array(expected)
                        )
                    )
            files["users"].write(lines.user_lines(self.market, traits, day))
        versions = lines.item_lines(self.market, self.items, day)
        if len(versions):
            files["items"] = DayFile(self.folder / f"items/{named}.csv.gz", LOGS["items"].header)
            files["items"].write(versions)
        written = sum(file.close() for file in files.values())
        wrong.close()
        for key in [key for key in self._deferred if key[2] <= day - LATE_BY]:
            del self._deferred[key]
        return written

    def _landing(self, name: str, traits: Block, day: int) -> tuple[pa.Array, np.ndarray]:
        parts = [self._happening(name, traits, day)]
        for fate, delay in _DELAYS:
            if day >= delay:
                if (name, traits.first, day - delay) not in self._deferred:
                    self._happening(name, traits, day - delay)
                text = self._deferred[name, traits.first, day - delay][fate]
                n = len(text)
                parts.append(Landing(text, np.full(n, code(fate), np.int8), np.full(n, -1)))
        place = 20 + STREAMS.index(name)
        return land(parts, self.market.rng(place, traits.first, day))

    def _happening(self, name: str, traits: Block, day: int) -> Landing:
        """The lines of what happens on a day that land on it; the others are put by."""
        rng = self.market.rng(40 + STREAMS.index(name), traits.first, day)
        n, make, bots, immune = self._stream(name, traits, day)
        fates = draw_fates(n, self.market.dirt, LOGS[name], rng)
        for fate, rows in immune.items():
            fates[rows & (fates == code(fate))] = CLEAN
        fates[bots] = code("bot")
        text = broken(make(faults_of(fates)), fates)
        late = fates == code("late")
        again = {fate: np.flatnonzero(fates == code(fate)) for fate, _ in _DELAYS}
        put_by = {fate: text.take(pa.array(rows)) for fate, rows in again.items()}
        put_by["conflict"] = altered(put_by["conflict"])
        self._deferred[name, traits.first, day] = put_by
        twice = np.flatnonzero(fates == code("duplicate"))
        now = np.concatenate([np.flatnonzero(~late), twice])
        twins = np.full(len(now), -1)
        places = np.flatnonzero((fates == code("duplicate"))[now])
        twins[places] = now[places]
        kept = fates[now].copy()
        # A line that is sent again is itself as it should be.
        kept[np.isin(kept, [code("repeated"), code("conflict")])] = CLEAN
        return Landing(text.take(pa.array(now)), kept, twins)

    def _stream(
        self, name: str, traits: Block, day: int
    ) -> tuple[int, Make, Flags, dict[str, Flags]]:
        """How many rows there are, how to write them, which are bots', and which cannot go wrong
        in some way: what is done to users needs nobody who did it, and a login has no money."""
        if name == "engagements":
            e = events.engagements_of(self.market, traits, day)
            write = lines.engagement_lines
            to_user = {"anonymous": e.kind == events.USER}
            return len(e), lambda f: write(self.market, traits, day, e, f), e.bot, to_user
        if name == "account":
            a = accounts.account_events_of(self.market, traits, day)
            free = {"currency": a.kind == 0}
            note = lines.account_lines
            return (
                len(a),
                lambda f: note(self.market, traits, day, a, f),
                np.zeros(len(a), bool),
                free,
            )
        n, make = self._other_stream(name, traits, day)
        return n, make, np.zeros(n, bool), {}

    def _other_stream(self, name: str, traits: Block, day: int) -> tuple[int, Make]:
        market = self.market
        if name == "posts":
            p = posts.posts_of(market, traits, day)
            return len(p), lambda f: lines.post_lines(market, traits, day, p, f)
        if name == "reviews":
            r = events.reviews_of(market, traits, day)
            return len(r), lambda f: lines.review_lines(market, traits, day, r, f)
        if name == "follows":
            w = social.follows_of(market, traits, day)
            return len(w), lambda f: lines.follow_lines(market, traits, day, w, f)
        if name == "impressions":
            s = shown.impressions_of(market, traits, day)
            return len(s), lambda f: lines.impression_lines(market, traits, day, s, f)
        if name == "blocks":
            h = hidden.hidden_of(market, traits, day)
            return len(h), lambda f: lines.block_lines(market, traits, day, h, f)
        if name == "fraud_marks":
            marks = list(accounts.marks_of(market, traits, day))
            n = sum(len(frauds) for _, frauds in marks)
            return n, lambda f: lines.mark_lines(market, traits, day, marks, f)
        new = events.orders_of(market, traits, day)
        gone = events.cancelled_of(market, traits, day)
        then, n = day - events.CANCELLED_AFTER, len(new)

        def make(fault: lines.Fault) -> pa.Array:
            ordered = lines.order_lines(market, traits, self.items, day, day, new, fault[:n])
            undone = lines.order_lines(market, traits, self.items, day, then, gone, fault[n:])
            return pa.concat_arrays([ordered, undone])

        return n + len(gone), make


def truth_days(market: Market, every_days: int) -> tuple[int, ...]:
    """Days from the market's start as of which the truth is told."""
    last = market.start + timedelta(days=market.days)
    past = example_days(last, market.start, every_days, market.days, 1)
    return (*((day - market.start).days for day in past), market.days)


def simulate(
    market: Market,
    folder: Path,
    progress: Callable[[int, int], None],
    truth_every_days: int | None = 14,
) -> int:
    """Write every day's files under `folder`, and a file SIMULATED when all is there.

    The truth goes to `folder/truth`, as of the last day and as of the midnights that models learn
    from when examples lie `truth_every_days` apart; what users would choose, and what they do
    choose, after the last day alone. None writes only the list of defects.

    Returns:
        Raw rows written.
    """
    simulation, truth = Simulation(market, folder), folder / "truth"
    told = truth_days(market, truth_every_days) if truth_every_days is not None else ()
    rows = 0
    for day in range(market.days):
        if day in told:
            write_truth(market, day, truth)
        rows += simulation.write_day(day)
        progress(day + 1, market.days)
    if truth_every_days is not None:
        write_latents(market, truth)
        write_truth(market, market.days, truth)
        write_preferences(market, market.days, truth)
        write_outcomes(market, market.days, truth)
    (folder / DONE).write_text(f"{market}\n")
    return rows
