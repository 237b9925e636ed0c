"""Structured logs: a stable event name and identities as fields, one line each, on standard error."""

import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Callable

import structlog

# For so long a library's lines that are alike but for their numbers are counted and not said.
_SILENCE_S = 10.0
_KINDS = 1_000
_NUMBERS = re.compile(r"\d+")
_identity: dict[str, str] = {}


def identify(**fields: str) -> None:
    """Name this process in every line that any of its threads logs from now on."""
    _identity.update(fields)


def library_log(event: str) -> logging.Logger:
    """A logger to hand to a library that logs by itself: what it says becomes structured lines of this event."""
    logger = logging.getLogger(f"baton.{event}")
    if not logger.handlers:
        logger.addHandler(_Structured(event))
        logger.propagate = False
        logger.setLevel(logging.INFO)
    return logger


class _Structured(logging.Handler):
    """Says what is alike but for its numbers once in a while: a client tells of each try to reach a broker."""

    def __init__(self, event: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._event = event
        self._clock_s = clock_s
        self._silent_until_s: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a library's words on."""
        said = record.getMessage()
        kind, now_s = _NUMBERS.sub("", said), self._clock_s()
        if now_s < self._silent_until_s.get(kind, now_s):
            self._left_out[kind] += 1
            return
        if len(self._silent_until_s) >= _KINDS:
            self._silent_until_s.clear()
        self._silent_until_s[kind] = now_s + _SILENCE_S
        like_it = {"left_out": count} if (count := self._left_out.pop(kind, 0)) else {}
        log = structlog.get_logger()
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say(self._event, said=said, **like_it)


def configure_logging(log_format: str) -> None:
    """Set up structlog: ``json`` for machines, ``console`` for people."""
    renderer = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            _add_identity,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # a cached logger would outlive a later call of this function
    )


def _add_identity(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Structlog's own context variables belong to one thread; what names the process holds for all of them."""
    return {**_identity, **event}
