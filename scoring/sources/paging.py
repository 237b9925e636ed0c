"""How the next page of an API is asked for. Pure: an answer in, the next request out."""

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from scoring.contract.errors import ConfigurationError
from scoring.contract.source import Cursor, NextLink, Offset, PageNumber, Paging
from scoring.sources.json_values import MISSING, at_path


class Request(msgspec.Struct, frozen=True):
    """One page to ask for.

    Attributes:
        parameters: of the query; of a link that an answer named they are part of it.
    """

    url: httpx.URL
    parameters: Mapping[str, str] | None = None


class Answer(msgspec.Struct, frozen=True):
    """One page.

    Attributes:
        document: the JSON.
        link: what its Link header names as the next page.
    """

    request: Request
    document: Any
    link: str | None
    items: int


def first_request(paging: Paging | None, url: httpx.URL, parameters: Mapping[str, str]) -> Request:
    """The request for the first page."""
    match paging:
        case PageNumber(parameter=name, first=first):
            return Request(url, {**parameters, name: str(first)})
        case Offset(limit=limit, parameter=name, limit_parameter=limit_name):
            return Request(url, {**parameters, name: "0", limit_name: str(limit)})
        case _:
            return Request(url, parameters)


def next_request(paging: Paging | None, answer: Answer, what: str) -> Request | None:
    """The request for the page after ``answer``; None: that was the last one.

    Args:
        what: names source and page in messages.

    Raises:
        ConfigurationError: the answer does not say what it should, or leads to another host or back to itself.
    """
    match paging:
        case None:
            _require_no_more(answer, what)
            return None
        case NextLink(path=path):
            return _follow(path, answer, what)
        case Cursor(path=path, parameter=name):
            return _point(path, name, answer, what)
        case PageNumber(parameter=name):
            return _count(name, 1, answer)
        case Offset(parameter=name):
            return _count(name, answer.items, answer)


def _require_no_more(answer: Answer, what: str) -> None:
    """Half of an answer is no answer."""
    if answer.link:
        raise ConfigurationError(f"{what}: its Link header names a next page; state the paging, NextLink()")


def _count(name: str, step: int, answer: Answer) -> Request | None:
    """A page may be shorter than was asked for; only an empty one is the end."""
    known = answer.request.parameters or {}
    if answer.items == 0:
        return None
    return Request(answer.request.url, {**known, name: str(int(known[name]) + step)})


def _point(path: str, name: str, answer: Answer, what: str) -> Request | None:
    cursor = at_path(answer.document, path)
    if cursor is MISSING or cursor is None or cursor == "":
        return None
    if isinstance(cursor, bool) or not isinstance(cursor, (str, int)):
        raise ConfigurationError(f"{what}: at {path!r} there is no cursor, neither a text nor a whole number")
    request = Request(answer.request.url, {**(answer.request.parameters or {}), name: str(cursor)})
    return _onwards(request, answer, what)


def _follow(path: str | None, answer: Answer, what: str) -> Request | None:
    link = answer.link if path is None else at_path(answer.document, path)
    if link is MISSING or link is None or link == "":
        return None
    if not isinstance(link, str):
        raise ConfigurationError(f"{what}: at {path!r} there is no address of the next page")
    here = _address(answer.request)
    try:
        url = here.join(link)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{what}: the address of its next page is none") from error
    if _origin(url) != _origin(here) or url.userinfo:
        raise ConfigurationError(
            f"{what}: its next page would be at {_told(url)}, another place than {_told(here)}; only "
            "this one is trusted"
        )
    return _onwards(Request(url), answer, what)


def _onwards(request: Request, answer: Answer, what: str) -> Request:
    if _address(request) == _address(answer.request):
        raise ConfigurationError(f"{what}: its next page would be the same one again")
    return request


def _address(request: Request) -> httpx.URL:
    return request.url if request.parameters is None else request.url.copy_merge_params(dict(request.parameters))


def _told(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode()}"  # without a user


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
