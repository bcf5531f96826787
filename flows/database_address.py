"""Addresses of databases on a PostgreSQL server."""

from __future__ import annotations

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

_GIVES_UP = {
    "connect_timeout": "10",  # seconds, as of the next two
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",  # milliseconds
}
"""When a PostgreSQL server counts as away that is silent and refuses nothing, as of a machine that
lost its network: libpq itself would wait for hours."""

EXPECTED_ADDRESS = (
    "expected postgresql://user:password@host:port, with %40 for an @ in the password, %2F for a "
    "/, %3A for a :"
)
"""What to write where an address is none, without what it holds: that may be the password."""


def address_of(server: str, database: str, driver: str) -> str:
    """The address of a database on a server, for SQLAlchemy."""
    address = make_url(server).set(drivername=f"postgresql+{driver}", database=database)
    if driver == "psycopg":
        address = address.set(query={**_GIVES_UP, **address.query})
    return address.render_as_string(hide_password=False)


def is_address(url: str) -> bool:
    """Whether it is the address of a server, and no part of the password is taken for the host."""
    try:
        server = make_url(url)
        return server.host is not None and "@" not in server.host
    except (ArgumentError, ValueError):
        return False
