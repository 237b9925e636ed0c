"""Addresses of registries and names inside them, without any client."""

import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import make_url

from scoring.contract.errors import ConfigurationError

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")


def checked_name(text: str, what: str) -> str:
    """``text``, which names a model or an alias.

    Raises:
        ConfigurationError: it could reach something else: another folder, another filter.
    """
    if not _NAME.fullmatch(text):
        raise ConfigurationError(f"registry: {text!r} is not the name of {what}")
    return text


def checked_version(text: str) -> str:
    """``text``, which is a version's number.

    Raises:
        ConfigurationError: it is not.
    """
    if not is_version(text):
        raise ConfigurationError(f"registry: {text!r} is not a version's number")
    return text


def is_version(text: str) -> bool:
    """Whether ``text`` is a version's number."""
    return _NUMBER.fullmatch(text) is not None


def require_no_alias(aliases: Mapping[str, str], model: str, version: str) -> None:
    """Raise ConfigurationError where one of ``aliases`` (version by name) points at ``version``."""
    pointing = sorted(alias for alias, named in aliases.items() if named == version)
    if pointing:
        raise ConfigurationError(
            f"registry: version {version} of {model} is not deleted: the alias {pointing[0]} points at it; move that "
            "first"
        )


def shown(uri: str) -> str:
    """The address without its password."""
    return make_url(uri).render_as_string(hide_password=True)


def artifact_location(uri: str) -> str | None:
    """Where MLflow keeps files: beside a SQLite database; a server knows its own place.

    Raises:
        ConfigurationError: a SQLite address without a file.
    """
    if not uri.startswith("sqlite:"):
        return None
    database = make_url(uri).database
    if not database:
        raise ConfigurationError(f"registry: {uri} names no file; expected sqlite:////absolute/path.db")
    return (Path(database).resolve().parent / "artifacts").as_uri()
