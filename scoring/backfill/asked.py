"""What a backfill is asked for."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from scoring.backfill.refusals import BackfillRefused
from scoring.contract.clock import Moment, rfc3339
from scoring.contract.decoding import decodable
from scoring.contract.digest import digest_of
from scoring.contract.errors import ConfigurationError
from scoring.contract.notice import MODEL_NAME, ModelName

NAME = r"[a-z0-9][a-z0-9_]{0,30}"
_DERIVED_CHARACTERS = 12


class Origin(StrEnum):
    """Where the records come from."""

    SOURCES = "sources"
    TOPIC = "topic"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are to be scored, and with what.

    Attributes:
        start, end: event times ``[start, end)``, in UTC.
        version: None takes the one that was champion at each record's event time.
        allow_lookahead: also score with a version that saw the period, and mark the rows.
        chunk_s: length of a chunk, in seconds; None: as the number of records suggests.
    """

    model: ModelName
    start: Moment
    end: Moment
    version: str | None = None
    origin: Origin = Origin.SOURCES
    allow_lookahead: bool = False
    chunk_s: int | None = None

    @property
    def period(self) -> str:
        """The period, for people."""
        return f"{rfc3339(self.start)} to {rfc3339(self.end)}"


decodable(Asked)


def asked_for(model: str, start: datetime, end: datetime, **more: object) -> Asked:
    """What is asked for, held against the rules.

    Raises:
        ConfigurationError: lists every mistake.
    """
    if start.tzinfo is None or end.tzinfo is None:
        raise ConfigurationError("backfill: the period's moments need an offset from UTC, such as 2013-04-01T00:00:00Z")
    values = {"model": model, "start": start.astimezone(UTC), "end": end.astimezone(UTC), **more}
    asked = Asked(**values)  # type: ignore[arg-type]  # the caller's names are checked by its own signature
    mistakes = list(_mistakes(asked))
    if mistakes:
        raise ConfigurationError("backfill:\n" + "\n".join(f"  - {line}" for line in mistakes))
    return asked


def _mistakes(asked: Asked) -> Iterator[str]:
    if not re.match(MODEL_NAME, asked.model):
        yield f"{asked.model!r} cannot be a model's name"
    if not asked.start < asked.end:
        yield f"the period {asked.period} is empty; its end must lie after its start"
    if asked.chunk_s is not None and asked.chunk_s < 1:
        yield f"a chunk of {asked.chunk_s} s is too short; the least is one second"


def name_of(asked: Asked, given: str | None) -> str:
    """The backfill's name within its model: the one that is given, or one that equal questions have in common.

    Raises:
        ConfigurationError: it cannot be part of a table's name.
    """
    if given is None:
        return digest_of(msgspec.json.encode(asked, order="deterministic"))[:_DERIVED_CHARACTERS]
    if not re.fullmatch(NAME, given):
        raise ConfigurationError(f"--name {given!r}: up to 31 lower-case letters, digits and underscores")
    return given


def refused(asked: Asked, reasons: list[str]) -> BackfillRefused:
    """The refusal with all its reasons."""
    lines = "\n".join(f"  - {line}" for line in reasons)
    return BackfillRefused(f"{asked.model}: {asked.period} cannot be scored as asked for:\n{lines}")
