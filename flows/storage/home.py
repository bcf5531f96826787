"""The home: where everything lies that Nightjar keeps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

from flows.storage.location import join, plain_path, uri_of
from flows.storage.storage import Storage


@dataclass(frozen=True)
class Home:
    """Every location of a home. Those that any storage could hold are URIs; those that only a disk
    of this machine can, because SQLite, DuckDB or a process opens them by itself, are paths."""

    root: str
    """By its one real name, whatever links and `..` lead to it."""

    @classmethod
    def of(cls, folder: str | Path) -> Home:
        """The home in a folder, seen from the present working folder."""
        return cls(uri_of(os.path.realpath(folder)))

    def __str__(self) -> str:
        """As people are told of it."""
        return plain_path(self.root)

    @cached_property
    def storage(self) -> Storage:
        """What opens, lists and removes its files."""
        return Storage(self.root)

    @property
    def path(self) -> Path:
        """The folder itself, for what is told where the home is and opens files by itself."""
        return self.storage.local_path(self.root)

    # The lake and what runs leave.

    @property
    def lake(self) -> str:
        """Tables' metadata, and below it the data files of runs."""
        return join(self.root, "lake")

    @property
    def runs(self) -> str:
        """A folder per run, with what it leaves for looking into, and what outlives one run."""
        return join(self.root, "runs")

    def run(self, run_id: str, *names: str) -> str:
        """The folder of a run, or what lies in it: specs, reports and logs of its processes."""
        return join(self.runs, run_id, *names)

    def checkpoints(self, fingerprint: str) -> str:
        """Where a training that is killed left off: whichever night trains the same goes on."""
        return join(self.runs, f"training-{fingerprint}")

    @property
    def scoring(self) -> str:
        """What scorings that were killed have finished, a folder for each fingerprint."""
        return join(self.runs, "scoring")

    @property
    def retrieval(self) -> str:
        """What retrievals that were killed have finished, a folder for each fingerprint."""
        return join(self.runs, "retrieval")

    @property
    def ranking(self) -> str:
        """What rankings that were killed have finished, a folder for each fingerprint."""
        return join(self.runs, "ranking")

    @property
    def page_reasons(self) -> str:
        """Where the pages' process that gives reasons writes."""
        return join(self.runs, "pages")

    @property
    def models(self) -> str:
        """Artifacts that are scored with, a folder for each model."""
        return join(self.root, "models")

    def model(self, model_id: str) -> str:
        return join(self.models, model_id)

    @property
    def rankers(self) -> str:
        """What recommendations were ranked with, a folder for each day's, by
        `flows.learning.ranking.ranker_name`."""
        return join(self.root, "rankers")

    def ranker(self, name: str) -> str:
        return join(self.rankers, name)

    @property
    def content_models(self) -> str:
        """What content is scored with, a folder for each cut and what had landed before it."""
        return join(self.root, "content")

    def content_model(self, name: str) -> str:
        return join(self.content_models, name)

    @property
    def content_scoring(self) -> str:
        """What scorings of content that were killed have finished."""
        return join(self.runs, "content")

    @property
    def reports(self) -> str:
        """A page for each night."""
        return join(self.root, "reports")

    def report(self, as_of: date) -> str:
        return join(self.reports, f"{as_of}.html")

    def report_of_failure(self, as_of: date) -> str:
        """Of a night that failed, until the same night ends well."""
        return join(self.reports, f"{as_of}-failed.html")

    def report_of_backfill(self, first: date, last: date) -> str:
        return join(self.reports, f"backfill-{first}-to-{last}.html")

    def report_of_failed_backfill(self, first: date, last: date) -> str:
        """Of a backfill that failed, until one of the same days ends well."""
        return join(self.reports, f"backfill-{first}-to-{last}-failed.html")

    @property
    def mlflow_artifacts(self) -> str:
        """What MLflow keeps of trainings."""
        return join(self.root, "mlartifacts")

    @property
    def mlflow_artifacts_uri(self) -> str:
        """The same as MLflow writes URIs: percent-encoded."""
        return self.storage.local_path(self.mlflow_artifacts).as_uri()

    @property
    def mark(self) -> str:
        """Says which database the folder belongs to."""
        return join(self.root, "home.json")

    def simulated_logs(self, users: int) -> str:
        """The raw logs of `nightjar demo`."""
        return join(self.root, "demo", f"{users}-users")

    # What only a disk of this machine can hold.

    @property
    def analysts_file(self) -> Path:
        """The DuckDB file of views over the current release."""
        return self.path / "nightjar.duckdb"

    @property
    def database(self) -> Path:
        """SQLite's: receipts and releases."""
        return self.path / "nightjar.db"

    @property
    def mlflow_database(self) -> Path:
        return self.path / "mlflow.db"

    @property
    def tuning_database(self) -> Path:
        """SQLite's: trials of hyperparameters."""
        return self.path / "tune.db"

    @property
    def mlflow_accounts(self) -> Path:
        """SQLite's: who may use MLflow."""
        return self.path / "mlflow_accounts.db"

    @property
    def mlflow_accounts_settings(self) -> Path:
        return self.path / "mlflow_accounts.ini"

    @property
    def prefect(self) -> Path:
        """Prefect's own folder: its profile, database and results."""
        return self.path / "prefect"

    @property
    def logs(self) -> Path:
        """Of what `nightjar up` starts."""
        return self.path / "logs"

    def process_folder(self, run_id: str, *names: str) -> Path:
        """The folder of a run, for its processes, which write there by themselves."""
        return self.storage.local_path(self.run(run_id, *names))

    @property
    def scratch(self) -> Path:
        """Of Spark and of Java out of a wheel."""
        return self.path / "scratch"


def staging_folder(lake: str, run_id: str) -> str:
    """Where a run writes data files of a lake; they stay there once committed."""
    return join(data_files(lake), run_id)


def data_files(lake: str) -> str:
    """The data files of a lake, a folder for each run."""
    return join(lake, "files")


def catalogue_database(lake: str) -> Path:
    """SQLite's: where the tables of a lake are listed."""
    return Storage(lake).local_path(join(lake, "catalogue.db"))
