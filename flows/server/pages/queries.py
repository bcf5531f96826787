"""What the pages show, read from the release's file of views and from the receipts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from contracts.errors import UsageError
from contracts.kinds import MultiClass, MultiLabel
from contracts.segments import ALL
from contracts.specs import ExplainSpec
from contracts.tables import NO_MODEL, SCOREBOARD, USER_FEATURES
from contracts.tasks import TASKS, Task
from contracts.user_keys import DIGITS, is_user_key
from flows.engine.model_process import run_models
from flows.lake.home_binding import open_home
from flows.release.duckdb_views import NEWEST, first_row, reading
from flows.release.releases import Release, Releases
from flows.report.charts import Bin
from flows.settings import NightjarSettings
from flows.state.receipts import newest
from flows.storage.location import name_of
from flows.storage.parquet_files import read_rows, write_rows

BINS = 20
DAYS = 60
"""Nights of quality that a page shows."""
RELEASES = 60
"""Releases that a page lists; `nightjar releases` lists all."""
EXPLAINED = 256
"""Users whose reasons are remembered: those who were asked for last."""


@dataclass(frozen=True)
class TaskScore:
    """What the release says of one user, for one task."""

    task: Task
    value: float | str | None
    """The task's first score; the most probable class where there are several."""
    percentile: float | None
    meaning: str
    """What the score is, in words."""
    method: str | None = None
    """Where the score comes from."""


