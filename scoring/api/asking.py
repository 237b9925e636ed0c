"""What the operations read of a request: its body and its deadline."""

import asyncio
import time

from starlette.requests import Request

from scoring.api.entrance import ASKED, Asked, too_large
from scoring.api.problems import Kind, Problem

DEADLINE_HEADER = b"x-request-deadline-ms"


def asked_of(request: Request) -> Asked:
    """What the entrance noted."""
    found: Asked = request.scope[ASKED]
    return found


def deadline_of(asked: Asked, ordinary_ms: int, longest_ms: int) -> float:
    """When the request has to be answered, by the event loop's clock; it began when its head came.

    Raises:
        Problem: the header holds no number of milliseconds, or they were over before the head was read.
    """
    text = asked.headers.get(DEADLINE_HEADER)
    if text is None:
        allowed_ms = ordinary_ms
    elif text.isdigit() and len(text) < 10 and int(text) > 0:
        allowed_ms = min(int(text), longest_ms)
    else:
        raise Problem(Kind.MALFORMED, "X-Request-Deadline-Ms must be a number of milliseconds, such as 250")
    since_s = time.perf_counter() - asked.began_s
    if since_s * 1_000 >= allowed_ms:
        sentence = f"it waited for {since_s * 1_000:.0f} ms before it was read; ask again, or ask another process"
        raise Problem(Kind.OUT_OF_REACH, sentence)
    return asyncio.get_running_loop().time() - since_s + allowed_ms / 1_000


async def body_of(request: Request, limit_bytes: int, deadline_s: float) -> bytes:
    """The body.

    Raises:
        Problem: it is too large, packed, not to be found, or does not arrive in time.
    """
    asked = asked_of(request)
    if asked.headers.get(b"content-encoding", b"identity") != b"identity":
        raise Problem(Kind.MEDIA_TYPE, "a body must not be compressed")
    pieces, size = [], 0
    try:
        async with asyncio.timeout_at(deadline_s):
            async for piece in request.stream():
                size += len(piece)
                if size > limit_bytes:
                    raise too_large(limit_bytes)
                pieces.append(piece)
    except TimeoutError:
        raise Problem(Kind.TOO_SLOW, f"{size} bytes of the body arrived within the deadline") from None
    if not size and asked.size_bytes and b"upgrade" in asked.headers:
        raise Problem(Kind.MALFORMED, "no body is read where another protocol is asked for; send no Upgrade header")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def media_type_of(asked: Asked) -> str:
    """The body's type without its parameters."""
    return asked.headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
