"""Sources that are HTTP APIs which answer in JSON, page by page."""

from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from scoring.contract.clock import rfc3339
from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError
from scoring.contract.source import Api, Offset, PageNumber, Paging
from scoring.lookups.database import Connections
from scoring.sources.address import ApiAddress, api_address
from scoring.sources.api_client import ApiClient
from scoring.sources.clock import REAL, Clock
from scoring.sources.deadline import Deadline
from scoring.sources.json_values import columns_of, items_at
from scoring.sources.paging import Answer, first_request, next_request
from scoring.sources.port import Pull, together, within


class ApiReader:
    """A ``Reader`` of HTTP APIs.

    Args:
        connections: the URL of a connection by its name, which holds the API's credentials (``address``).
    """

    def __init__(self, connections: Connections, clock: Clock = REAL) -> None:
        self._connections = connections
        self._clock = clock

    def read(self, pull: Pull) -> dict[str, Column]:
        """The fields of the items in ``[start, end)``, of all pages together (see ``Reader``)."""
        api = pull.source.origin
        if not isinstance(api, Api):
            raise TypeError(f"{pull.what} is no API")
        address = api_address(pull.source.connection, self._connections(pull.source.connection))
        deadline = Deadline(pull.what, pull.source.timeout_s, self._clock.s)
        with ApiClient(address, api.limits, pull.what, deadline, self._clock) as client:
            return together(pull, [within(pull, part) for part in _pages(pull, api, address, client)])


def _pages(pull: Pull, api: Api, address: ApiAddress, client: ApiClient) -> Iterator[dict[str, Column]]:
    request = first_request(api.paging, _url(pull, address, api), _parameters(pull, api))
    left_bytes = api.limits.maximum_bytes
    before: Sequence[Any] = ()
    for page in range(1, api.limits.maximum_pages + 1):
        what = f"{pull.what}, page {page}"
        document = client.get(request, left_bytes)
        left_bytes -= document.size_bytes
        items = items_at(document.content, api.items, what)
        _require_progress(api.paging, before, items, what)
        yield columns_of(pull, items, what)
        following = next_request(api.paging, Answer(request, document.content, document.link, len(items)), what)
        if following is None:
            return
        request, before = following, items
    raise ConfigurationError(
        f"{pull.what}: it has more than {api.limits.maximum_pages:,} pages; pull a shorter interval, or raise "
        "maximum_pages"
    )


def _require_progress(paging: Paging | None, before: Sequence[Any], items: Sequence[Any], what: str) -> None:
    """An API that does not know the parameter gives its first page for ever."""
    if items and items == before and isinstance(paging, PageNumber | Offset):
        raise ConfigurationError(
            f"{what}: its items are those of the page before; check that its parameter is {paging.parameter!r}"
        )


def _url(pull: Pull, address: ApiAddress, api: Api) -> httpx.URL:
    path = api.path.lstrip("/")
    try:
        return httpx.URL(f"{address.base.rstrip('/')}/{path}" if path else address.base)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{pull.what}: its connection's URL and its path make no address: {error}") from error


def _parameters(pull: Pull, api: Api) -> dict[str, str]:
    bounds = {"{start}": rfc3339(pull.start), "{end}": rfc3339(pull.end)}
    found = {}
    for name, text in api.parameters:
        value = text
        for sign, moment in bounds.items():
            value = value.replace(sign, moment)
        found[name] = value
    return found
