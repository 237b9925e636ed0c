"""Structured logs: a stable event name and identities as fields, one line each, on standard error."""

import sys

import structlog

_identity: dict[str, str] = {}


def identify(**fields: str) -> None:
    """Name this process in every line that any of its threads logs from now on."""
    _identity.update(fields)


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
