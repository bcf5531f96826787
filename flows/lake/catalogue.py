"""Where the lake's tables are listed: beside its files, or on the server that the settings name."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError
from pyiceberg.utils.config import Config

from contracts.errors import UsageError
from flows.state.postgres import make_database
from flows.state.schema import close_when_dropped, make_at_once
from flows.storage.home import catalogue_database
from flows.storage.location import plain_path

NAMESPACE = "nightjar"


def open_catalogue(lake: str) -> Catalog:
    """The catalogue of the lake at a location, made where it is missing.

    Raises:
        UsageError: its files would not lie under `lake`.
    """
    properties: dict[str, Any] = {
        "type": "sql",
        "uri": f"sqlite:///{catalogue_database(lake)}",
        "warehouse": lake,
        "pool_pre_ping": "true",  # a server that was away meanwhile has broken what was open
    }
    properties |= Config().get_catalog_config(NAMESPACE) or {}
    warehouse = str(properties["warehouse"])
    if "://" in plain_path(warehouse):
        raise UsageError(
            f"the catalogue's warehouse is {warehouse}, but runs stage their files under "
            f"{plain_path(lake)}, and both must lie together so far: leave the warehouse out"
        )
    return make_at_once(lambda: _with_namespace(properties))


def _with_namespace(properties: Mapping[str, Any]) -> Catalog:
    """The catalogue, made with its namespace where it is missing."""
    if str(properties.get("uri", "")).startswith("postgresql"):
        make_database(str(properties["uri"]))
    catalog = load_catalog(NAMESPACE, **properties)
    if isinstance(catalog, SqlCatalog):
        close_when_dropped(catalog.engine)
        catalog.engine.dispose()  # with what it looked for its tables
    with contextlib.suppress(NamespaceAlreadyExistsError):
        catalog.create_namespace(NAMESPACE)
    return catalog
