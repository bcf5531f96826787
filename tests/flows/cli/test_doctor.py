"""Whether what is installed is what a night needs."""

from __future__ import annotations

import importlib.metadata

import pytest

from flows.cli.doctor import Check, packages

REQUIREMENTS = [
    'pyspark[connect]==4.1.4; extra == "spark"',
    'torch==2.13.0; extra == "train"',
    'optuna==5.0.0; extra == "tune"',
    'prefect==3.8.8; extra == "serve"',
    'sqlalchemy==2.0.58; extra == "serve"',
    'pyspark-client<4.2,>=4.1; extra == "connect"',
    'psycopg[binary]>=3.2; extra == "postgres"',
]
WHOLE = {
    "pyspark": "4.1.4", "torch": "2.13.0", "optuna": "5.0.0", "prefect": "3.8.8",
    "sqlalchemy": "2.0.58",
}  # fmt: skip


@pytest.fixture
def install(monkeypatch):
    def versions(of: dict[str, str]) -> None:
        def version(name: str) -> str:
            if name not in of:
                raise importlib.metadata.PackageNotFoundError(name)
            return of[name]

        monkeypatch.setattr(importlib.metadata, "version", version)

    return versions


def test_a_whole_installation_has_all_four_extras(install) -> None:
    install(WHOLE)
    assert packages(REQUIREMENTS, is_slim=False) == Check(
        "packages", True, "of spark, train, tune, serve: all there"
    )


def test_what_is_absent_or_of_another_version_is_named(install) -> None:
    """With SQLAlchemy 2.1 schedules never fire, and everything else looks well."""
    install({name: v for name, v in WHOLE.items() if name != "optuna"} | {"sqlalchemy": "2.1.0"})
    assert packages(REQUIREMENTS, is_slim=False) == Check(
        "packages",
        False,
        "optuna is not installed, sqlalchemy: expected ==2.0.58, found 2.1.0; run `make setup`, or "
        "pip install nightjar",
    )


def test_a_machine_of_one_kind_says_which_extras_it_has(install) -> None:
    install({"prefect": "3.8.8", "sqlalchemy": "2.0.58", "torch": "2.13.0"})
    assert packages(REQUIREMENTS, is_slim=True) == Check(
        "packages", False, "of train, serve; a night needs serve, and spark or connect"
    )
    install({"prefect": "3.8.8", "sqlalchemy": "2.0.58", "pyspark-client": "4.1.3"})
    assert packages(REQUIREMENTS, is_slim=True) == Check("packages", True, "of serve, connect")
