"""Files and environment, read once: `nightjar.toml`, then `NIGHTJAR_…`, the latter winning."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from contracts.days import MAX_DAYS
from contracts.errors import ContractError, UsageError
from contracts.history import TrainingDays
from contracts.misspelt import misspelt_variables
from contracts.ranking_config import RankingConfig
from contracts.surface_settings import configured
from contracts.surfaces import Surface
from contracts.train_config import TrainConfig, check_names
from flows.database_address import EXPECTED_ADDRESS, address_of, is_address
from flows.storage.home import Home
from flows.storage.location import ONLY_LOCAL, uri_of
from flows.storage.permissions import read_private
from jobs.spark.config import SparkConfig
from jobs.values.user_key import UserKey

CATALOGUE_VARIABLE = "PYICEBERG_CATALOG__NIGHTJAR__URI"
START_VARIABLE = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
WEIGHTS_VARIABLE = "NIGHTJAR_WEIGHTS_KEY"
CODE = Path(__file__).resolve().parent.parent
"""The folder that our packages lie in: a checkout, or an environment's `site-packages`."""
_OUR_FOLDERS = ("contracts", "flows", "jobs", "models", "tests")
"""Libraries may lie below it too: in an environment of its own, or beside us once installed."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""Paths lose one of the two slashes of an address, so one is enough to know it by."""

RENAMED = {"clean_cron": "housekeeping_cron"}
"""Settings by the names that they had in earlier versions."""
_SURFACES = "surfaces"
"""The kind of an error that says itself which surfaces it is about."""
_NOT_VALID = "the settings are not valid:"

HOW_TO_MAKE_A_KEY = """\
there is no user key. User ids leave the clean stage only as a keyed hash, so a run needs a key:
  nightjar new-key nightjar.key
  export NIGHTJAR_KEY_FILE=nightjar.key
Keep it: scores made under another key cannot be compared with these."""


def shipped(name: str) -> Path:
    """A file of `infra/`, such as `prefect.yaml`: it is installed with the code."""
    return Path(str(resources.files("infra") / name))


def own_code(file: str) -> Path | None:
    """Where a file of our own code lies beside the others; None: it is a library's."""
    path = Path(file)
    if not path.is_relative_to(CODE):
        return None
    inside = path.relative_to(CODE)
    return inside if inside.parts[:1] and inside.parts[0] in _OUR_FOLDERS else None


