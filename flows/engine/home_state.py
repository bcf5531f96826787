"""What a run works with: the home's database and lake, and what they say of its stages."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, select

from flows.engine.fingerprints import Fingerprints
from flows.lake.lake import Lake
from flows.state.raw_file_hashes import RawFileHashes
from flows.state.receipts import Receipts
from jobs.stage import Settings


@dataclass(frozen=True)
class HomeState:
    """The home's database and lake; receipts as they were when it was read, and those that this
    run has written since."""

    engine: Engine
    lake: Lake
    receipts: Receipts
    hashes: RawFileHashes
    fingerprints: Fingerprints

    @classmethod
    def read(cls, engine: Engine, lake: Lake, job_settings: Settings) -> HomeState:
        """Read all receipts."""
        receipts = Receipts(engine)
        hashes, fingerprints = RawFileHashes(engine), Fingerprints(receipts, job_settings)
        return cls(engine, lake, receipts, hashes, fingerprints)

    def check_database(self) -> None:
        """Before work that could not be kept.

        Raises:
            OperationalError: the database does not answer.
        """
        with self.engine.connect() as connection:
            connection.execute(select(1))
