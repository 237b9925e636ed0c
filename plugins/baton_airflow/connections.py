"""Airflow's own connections, where a definition names one that Baton's settings do not have.

They come with whatever Airflow keeps them in: its database, variables, or a secrets back-end. A connection becomes the
URL that ``docs/reference/settings.md`` describes, and its secrets stay out of every message.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from scoring.contract.errors import ConfigurationError

# SQLAlchemy's names for what Airflow calls otherwise; the drivers are those that the training side installs.
_DIALECTS = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
_STORES = {"aws": "s3", "s3": "s3"}
URL, TOKEN = "url", "token"
"""What an extra may hold: the whole URL, for what is not made of the other parts, and an API's bearer token."""


class Kept(Protocol):
    """What is needed of Airflow's ``Connection``."""

    conn_type: str | None
    host: str | None
    login: str | None
    password: str | None
    port: int | None
    schema: str | None

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The extra as an object."""


def from_airflow(name: str) -> str | None:
    """The URL of Airflow's connection ``name``; None where Airflow has none of that name.

    Raises:
        ConfigurationError: it is there, but no URL can be made of it.
    """
    try:
        return url_of(name, Connection.get(name))
    except AirflowNotFoundException:
        return None


def url_of(name: str, kept: Kept) -> str:
    """The URL of a connection of Airflow.

    Raises:
        ConfigurationError: its type is none that Baton reads, or its host is missing.
    """
    extra = kept.extra_dejson
    if extra.get(URL):
        return str(extra[URL])
    kind = (kept.conn_type or "").lower().replace("-", "_")
    make: Callable[[Kept, str, Mapping[str, Any]], str] = {"http": _api, "https": _api}.get(kind, _database)
    if kind in _STORES:
        make = _store
    elif kind != "sqlite" and not kept.host:
        raise ConfigurationError(f"connection {name!r}: Airflow's connection has no host; give it one")
    return make(kept, kind, extra)


def _api(kept: Kept, kind: str, extra: Mapping[str, Any]) -> str:
    """Airflow writes the scheme as part of the host, or as the schema; the path behind the host stays."""
    written = str(kept.host)
    scheme, apart, rest = written.partition("://")
    if not apart:
        scheme, rest = kept.schema or kind, written
    host, slash, path = rest.rstrip("/").partition("/")
    token = extra.get(TOKEN)
    credentials = f"{_quoted(token)}@" if token else _login(kept)
    return f"{scheme}://{credentials}{host}{_port(kept)}{slash}{path}"


def _database(kept: Kept, kind: str, extra: Mapping[str, Any]) -> str:
    """A file of SQLite is Airflow's host; ``driver`` in the extra names another than the usual one."""
    if kind == "sqlite":
        return f"sqlite:///{kept.host or ''}"
    dialect = _DIALECTS.get(kind, kind)
    driver = extra.get("driver")
    dialect = f"{dialect.partition('+')[0]}+{driver}" if driver else dialect
    asked = {key: value for key, value in extra.items() if key != "driver" and isinstance(value, str | int)}
    options = f"?{urlencode(asked)}" if asked else ""
    return f"{dialect}://{_login(kept)}{kept.host}{_port(kept)}/{_quoted(kept.schema or '')}{options}"


def _store(kept: Kept, kind: str, extra: Mapping[str, Any]) -> str:
    """Key and secret of an object store; ``endpoint_url`` in the extra leads to another than Amazon's."""
    endpoint = extra.get("endpoint_url")
    options = f"?{urlencode({'endpoint_url': endpoint})}" if endpoint else ""
    return f"{_STORES[kind]}://{_login(kept)}{options}"


def _login(kept: Kept) -> str:
    if not kept.login and not kept.password:
        return ""
    password = "" if kept.password is None else f":{_quoted(kept.password)}"
    return f"{_quoted(kept.login or '')}{password}@"


def _port(kept: Kept) -> str:
    return f":{kept.port}" if kept.port else ""


def _quoted(text: object) -> str:
    return quote(str(text), safe="")
