"""Structured logs: a stable event name and identities as fields, one line each, on standard error."""

import logging
import sys

import structlog

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
    def __init__(self, event: str) -> None:
        super().__init__()
        self._event = event

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a library's words on."""
        log = structlog.get_logger()
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say(self._event, said=record.getMessage())


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
