"""The addresses that connections hold for APIs and object stores. Their secrets stay out of every message.

``https://TOKEN@api.example.org/v1`` sends a bearer token, ``https://USER:PASSWORD@api.example.org/v1`` is basic
authentication. ``s3://KEY:SECRET@?endpoint_url=https%3A%2F%2Fminio.example.org`` gives a store's credentials, and
further options of its fsspec file system; a value that is JSON is read as such. All parts are percent-encoded.
Files on a web server take the forms of an API.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from scoring.contract.errors import ConfigurationError

# What a header can carry; a client's own refusal of anything else would repeat it.
_VISIBLE = re.compile(r"[!-~]+")
_CREDENTIALS = {"s3": ("key", "secret"), "s3a": ("key", "secret"), "abfs": ("account_name", "account_key")}
_USUAL_CREDENTIALS = ("username", "password")


class ApiAddress(msgspec.Struct, frozen=True):
    """Where an API is, and what lets us in.

    Attributes:
        base: its URL without credentials.
        user, password: of basic authentication; a token has neither.
    """

    base: str
    token: str | None = None
    user: str | None = None
    password: str | None = None

    @property
    def authorization(self) -> Mapping[str, str]:
        """The header that lets us in (RFC 6750, RFC 7617); none where nothing is needed."""
        if self.token is not None:
            return {"authorization": f"Bearer {self.token}"}
        if self.user is None:
            return {}
        pair = b64encode(f"{self.user}:{self.password or ''}".encode()).decode()
        return {"authorization": f"Basic {pair}"}

    def __repr__(self) -> str:
        return f"ApiAddress({self.base!r})"


def api_address(connection: str, url: str) -> ApiAddress:
    """The address in a connection's URL.

    Raises:
        ConfigurationError: it is no http or https URL, or its credentials cannot be sent; they are not repeated.
    """
    parts = _split(connection, url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"connection {connection!r}: its URL must begin with https:// and name a host")
    if parts.query or parts.fragment:
        raise ConfigurationError(
            f"connection {connection!r}: its URL must end with the path; parameters are a source's"
        )
    base = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    user, password = _credentials(parts)
    if password is not None:
        return ApiAddress(base, user=user or "", password=password)
    if user is not None and not _VISIBLE.fullmatch(user):
        raise ConfigurationError(f"connection {connection!r}: its token holds characters that no header can carry")
    return ApiAddress(base, token=user)


def storage_options(connection: str, url: str, place: str) -> Mapping[str, Any]:
    """The options of an fsspec file system in a connection's URL.

    Args:
        place: the URL of the files.

    Raises:
        ConfigurationError: it is no URL, or that of another web server than the files are on.
    """
    parts = _split(connection, url)
    if parts.scheme in {"http", "https"}:
        if not place.startswith(f"{parts.scheme}://") or urlsplit(place).netloc != parts.netloc.rpartition("@")[2]:
            raise ConfigurationError(f"connection {connection!r}: it leads to another host than the files are on")
        return {"client_kwargs": {"headers": api_address(connection, url).authorization}}
    names = _CREDENTIALS.get(parts.scheme, _USUAL_CREDENTIALS)
    credentials = zip(names, _credentials(parts), strict=True)
    options = {name: value for name, value in credentials if value}
    return {**options, **{name: _value(text) for name, text in parse_qsl(parts.query)}}


def _split(connection: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    if not parts.scheme:
        raise ConfigurationError(f"connection {connection!r}: what it is set to is no URL") from None
    return parts


def _credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    user, password = parts.username, parts.password
    return (unquote(user) if user else None), (None if password is None else unquote(password))


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
