"""What a run knows from its start on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from contracts.surfaces import SURFACES, Surface, mapped_surfaces, missing_tables
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
        settings = self.settings
        return Settings(
            self.mapping,
            self.key,
            settings.settle_days,
            self.as_of,
            settings.configured_surfaces,
            settings.ranking,
        )

    @property
    def process_folder(self) -> Path:
        """Where processes that the run starts leave specs, reports and logs."""
        return self.settings.home_folder.process_folder(self.run_id)

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """Surfaces whose tables the mapping has; none where nights leave recommendations out."""
        if self.settings.no_recommendations:
            return ()
        return mapped_surfaces(self.settings.configured_surfaces, self.mapping.mapped_tables)

    @property
    def surfaces_off(self) -> dict[str, str]:
        """Surfaces that are switched off, and why."""
        if self.settings.no_recommendations:
            return dict.fromkeys((s.name for s in SURFACES), "no_recommendations is set")
        return {
            surface.name: f"no source for {', '.join(lacks)}"
            for surface in self.settings.configured_surfaces
            if (lacks := missing_tables(surface, self.mapping.mapped_tables))
        }

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
