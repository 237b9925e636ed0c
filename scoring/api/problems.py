"""Why a request is not answered as it asked to be: problem documents (RFC 9457) with stable types."""

from collections.abc import Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any

import msgspec

MEDIA_TYPE = "application/problem+json"
# After so long it is worth to ask again: a full queue of the default size is empty well before.
RETRY_AFTER_S = 1


class Kind(Enum):
    """Every kind of problem: its code, its status and its title. Codes are stable: they are metric labels."""

    MALFORMED = "malformed-request", HTTPStatus.BAD_REQUEST, "The request cannot be read"
    NO_TOKEN = "no-token", HTTPStatus.UNAUTHORIZED, "There is no token, or none that is known"
    WRONG_SCOPE = "wrong-scope", HTTPStatus.FORBIDDEN, "The token does not allow this"
    NOT_FOUND = "not-found", HTTPStatus.NOT_FOUND, "There is no such thing here"
    UNKNOWN_MODEL = "unknown-model", HTTPStatus.NOT_FOUND, "This model is not served here"
    NOT_LIVE = "version-not-live", HTTPStatus.NOT_FOUND, "This version does not score now"
    WRONG_METHOD = "wrong-method", HTTPStatus.METHOD_NOT_ALLOWED, "This cannot be asked for by that method"
    NO_OUTCOME = "no-outcome", HTTPStatus.CONFLICT, "There is no outcome that could be explained"
    TOO_SLOW = "body-too-slow", HTTPStatus.REQUEST_TIMEOUT, "The request did not arrive within its deadline"
    RETIRED = "retired", HTTPStatus.GONE, "The model is out of service"
    TOO_LARGE = "too-large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The request is too large"
    MEDIA_TYPE = "wrong-media-type", HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The request is of a type that is not read"
    UNSCORABLE = "unscorable", HTTPStatus.UNPROCESSABLE_ENTITY, "Some records cannot be scored"
    QUEUE_FULL = "queue-full", HTTPStatus.TOO_MANY_REQUESTS, "As much is in hand as there may be"
    INTERNAL = "internal", HTTPStatus.INTERNAL_SERVER_ERROR, "Something that nobody expected"
    NOT_READY = "not-ready", HTTPStatus.SERVICE_UNAVAILABLE, "No version of the model is live here yet"
    UNAVAILABLE = "unavailable", HTTPStatus.SERVICE_UNAVAILABLE, "What the answer needs cannot be reached now"
    OUT_OF_REACH = "deadline-out-of-reach", HTTPStatus.SERVICE_UNAVAILABLE, "The deadline cannot be met"
    LATE = "deadline-passed", HTTPStatus.GATEWAY_TIMEOUT, "The deadline passed before the answer was there"

    def __init__(self, code: str, status: HTTPStatus, title: str) -> None:
        """A kind.

        Args:
            code: the stable word.
            status: that it is answered with.
            title: what it is, in a sentence.
        """
        self.code = code
        self.status = status
        self.title = title


_AGAIN = {Kind.QUEUE_FULL, Kind.NOT_READY, Kind.UNAVAILABLE, Kind.OUT_OF_REACH, Kind.LATE}


class Problem(Exception):
    """A request that is not answered as it asked to be.

    Args:
        detail: what happened to which thing, and what to do next; never a record's content.
        members: further members of the document.

    Attributes:
        headers: what goes with the document.
    """

    def __init__(self, kind: Kind, detail: str, **members: Any) -> None:
        super().__init__(f"{kind.code}: {detail}")
        self.kind = kind
        self.detail = detail
        self.members = members
        self.headers: Mapping[str, str] = {}
        if kind is Kind.NO_TOKEN:
            self.headers = {"WWW-Authenticate": 'Bearer realm="baton"'}
        elif kind in _AGAIN:
            self.headers = {"Retry-After": str(RETRY_AFTER_S)}

    def document(self, *, inference: bool = False) -> bytes:
        """The body of the answer.

        Args:
            inference: clients of the Open Inference Protocol look for the sentence under ``error``.
        """
        error = {"error": self.detail} if inference else {}
        kind = self.kind
        return msgspec.json.encode(
            {
                "type": f"urn:baton:problem:{kind.code}",
                "title": kind.title,
                "status": kind.status,
                "detail": self.detail,
                **error,
                **self.members,
            }
        )