class NightjarSettings(BaseSettings):
    """Every setting, from `nightjar.toml` in the working folder and the environment."""

    model_config = SettingsConfigDict(
        env_prefix="NIGHTJAR_",
        env_nested_delimiter="__",
        toml_file="nightjar.toml",
        extra="forbid",
        env_parse_none_str="none",
        frozen=True,
    )

    home: Path = Field(default=Path(".nightjar"), validate_default=True)
    """Holds the lake, the catalogue, MLflow's database and artifacts."""
    source: Path | None = None
    """The mapping of the raw files."""
    raw: Path | None = None
    """The folder that the mapping's paths start from."""
    key: str | None = Field(default=None, repr=False)
    key_file: Path | None = None
    weights_key: str | None = Field(default=None, repr=False)
    weights_key_file: Path | None = None
    """With a key, 64 hex digits, the weights of models are encrypted at rest."""
    database_url: str | None = Field(default=None, repr=False)
    """Receipts and releases; None is SQLite in the home."""
    postgres_url: str | None = Field(default=None, repr=False)
    """A PostgreSQL server, `postgresql://user:password@host:5432`, for everything that would be
    SQLite: receipts, catalogue, Prefect's and MLflow's databases. The first command makes them."""
    spark: SparkConfig = SparkConfig()
    train: TrainConfig = TrainConfig()
    surfaces: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What surfaces do otherwise than `contracts/surfaces.py` says, by their names: fields of
    `Surface` and of its `policy`, and what an event is `worth`."""
    ranking: RankingConfig = RankingConfig()
    no_recommendations: bool = False
    """Whether nights leave recommendations out."""
    example_spacing_days: int = Field(default=14, ge=1, le=MAX_DAYS)
    """Days between the past as-of days that training uses."""
    example_max_days: int = Field(default=24, ge=1)
    """How many past as-of days training uses, at most."""
    min_history_days: int = Field(default=28, ge=1, le=MAX_DAYS)
    """Landed days that a past as-of day needs before it."""
    settle_days: int = Field(default=2, ge=0, le=MAX_DAYS)
    """Days after a label's window for late rows to land in."""
    max_quarantined_share: float | None = Field(default=0.5, ge=0, le=1)
    """Of a table's rows, and of those that one source has for it, what may be quarantined before a
    night stops; none turns it off."""
    max_quarantine_jump: float | None = Field(default=0.2, ge=0, le=1)
    """The share of a day's rows that a reason may drop beyond the most of the four weeks before."""
    max_users_lost: float | None = Field(default=0.1, ge=0, le=1)
    """The share of the last release's users that a new one may lack; none turns it off."""
    max_score_shift: float | None = Field(default=1.0, gt=0)
    """How far a task's scores may be from the last release's: a population stability index."""
    min_coverage: float | None = Field(default=0.001, ge=0, le=1)
    """The share of what a surface can show that its lists must hold, all of them together."""
    max_list_change: float | None = Field(default=0.95, ge=0, le=1)
    """The share of a user's list that may differ from the last release's, in the mean of users; a
    surface may say otherwise of its own (`[surfaces.posts]`). None turns it off."""
    max_same_lists: float | None = Field(default=0.9, ge=0, le=1)
    """The share of a surface's users with a history who may have the same first ten items."""
    max_calibration_drift: float | None = Field(default=0.5, gt=0)
    """How far, as a share of what then happened, published scores may be off on average before the
    night raises an alert; none turns it off."""
    no_train: bool = False
    """Whether nights leave training out: users are scored by the champion, if there is one, and
    else features and labels are published without scores."""
    failed_tasks: Literal["null", "base_rate"] = "null"
    """What is published of a task whose scores are not fit for it: null, or its base rate, the same
    for everybody and marked as such (`method_TASK`)."""
    chunk_days: int = Field(default=92, ge=1)
    """As-of days that a backfill computes, and commits, in one go."""
    keep_releases: int = Field(default=14, ge=2)
    """Releases that a rollback may reach; housekeeping expires the others' snapshots."""
    keep_snapshots: int = Field(default=5, ge=1)
    """Newest snapshots of each table that housekeeping keeps, needed or not."""
    keep_snapshot_days: float = Field(default=3, ge=0, le=MAX_DAYS)
    """Days that a snapshot nobody needs is kept."""
    keep_state_days: int | None = Field(default=35, ge=1, le=MAX_DAYS)
    """Days that `user_state` as of a day is kept; none keeps all. The newest three always stay."""
    keep_feature_days: int | None = Field(default=400, ge=1, le=MAX_DAYS)
    """Days that features as of a day are kept; days that training uses always stay."""
    keep_candidate_days: int | None = Field(default=100, ge=1, le=MAX_DAYS)
    """Days that candidates and lists as of a day are kept, and what both are made of: rankers learn
    from days up to 90 back. Days that tonight's learn from always stay, and the newest three."""
    keep_files_hours: float = Field(default=24, ge=0, le=24 * MAX_DAYS)
    """Hours before a file of ours that nothing reaches is removed: a run may yet commit it."""
    keep_run_days: float = Field(default=30, ge=0, le=MAX_DAYS)
    """Days that what runs leave for looking into is kept."""
    compact_after_days: int = Field(default=62, ge=31, le=MAX_DAYS)
    """Days after which whole months of daily files become a file per month."""
    files_per_day: int = Field(default=1, ge=1)
    """Files that a day of a table is written as."""
    score_processes: int | None = Field(default=None, ge=1)
    """Processes that score a day's users together; none: by the rows and the machine's cores."""
    nightly_cron: str = "0 4 * * *"
    """When the nightly deployment starts."""
    nightly_timezone: str = "UTC"
    release_due_cron: str = "0 8 * * *"
    """When the night's release must be there, in `nightly_timezone`; else the run
    `release-deadline` fails."""
    housekeeping_cron: str = "0 12 * * 0"
    """When housekeeping runs, in `nightly_timezone`."""
    pools: bool = False
    """Whether a night starts its parts on the work pools `spark` and `gpu` instead of in itself."""
    alert_webhook: SecretStr | None = None
    """Where alerts are posted, as JSON with a `text`: what Slack, Mattermost and Teams take."""
    alert_block: str | None = None
    """Instead of that, a notification block of Prefect's, such as `pager-duty-webhook/ops`."""
    prefect_start_seconds: int = Field(default=90, ge=1)
    """How long a command waits for the temporary server that Prefect starts where none runs."""
    prefect_port: int = 4200
    mlflow_port: int = 5000
    pages_port: int = 4300
    """Where `nightjar up` serves the analysts' pages."""
    pages_password: SecretStr | None = None
    """With it, the pages ask for the name `analyst` and this password."""
    operators_password: SecretStr | None = None
    """With it, Prefect and MLflow ask for the name `operator` and this password."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("home", "source", "raw", "key_file", "weights_key_file", mode="before")
    @classmethod
    def _is_on_a_file_system(cls, given: object) -> object:
        if _ADDRESS.match(str(given)):
            raise PydanticCustomError("address", ONLY_LOCAL, {"given": str(given)})
        return given

    @field_validator("train", mode="before")
    @classmethod
    def _is_in_its_group(cls, given: object) -> object:
        try:
            check_names(given if isinstance(given, Mapping) else {})
        except ContractError as error:
            raise PydanticCustomError("moved", "{why}", {"why": str(error)}) from None
        return given

    @field_validator("surfaces", mode="before")
    @classmethod
    def _are_surfaces(cls, given: object) -> object:
        try:
            configured(given if isinstance(given, dict) else {})
        except ContractError as error:
            raise PydanticCustomError(_SURFACES, "{why}", {"why": str(error)}) from None
        return given

    @field_validator("home")
    @classmethod
    def _can_be_written(cls, home: Path) -> Path:
        """The home by its one real name, whatever links and the working folder become.

        DuckDB cuts a path at `?`, Spark at commas, its launcher at quotes and backslashes; and
        Spark takes brackets and stars for patterns, which it reads as no file or as many.
        """
        real = os.path.realpath(home)
        odd = sorted({c for c in real if c in '*?[]{},"\\' or not c.isprintable()})
        if odd:
            raise PydanticCustomError(
                "home",
                "{home} holds {odd}, which DuckDB or Spark cannot have in a path: choose another",
                {"home": real, "odd": " ".join(map(repr, odd))},
            )
        return Path(real)

    @cached_property
    def home_folder(self) -> Home:
        """Where everything lies in the home, and the storage that all share who ask for it."""
        return Home(uri_of(self.home))

    @property
    def has_raw_logs(self) -> bool:
        """Whether the mapping and the folder of raw files are set, and lie where they are said
        to."""
        return (
            self.source is not None
            and self.raw is not None
            and self.source.is_file()
            and self.raw.is_dir()
        )

    def raw_logs(self, what: str) -> tuple[Path, Path]:
        """The mapping, and the folder of raw files.

        Args:
            what: What needs them, such as "a run".

        Raises:
            UsageError: one is not set, or there is no such folder.
        """
        if self.source is None or self.raw is None:
            raise UsageError(
                f"{what} needs a mapping and a folder of raw files: --source MAPPING.toml --raw DIR"
            )
        if not self.raw.is_dir():
            raise UsageError(f"{self.raw}: no such folder of raw files")
        return self.source, self.raw.absolute()

    @cached_property
    def configured_surfaces(self) -> tuple[Surface, ...]:
        """Every surface, as the settings have it."""
        return configured(self.surfaces)

    @property
    def training_days(self) -> TrainingDays:
        """Which past days training uses."""
        return TrainingDays(
            self.example_spacing_days, self.example_max_days, self.min_history_days,
            self.settle_days,
        )  # fmt: skip

    @property
    def receipts_url(self) -> str:
        if self.database_url is None and self.postgres_url is not None:
            return self.postgres("nightjar")
        return self.database_url or f"sqlite:///{self.home_folder.database}"

    @property
    def mlflow_url(self) -> str:
        if self.postgres_url is not None:
            return self.postgres("nightjar_mlflow")
        return f"sqlite:///{self.home_folder.mlflow_database}"

    def postgres(self, database: str, driver: str = "psycopg") -> str:
        """The address of a database on the PostgreSQL server, for SQLAlchemy."""
        if self.postgres_url is None:
            raise UsageError("postgres_url is not set")
        return address_of(self.postgres_url, database, driver)

    def user_key(self) -> UserKey:
        """The key that user ids are hashed with.

        Raises:
            UsageError: there is none, or its file is open to others.
        """
        if self.key is not None:
            return UserKey(self.key.strip().encode())
        if self.key_file is None:
            raise UsageError(HOW_TO_MAKE_A_KEY)
        return UserKey(read_private(self.key_file, "user key").encode())

    def key_of_weights(self) -> str | None:
        """The key that models' weights are sealed with, as hex digits; None leaves them open.

        Raises:
            UsageError: its file is open to others.
        """
        if self.weights_key is not None or self.weights_key_file is None:
            return self.weights_key
        return read_private(self.weights_key_file, "weights' key")


def given_path(path: Path) -> Path:
    """A path that is given to a command beside the settings.

    Raises:
        UsageError: it is an address.
    """
    if _ADDRESS.match(str(path)):
        raise UsageError(ONLY_LOCAL.format(given=path))
    return path


def read_settings(**given: object) -> NightjarSettings:
    """Settings with what was given on the command line on top.

    Raises:
        UsageError: a value is out of range or a name unknown, and all of them are named; or
            `nightjar.toml` is not TOML.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    renamed = [_renamed(name) for name in RENAMED if f"NIGHTJAR_{name}".upper() in os.environ]
    misspelt = renamed + misspelt_variables(os.environ, NightjarSettings.model_fields)
    if misspelt:  # those of the environment are ignored otherwise
        raise UsageError("\n".join([_NOT_VALID, *misspelt]))
    try:
        settings = NightjarSettings(**chosen)  # type: ignore[arg-type]
        if settings.postgres_url is not None:  # pyiceberg looks nowhere else
            if not is_address(settings.postgres_url):
                raise UsageError(f"{_NOT_VALID}\n  postgres_url: {EXPECTED_ADDRESS}")
            os.environ.setdefault(CATALOGUE_VARIABLE, settings.postgres("nightjar"))
        os.environ.setdefault(START_VARIABLE, str(settings.prefect_start_seconds))
        return settings
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"nightjar.toml: expected TOML in UTF-8, found: {error}") from None
    except ValidationError as error:
        lines = [line for e in error.errors() for line in _lines_of(e)]
        raise UsageError("\n".join([_NOT_VALID, *lines])) from None


def _lines_of(error: ErrorDetails) -> list[str]:
    """A problem of a setting, by its name; of surfaces, which say which, a line for each."""
    name, message = ".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, ")
    if name in RENAMED:
        return [_renamed(name)]
    if error["type"] == _SURFACES:
        return [f"  {line}" for line in message.split("\n")]
    return [f"  {name}: {message}"]


def _renamed(name: str) -> str:
    return f"  {name}: is called {RENAMED[name]} now"


def configure_libraries(home: Home) -> None:
    """Have Prefect and MLflow keep their files in the home and send no telemetry, unless the
    environment says otherwise."""
    defaults = {
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    home.storage.make_folder(os.environ["PREFECT_HOME"])
