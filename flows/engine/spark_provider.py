"""A run's Spark session, which starts when something is to be computed."""

from __future__ import annotations

import threading

from pyspark.sql import SparkSession

from flows.settings import NightjarSettings
from jobs.spark.session import start_session


class SparkProvider:
    """Starts one session, whichever stage asks first."""

    def __init__(self, settings: NightjarSettings):
        self._settings = settings
        self._session: SparkSession | None = None
        self._starting = threading.Lock()

    @property
    def session(self) -> SparkSession:
        """The session; starting it takes seconds."""
        with self._starting:
            if self._session is None:
                settings = self._settings
                self._session = start_session(settings.spark, settings.home_folder.scratch)
            return self._session
