"""What is handed to processes: one frozen dataclass per command of `models`, and one for a job of
Spark as a program of its own. Both sides use them.

`contracts/spec_json.py` writes and reads them. Paths are texts, for that is what crosses over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import ClassVar, Literal

from contracts.inputs import USER_INPUTS, Inputs
from contracts.ranking_config import RankingConfig
from contracts.surfaces import SURFACES, Surface
from contracts.tasks import Task
from contracts.train_config import TrainConfig

TRACKING_VARIABLE = "NIGHTJAR_TRACKING_URI"
"""Where training logs to. The address may hold a password, so it stands in no spec."""


@dataclass(frozen=True)
class Spec:
    """What one process is asked for."""

    command: ClassVar[str]
    """Its name: `python -m models COMMAND SPEC REPORT`."""

    @property
    def threads(self) -> int:
        """Torch threads of each process."""
        return 1

    @property
    def processes(self) -> int:
        """Processes that share the work."""
        return 1


@dataclass(frozen=True)
class JobSpec:
    """One Spark job of some days: `python -m jobs NAME SPEC REPORT`."""

    inputs: Mapping[str, tuple[str, ...]]
    """Table to the Parquet files with its rows, perhaps none, of each that the job reads."""
    days: tuple[date, ...]
    folder: str
    """Where the files are written, a folder for each table."""
    mapping: str
    """The TOML file that says how raw files fill the clean tables."""
    known_until: date
    settle_days: int
    raw: str | None = None
    """The raw folder, where lookups may lie that are not beside the mapping; None: they all are."""
    surfaces: tuple[Surface, ...] = SURFACES
    """Every surface, as the settings have it."""
    ranking: RankingConfig = field(default_factory=RankingConfig)


@dataclass(frozen=True)
class DatasetSpec:
    """A table that a run has read, as MLflow shows it."""

    name: str
    snapshot: str
    location: str


@dataclass(frozen=True)
class MlflowRunSpec:
    """As what to log a training to MLflow."""

    experiment: str
    artifact_location: str
    name: str
    datasets: tuple[DatasetSpec, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainSpec(Spec):
    """Train, calibrate and test one model."""

    command: ClassVar[str] = "train"

    files: tuple[str, ...]
    """Parquet files of the table `examples`."""
    as_ofs: tuple[date, ...]
    known_until: date
    settle_days: int
    tasks: tuple[str, ...]
    config: TrainConfig
    folder: str
    """Where the artifact and figures go."""
    first_as_of: Mapping[str, date] = field(default_factory=dict)
    """Task to the first day that has history enough of what it is labelled from; of a task that is
    not named all days have."""
    champion: str | None = None
    """Folder of the champion's artifact, to compare with."""
    champion_withheld: Mapping[str, str] = field(default_factory=dict)
    """Tasks of the champion that earlier nights found unfit to be published, and why."""
    run: MlflowRunSpec | None = None
    """The MLflow run to log to; None logs nothing."""
    inputs: Inputs = USER_INPUTS
    """Columns to learn from."""
    single_task_twins: bool = False
    """Whether each task is trained alone as well, to see whether sharing helps it."""
    checkpoints: str | None = None
    """Where training leaves its state, and goes on from; None is a folder within `folder`."""

    @property
    def threads(self) -> int:
        return self.config.machine.threads

    @property
    def processes(self) -> int:
        return self.config.machine.devices

    def as_ofs_of(self, task: Task) -> tuple[date, ...]:
        """The days that have history enough of what a task is labelled from."""
        first = self.first_as_of.get(task.name, date.min)
        return tuple(day for day in self.as_ofs if day >= first)


@dataclass(frozen=True)
class ScoreDay:
    """One day of which every user is scored."""

    files: tuple[str, ...]
    """Parquet files of `user_features`, all of one `as_of`."""
    as_of: date
    model: str | None
    """Folder of the artifact; None: there is no model, and every score is null."""
    release_id: str
    path: str
    """The Parquet file to write; of several shards the others stand beside it, numbered."""
    scratch: str
    """Where intermediate files lie, and stay until somebody removes the folder."""
    threads: int = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "cpu"
    failed_tasks: Literal["null", "base_rate"] = "null"
    """What stands in for the scores of a task that is not fit to be published."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Tasks that nights after the model's own found unfit to be published, and why."""


@dataclass(frozen=True)
class ScoreDaysSpec(Spec):
    """Score several days, one after the other."""

    command: ClassVar[str] = "score"

    days: tuple[ScoreDay, ...]
    processes: int = 1
    """Each scores its shards of every day."""

    @property
    def threads(self) -> int:
        return max((day.threads for day in self.days), default=1)


@dataclass(frozen=True)
class ScoreboardDay:
    """A day whose scores are compared with its labels: files that hold its rows."""

    as_of: date
    scores: tuple[str, ...]
    labels: tuple[str, ...]
    features: tuple[str, ...]
    tasks: tuple[str, ...]
    """Those whose windows have closed."""


@dataclass(frozen=True)
class ScoreboardSpec(Spec):
    """Compare published scores with what then happened."""

    command: ClassVar[str] = "scoreboard"

    days: tuple[ScoreboardDay, ...]