class Pages:
    """Reads only; every page is of the release that is current when it is asked for."""

    def __init__(self, settings: NightjarSettings):
        self._settings = settings
        self._engine = open_home(settings)
        self._home = settings.home_folder
        self._database = self._home.analysts_file
        self._reasons: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._explaining = threading.Lock()

    def current(self) -> Release | None:
        return Releases(self._engine).current()

    def releases(self) -> list[dict[str, Any]]:
        """The newest releases, newest first, each with its report if there is one."""
        current = self.current()
        listed = []
        for release in Releases(self._engine).newest(RELEASES):
            report = self._home.report(release.as_of)
            listed.append(
                {
                    "release": release,
                    "current": current is not None and release.release_id == current.release_id,
                    "report": name_of(report) if self._home.storage.exists(report) else None,
                }
            )
        return listed

    def quality(self) -> list[dict[str, Any]]:
        """Per task: how the newest model did on its test days, beside its members."""
        newest = self._newest_training()
        if newest is None:
            return []
        day, tasks = newest
        return [
            {
                "task": name,
                "day": day,
                "metric": report["main"],
                "model": report["model"].get(report["main"]),
                "network": report.get("network", {}).get(report["main"]),
                "twin": report["twin"].get(report["main"]),
                "constant": report["constant"].get(report["main"]),
                "rows": report["test_rows"],
            }
            for name, report in tasks.items()
        ]

    def _newest_training(self) -> tuple[date, Mapping[str, Any]] | None:
        receipts = newest(self._engine, "train", 1)
        return (receipts[0].day, receipts[0].outputs["tasks"]) if receipts else None

    def trained(self, task: str) -> list[dict[str, Any]]:
        """Per night: the task's main metric on the test days of that night's model."""
        nights = []
        for receipt in newest(self._engine, "train", DAYS):
            report = receipt.outputs["tasks"].get(task)
            if report:
                main = report["main"]
                nights.append(
                    {
                        "day": receipt.day,
                        "metric": main,
                        "model": report["model"].get(main),
                        "twin": report["twin"].get(main),
                        "rows": report["test_rows"],
                    }
                )
        return nights

    def scoreboard(self, task: str) -> list[dict[str, Any]]:
        """Per day: how scores that were published then did, oldest first, of all users."""
        return self._rows(
            f"SELECT * FROM {SCOREBOARD.name} WHERE task = ? AND segment = '{ALL}' "
            f"ORDER BY as_of DESC LIMIT {DAYS}",
            [task],
        )[::-1]

    def distribution(self, task: Task) -> list[Bin]:
        """Users by the task's first score, in bins of equal width; empty where scores are lists or
        nobody has one."""
        column = task.score_columns()[0]
        if not column.is_float:
            return []
        with reading(self._database) as connection:
            low, high = first_row(
                connection,
                f"SELECT min({column.name}), quantile_cont({column.name}, 0.995) FROM {NEWEST}",
            )
            if low is None:
                return []
            width = max((high - low) / BINS, 1e-9)
            rows = connection.execute(
                f"SELECT least(floor(({column.name} - ?) / ?), {BINS - 1})::INT AS bin, count(*) "
                f"FROM {NEWEST} WHERE {column.name} IS NOT NULL GROUP BY 1",
                [low, width],
            ).fetchall()
        counts = dict(rows)
        return [Bin(low + i * width, low + (i + 1) * width, counts.get(i, 0)) for i in range(BINS)]

    def some_users(self) -> list[str]:
        """A few users to look at, spread over all of them."""
        rows = self._rows(f"SELECT user_key FROM {NEWEST} ORDER BY hash(user_key) LIMIT 8", [])
        return [row["user_key"] for row in rows]

    def checked_key(self, text: str) -> str:
        """A user key.

        Raises:
            UsageError: it is none, or the release does not have it.
        """
        key = text.strip().lower()
        if not is_user_key(key):
            raise UsageError(
                f"A user_key is {DIGITS} digits and letters a to f, as in the column user_key of "
                "every table. Raw ids are not known here."
            )
        if not self._rows(f"SELECT 1 FROM {NEWEST} WHERE user_key = ?", [key]):
            raise UsageError("The current release has no such user.")
        return key

    def answers(self, key: str) -> list[TaskScore]:
        """What the release says of the user, task by task."""
        (row,) = self._rows(f"SELECT * FROM {NEWEST} WHERE user_key = ?", [key])
        answers = []
        for task in TASKS:
            value: float | str | None
            columns = task.score_columns()
            meaning = columns[0].doc
            if isinstance(task.kind, MultiLabel):
                value, meaning = row[columns[2].name], columns[2].doc
            elif isinstance(task.kind, MultiClass):
                chances = {
                    name: row[column.name]
                    for name, column in zip(task.kind.classes, columns, strict=False)
                }
                known = all(chance is not None for chance in chances.values())
                value = max(chances, key=lambda name: chances[name]) if known else None
                meaning = f"The most probable class. {task.doc} Trained on {task.mask.doc}."
            else:
                value = row[columns[0].name]
            if value is not None:
                answers.append(
                    TaskScore(task, value, row[task.percentile], meaning, row[task.method])
                )
        return answers

    def features(self, key: str) -> list[tuple[str, Any, str]]:
        """Name, value and meaning of what was known of the user, without what is 0 or missing."""
        rows = self._rows(
            f"SELECT f.* FROM {USER_FEATURES.name} f JOIN {NEWEST} s USING (user_key, as_of) "
            "WHERE f.user_key = ?",
            [key],
        )
        if not rows:
            return []
        return [
            (column.name, rows[0][column.name], column.doc)
            for column in USER_FEATURES.columns
            if column.name not in USER_FEATURES.grain
            and not column.column_type.is_array
            and rows[0][column.name] not in (None, 0)
        ]

    def reasons(self, key: str) -> Mapping[str, Any]:
        """Per task, the features that moved the user's score most; it takes seconds, once.

        Raises:
            UsageError: the release has no features of the user.
        """
        release = self.current()
        if release is None:
            raise UsageError("Nothing has been released yet.")
        if release.model_id == NO_MODEL:
            return {}  # nobody is scored
        asked = (release.release_id, key)
        with self._explaining:  # one at a time: each is a process of its own
            reasons = self._reasons.pop(asked, None)
            if reasons is None:
                reasons = self._explain(release, key)
            self._reasons[asked] = reasons  # the last that was asked for
            if len(self._reasons) > EXPLAINED:
                del self._reasons[next(iter(self._reasons))]
            return reasons

    def _explain(self, release: Release, key: str) -> Mapping[str, Any]:
        from flows.release.model_registry import Registry  # MLflow's import takes seconds

        with reading(self._database) as connection:
            paths = [
                row[0]
                for row in connection.execute(
                    "SELECT path FROM release_files WHERE table_name = ?", [USER_FEATURES.name]
                ).fetchall()
            ]
        day = ("as_of", "=", release.as_of)
        for path in paths:
            mine = read_rows(path, filters=[("user_key", "=", key), day])
            if mine.num_rows:
                storage = self._home.storage
                folder = storage.local_path(storage.make_folder(self._home.page_reasons))
                row = folder / "row.parquet"
                write_rows(mine, str(row))
                model = str(Registry(self._settings).fetch(release.model_id))
                spec = ExplainSpec(str(row), (path,), model)
                try:
                    return run_models(
                        spec, folder, lambda line: None, self._settings.key_of_weights()
                    )
                finally:
                    storage.remove(str(row))
        raise UsageError("The current release has no features of that user.")

    def _rows(self, sql: str, given: Sequence[Any]) -> list[dict[str, Any]]:
        with reading(self._database) as connection:
            cursor = connection.execute(sql, list(given))
            names = [d[0] for d in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
