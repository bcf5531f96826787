"""What a run knows from its start on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from contracts.tasks import TASKS, Task, enabled_tasks, lacking
from flows.settings import NightjarSettings
from jobs.mapping.sources import SourceMapping
from jobs.stage import Settings
from jobs.values.user_key import UserKey


@dataclass(frozen=True)
class RunContext:
    """What a run is told and reads before it begins; nothing of it changes while it runs."""

    run_id: str
    as_of: date
    """A midnight UTC: all that landed before it is known."""
    started_at: datetime
    settings: NightjarSettings
    mapping: SourceMapping
    raw_folder: Path
    key: UserKey
    reason: str | None = None
    """Why it is run, if a person said so."""

    @property
    def job_settings(self) -> Settings:
        """What Spark's jobs need to know besides data and days."""
        return Settings(self.mapping, self.key, self.settings.settle_days, self.as_of)

    @property
    def process_folder(self) -> Path:
        """Where processes that the run starts leave specs, reports and logs."""
        return self.settings.home_folder.process_folder(self.run_id)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks whose tables and fields the mapping has."""
        return enabled_tasks(self.mapping.mapped)

    @property
    def switched_off(self) -> dict[str, str]:
        """Tasks without a source, and what they lack."""
        return {
            task.name: f"no source for {', '.join(lacks)}"
            for task in TASKS
            if (lacks := lacking(task, self.mapping.mapped))
        }