@dataclass(frozen=True)
class TableDay:
    """A day of a released table that declares a function for its rows."""

    as_of: date
    files: Mapping[str, tuple[str, ...]]
    """Table to the Parquet files with its rows as of that day, of each that is read."""
    release_id: str
    """The release that first publishes the rows."""
    path: str
    """The Parquet file to write."""


@dataclass(frozen=True)
class TableSpec(Spec):
    """Write days of a released table with the function that it declares."""

    command: ClassVar[str] = "table"

    table: str
    days: tuple[TableDay, ...]


@dataclass(frozen=True)
class RetrieveDay:
    """A day as of which models of items and users are fitted, and retrieve candidates."""

    as_of: date
    items: tuple[str, ...]
    """Parquet files of `rec_items` as of the day."""
    histories: tuple[str, ...]
    """Parquet files of `rec_histories` as of the day."""
    path: str
    """The Parquet file of `rec_retrieved` to write."""
    scratch: str
    """Where the rows of each surface lie, and stay until somebody removes the folder."""


@dataclass(frozen=True)
class RetrieveSpec(Spec):
    """Fit retrieval models as of days, and write what they retrieve for each user.

    `models.retrieval.retrieve:retrieve_days` reports `days`, of each its `rows`.
    """

    command: ClassVar[str] = "retrieve"

    surfaces: tuple[Surface, ...]
    days: tuple[RetrieveDay, ...]
    config: RankingConfig


@dataclass(frozen=True)
class RankInputs:
    """What is known as of one day: Parquet files of each table."""

    as_of: date
    items: tuple[str, ...]
    histories: tuple[str, ...]
    popular: tuple[str, ...]
    candidates: tuple[str, ...]
    retrieved: tuple[str, ...]
    user_features: tuple[str, ...]


@dataclass(frozen=True)
class RankDay:
    """A day as of which every user gets a list on every surface."""

    inputs: RankInputs
    past: tuple[RankInputs, ...]
    """Earlier days to learn from, each at least a horizon before the day; oldest first."""
    interactions: tuple[str, ...]
    """Files of `interactions` that landed before the day and may hold what happened from the first
    of the past days on."""
    champion: str | None
    """Folder of the ranker of the current release; None: there is none."""
    folder: str
    """Where the ranker goes."""
    release_id: str
    path: str
    """The Parquet file of `rec_lists` to write; those of other shards and surfaces stand beside
    it."""
    scratch: str
    """Where the ranker and lists of each surface lie, and stay until somebody removes the
    folder."""


@dataclass(frozen=True)
class RankSpec(Spec):
    """Fit rankers as of days, and write every user's lists.

    `models.ranking.rank:rank_days` reports `days`: of each its `rows`, the `paths` written, and by
    surface `surfaces`, what was learnt and why.
    """

    command: ClassVar[str] = "rank"

    surfaces: tuple[Surface, ...]
    days: tuple[RankDay, ...]
    config: RankingConfig


@dataclass(frozen=True)
class RecOutcomesDay:
    """A day whose lists are compared with what then happened."""

    as_of: date
    lists: tuple[str, ...]
    items: tuple[str, ...]
    histories: tuple[str, ...]
    user_features: tuple[str, ...]
    interactions: tuple[str, ...]
    """Files of `interactions` that may hold what happened in the windows from the day on."""
    surfaces: tuple[str, ...]
    """Those whose windows have closed."""


@dataclass(frozen=True)
class RecOutcomesSpec(Spec):
    """Compare released recommendations with what then happened.

    `models.ranking.outcomes:compare_days` reports `days`, of each its rows of `rec_outcomes`.
    """

    command: ClassVar[str] = "rec_outcomes"

    surfaces: tuple[Surface, ...]
    days: tuple[RecOutcomesDay, ...]


@dataclass(frozen=True)
class LateDataSpec(Spec):
    """Compare one model's scores on features as they were and as they are known now."""

    command: ClassVar[str] = "late_data"

    as_was: tuple[str, ...]
    """Files of scores on features as they were known at the midnight."""
    as_now: tuple[str, ...]
    """Files of scores on features as they are known of it now."""
    labels: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class ExplainSpec(Spec):
    """Name the features that moved a user's scores most."""

    command: ClassVar[str] = "explain"

    rows: str
    """A Parquet file of features, whose first row is explained."""
    background: tuple[str, ...]
    """Files of features of the users whose mean it is compared with."""
    model: str
    """Folder of the artifact."""
    withheld: Mapping[str, str] = field(default_factory=dict)
    """Tasks that are not published, and why."""
    n: int = 3
    """Features per task."""


@dataclass(frozen=True)
class TuneSpec(Spec):
    """Search for better settings."""

    command: ClassVar[str] = "tune"

    train: TrainSpec
    storage: str
    """URL of the database that keeps the trials."""
    name: str
    """Of what is compared: searches of the same name and settings go on from each other."""
    seconds: float
    trials: int

    @property
    def threads(self) -> int:
        return self.train.threads
