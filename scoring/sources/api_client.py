"""Asks an HTTP API for one JSON document at a time: at a limited rate, again after a failure, and never without end."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, Self

import httpx
import msgspec
import tenacity

from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.source import ApiLimits
from scoring.sources.address import ApiAddress
from scoring.sources.bucket import Bucket
from scoring.sources.clock import REAL, Clock
from scoring.sources.deadline import Deadline
from scoring.sources.paging import Request

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
# An API that wants a longer pause than this is left alone until whoever called tries again.
LONGEST_RETRY_AFTER_S = 300.0
_HEADERS = {"accept": "application/json", "user-agent": "baton"}
_LATER = {408, 425, 429}


class Document(msgspec.Struct, frozen=True):
    """A JSON answer.

    Attributes:
        link: what its Link header names as the next page.
        size_bytes: of the body, unpacked.
    """

    content: Any
    link: str | None
    size_bytes: int


class _Again(Exception):
    """A request failed in a way that may pass; never leaves this module.

    Attributes:
        pause_s: what the API asks for.
    """

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class ApiClient:
    """A client of one API, within one read. A context manager.

    Args:
        what: names the source in messages.
    """

    def __init__(
        self, address: ApiAddress, limits: ApiLimits, what: str, deadline: Deadline, clock: Clock = REAL
    ) -> None:
        self._limits = limits
        self._what = what
        self._deadline = deadline
        self._clock = clock
        self._bucket = Bucket(limits.requests_per_s, clock_s=clock.s, sleep=self._pause)
        self._client = httpx.Client(headers={**_HEADERS, **address.authorization}, follow_redirects=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, request: Request, maximum_bytes: int) -> Document:
        """The answer to a request, asked for up to ``attempts`` times.

        Raises:
            Unavailable: it cannot be had now, or not within the time.
            ConfigurationError: the API refuses the request or the credentials, or answers with something else than
                JSON or with more than ``maximum_bytes``.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_after_attempt(self._limits.attempts),
            wait=self._wait_s,
            sleep=self._pause,
            reraise=True,
        )
        try:
            return retrying(self._ask, request, maximum_bytes)
        except _Again as error:
            tries = f"asked {self._limits.attempts} times"
            raise Unavailable(f"{self._what}: {error}, {tries}; retry later") from error.__cause__

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        """Twice as long each time, half of it by chance; never shorter than the API asks for."""
        longest_s = min(FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1), LONGEST_PAUSE_S)
        error = state.outcome.exception() if state.outcome is not None else None
        asked_s = error.pause_s if isinstance(error, _Again) else 0.0
        return max(asked_s, longest_s * (0.5 + 0.5 * self._clock.jitter()))

    def _pause(self, seconds: float) -> None:
        if seconds >= self._deadline.left_s:
            raise Unavailable(f"{self._what}: the next request would have to wait {seconds:.0f} s; retry later")
        self._clock.sleep(seconds)

    def _ask(self, request: Request, maximum_bytes: int) -> Document:
        self._bucket.take()
        self._deadline.check()
        timeout_s = min(self._limits.request_timeout_s, self._deadline.left_s)
        parameters = None if request.parameters is None else dict(request.parameters)
        try:
            with self._client.stream("GET", request.url, params=parameters, timeout=timeout_s) as response:
                self._judge(response)
                return self._read(response, maximum_bytes)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Again(f"the connection failed ({type(error).__name__})") from error

    def _judge(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.OK:
            return
        if status in _LATER or response.is_server_error:
            raise _Again(f"the API answers {status}", self._retry_after_s(response))
        self._refuse(response)

    def _refuse(self, response: httpx.Response) -> NoReturn:
        """A refusal's body is not repeated: it may repeat what we sent."""
        status = response.status_code
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            told = "it does not let us in; check the credentials in its connection's URL"
        elif response.is_redirect:
            told = "it sends us elsewhere; give its connection the address that it has now"
        else:
            told = "check path and parameters"
        raise ConfigurationError(f"{self._what}: the API answers {status} at {response.url.path!r}: {told}")

    def _retry_after_s(self, response: httpx.Response) -> float:
        """The pause that the API asks for (RFC 9110, 10.2.3); 0 where it does not."""
        pause_s = _seconds(response.headers.get("retry-after", ""), self._clock.now())
        if pause_s > LONGEST_RETRY_AFTER_S:
            asks = f"the API answers {response.status_code} and asks us to wait {pause_s:.0f} s"
            raise Unavailable(f"{self._what}: {asks}; retry then")
        return pause_s

    def _read(self, response: httpx.Response, maximum_bytes: int) -> Document:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            self._deadline.check()
            if len(body) > maximum_bytes:
                raise ConfigurationError(
                    f"{self._what}: its answers are longer than {self._limits.maximum_bytes:,} bytes in all; pull a "
                    "shorter interval, or raise maximum_bytes"
                )
        link = response.links.get("next", {}).get("url")
        return Document(self._decoded(response, bytes(body)), link, len(body))

    def _decoded(self, response: httpx.Response, body: bytes) -> Any:
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if "json" in response.headers.get("content-type", "json"):  # cut short, most likely
                raise _Again("the API answers with broken JSON") from error
            raise ConfigurationError(f"{self._what}: the API does not answer in JSON; check its path") from error


def _seconds(text: str, now: datetime) -> float:
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
