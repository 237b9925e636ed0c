"""The entrance: what every request passes first. Who asks, whether there is room, and what became of it.

It is the outermost part of the application, so that what is refused costs little: under more load than can be carried
most requests are.
"""

import hmac
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scoring.api.hand import Hand
from scoring.api.metrics import ApiMetrics
from scoring.api.problems import MEDIA_TYPE, Kind, Problem
from scoring.api.tokens import Scope as Allowed
from scoring.api.tokens import TokenFile
from scoring.contract.prediction import CORRELATION_HEADERS

Headers = Mapping[bytes, bytes]
ASKED = "baton"
"""Under this key of its scope the application finds what is asked."""
OPEN_PATHS = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""What probes ask for, without a token."""
_SCORING = re.compile(
    r"/v1/models/(?P<model>[^/]+)/(?P<name>score)"
    r"|/v2/models/(?P<served>[^/]+)(?:/versions/(?P<version>[^/]+))?/(?P<other>infer)"
)
_REPEATED = frozenset(name.encode() for name in CORRELATION_HEADERS)
_LENGTH_DIGITS = 20  # of a number of 64 bits; zeros may stand before it without end
_GONE = 499  # nobody's standard, but everybody's habit: the client did not wait for the answer
log = structlog.get_logger()


class Asked(msgspec.Struct, kw_only=True, gc=False):
    """What is known of a request from its head.

    Attributes:
        operation: which way of scoring is asked for; empty for everything else.
        model, version: what is to score, where scoring is asked for.
        trusted: whether a token was shown that allows it.
        began_s: when its head came, by ``time.perf_counter``.
        size_bytes: of the body, as far as the head tells; else the most that it may have.
        status: what it was answered with; 0 as long as it is not.
        problem: the code of the problem that it was answered with.
    """

    headers: Headers
    began_s: float
    size_bytes: int
    operation: str = ""
    model: str = ""
    version: str | None = None
    trusted: bool = False
    status: int = 0
    problem: str = ""


class Entrance:
    """Lets requests through to the application.

    Args:
        app: answers what does not ask for scores.
        score: answers what does. Finding its way through the application's routes and middleware would take it longer
            than being scored.
        metrics_token: also allows to read the metrics; None where there is none.
        request_bytes: how large a body may be.
        operation: what the application was asked, once it has found out.
    """

    def __init__(
        self,
        app: ASGIApp,
        score: Callable[[Asked, Request], Awaitable[Response]],
        *,
        tokens: TokenFile,
        metrics_token: str | None,
        hand: Hand,
        metrics: ApiMetrics,
        request_bytes: int,
        operation: Callable[[Scope], str],
    ) -> None:
        self._app = app
        self._score = score
        self._tokens = tokens
        self._metrics_token = metrics_token
        self._hand = hand
        self._metrics = metrics
        self._request_bytes = request_bytes
        self._operation = operation

    def at_once(self, scope: Scope, came_s: float) -> Response | None:
        """Take a request in hand; or the answer, where its head alone says that there is nothing to be had.

        Under more load than can be carried most requests end here: nothing was made for them, and nobody waited.

        Args:
            came_s: when its head came, by ``time.perf_counter``.
        """
        asked = scope[ASKED] = self._asked(scope, came_s)
        try:
            self._admit(scope["path"], asked)
        except Problem as problem:
            return self._refused(problem, scope, asked)
        except Exception:
            log.exception("request.failed", operation=asked.operation)
            return self._refused(unexpected(), scope, asked)
        return None

    def _refused(self, problem: Problem, scope: Scope, asked: Asked) -> Response:
        answer = refusal(problem, scope)
        asked.status = answer.status_code
        answer.raw_headers.extend(self._always(asked))
        self._count(asked, scope)
        return answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, which ``at_once`` may have taken in hand already."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if ASKED not in scope and (answer := self.at_once(scope, time.perf_counter())) is not None:
            await answer(scope, receive, send)
            return
        asked: Asked = scope[ASKED]

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                asked.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._always(asked)]
            await send(message)

        try:
            await self._answer(scope, receive, telling, asked)
        except Problem as problem:
            await refusal(problem, scope)(scope, receive, telling)
        except ClientDisconnect:
            asked.status = _GONE
        except Exception:
            log.exception("request.failed", operation=asked.operation)
            if not asked.status:
                await refusal(unexpected(), scope)(scope, receive, telling)
        finally:
            if asked.operation:
                self._hand.answered(asked.size_bytes)
            self._count(asked, scope)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, asked: Asked) -> None:
        if asked.operation:
            answer = await self._score(asked, Request(scope, receive))
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _always(self, asked: Asked) -> list[tuple[bytes, bytes]]:
        """What every answer has: nobody keeps it, and it names the request as the request does."""
        repeated = [(name, value) for name, value in asked.headers.items() if name in _REPEATED]
        closing = [(b"connection", b"close")] if self._leaves_a_body(asked) else []
        return [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"), *repeated, *closing]

    def _leaves_a_body(self, asked: Asked) -> bool:
        """Whether more of a body may come than anybody wants to read to its end."""
        unread = b"transfer-encoding" in asked.headers or asked.size_bytes > self._request_bytes
        wanted = asked.operation and asked.status < HTTPStatus.BAD_REQUEST
        return asked.status == HTTPStatus.REQUEST_TIMEOUT or (unread and not wanted)

    def _count(self, asked: Asked, scope: Scope) -> None:
        name = asked.operation or self._operation(scope)
        self._metrics.answered(name, asked.status, time.perf_counter() - asked.began_s)
        if asked.problem:
            self._metrics.problems[asked.problem] += 1

    def _asked(self, scope: Scope, came_s: float) -> Asked:
        headers: Headers = dict(scope["headers"])
        if sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
            headers = {**headers, b"authorization": b""}  # who stands in front may have looked at the other one
        length = headers.get(b"content-length", b"")
        size_bytes = int(length) if length.isdigit() and len(length) <= _LENGTH_DIGITS else self._request_bytes
        asked = Asked(headers=headers, began_s=came_s, size_bytes=size_bytes)
        found = _SCORING.fullmatch(scope["path"]) if scope["method"] == "POST" else None
        if found is not None:
            asked.operation, asked.model = found["name"] or found["other"], found["model"] or found["served"]
            asked.version = found["version"]
        return asked

    def _admit(self, path: str, asked: Asked) -> None:
        """Take it in hand, where scores are asked for.

        Raises:
            Problem: it may not ask for this, or there is no room.
        """
        self._authorise(path, asked)
        if not path.isprintable():
            # The application's routes end before a last line feed; the entrance would not have seen what is asked for.
            raise Problem(Kind.NOT_FOUND, "no path has a control character in it")
        if not asked.operation:
            return
        if asked.size_bytes > self._request_bytes:
            raise too_large(self._request_bytes)
        self._hand.take(asked.size_bytes)

    def _authorise(self, path: str, asked: Asked) -> None:
        """Note whether a token allows it.

        Raises:
            Problem: it takes one.
        """
        authorization = asked.headers.get(b"authorization", b"").decode("latin-1")
        token = self._tokens.holder(authorization)
        if path == "/metrics" and self._metrics_token is not None:
            asked.trusted = hmac.compare_digest(authorization.encode(), f"Bearer {self._metrics_token}".encode())
        needed = _needed(path, scoring=bool(asked.operation))
        asked.trusted |= token is not None and not needed.isdisjoint(token.scopes)
        if asked.trusted or path in OPEN_PATHS:
            return
        if token is None:
            raise Problem(Kind.NO_TOKEN, "send Authorization: Bearer TOKEN; `baton api token` makes one")
        scopes = " or ".join(sorted(needed))
        raise Problem(Kind.WRONG_SCOPE, f"the token of {token.name} lacks the scope {scopes}", needed=sorted(needed))


def refusal(problem: Problem, scope: Scope) -> Response:
    """The answer that tells of a problem."""
    asked: Asked = scope[ASKED]
    asked.problem = problem.kind.code
    body = problem.document(inference=scope["path"].startswith("/v2"))
    return Response(body, problem.kind.status, headers=problem.headers, media_type=MEDIA_TYPE)


def unexpected() -> Problem:
    """Something that nobody expected."""
    return Problem(Kind.INTERNAL, "the log says more; ask again")


def too_large(limit: int) -> Problem:
    """A body that is larger than one may be."""
    sentence = f"the body is too large, BATON_API_REQUEST_BYTES allows {limit} bytes; send the records in several"
    return Problem(Kind.TOO_LARGE, sentence, limit=limit)


def _needed(path: str, *, scoring: bool) -> frozenset[Allowed]:
    """The scopes any of which allows to ask for a path. Who may score may also look at what there is to score with."""
    if scoring:
        return frozenset({Allowed.SCORE})
    if path == "/v2" or path.startswith(("/v2/", "/livez", "/readyz")):
        return frozenset({Allowed.READ, Allowed.SCORE})
    return frozenset({Allowed.READ})
