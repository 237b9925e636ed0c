"""The plan of a backfill: which version scores which events, and the chunks in which it is done. Pure functions."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from math import ceil

import msgspec

from scoring.backfill.asked import Asked
from scoring.backfill.lookahead import Span
from scoring.contract.clock import EPOCH, from_epoch_s
from scoring.contract.decoding import decodable
from scoring.contract.errors import ConfigurationError

A_DAY_S = 86_400
LENGTHS_S = (364 * A_DAY_S, 84 * A_DAY_S, 28 * A_DAY_S, 7 * A_DAY_S, A_DAY_S, 21_600, 3_600, 600, 60, 1)
"""Of chunks whose length nobody states, longest first."""
FITTING_RECORDS = 20_000
"""Of such a chunk, on average at the most: many enough that a chunk costs little, few enough for several processes."""


def fitting_s(records: int | None, period_s: float) -> int:
    """The length of a chunk, in seconds; a day where nobody knows how many records there are."""
    if records is None:
        return A_DAY_S
    return next((s for s in LENGTHS_S if records * min(s / period_s, 1.0) <= FITTING_RECORDS), LENGTHS_S[-1])


MAXIMUM_CHUNKS = 250_000
"""Of a plan: each is in memory in every process, and known by name to whatever keeps the rows."""


class Offsets(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets ``[first, end)`` of a partition."""

    partition: int
    first: int
    end: int


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """What is read, scored and kept in one go.

    Attributes:
        number: its place in the plan; the order of the output.
        start, end: event times ``[start, end)``.
        span: the version that scores it.
        offsets: where its records stand in the input topic; None of one that is read from the sources.
    """

    number: int
    start: datetime
    end: datetime
    span: Span
    offsets: Offsets | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides the output, but for the records themselves.

    Attributes:
        spans: in the order of time.
        chunk_s: length of a chunk, in seconds; chunks begin at its multiples since 1970.
        topic_id: of the input topic, where the records come from that; with the offsets that it had then.
    """

    asked: Asked
    spans: tuple[Span, ...]
    chunk_s: int = A_DAY_S
    topic_id: str | None = None
    offsets: tuple[Offsets, ...] = ()

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that score, in the order in which they come."""
        return tuple(dict.fromkeys(span.version for span in self.spans))

    def chunks(self) -> list[Chunk]:
        """The chunks in their order: each is of one span, and none depends on who scores it.

        Raises:
            ConfigurationError: they are more than ``MAXIMUM_CHUNKS``.
        """
        self._require_few()
        parts = _of_topic(self) if self.topic_id is not None else _of_time(self.spans, self.chunk_s)
        return [msgspec.structs.replace(chunk, number=number) for number, chunk in enumerate(parts)]

    def _require_few(self) -> None:
        """Reckoned before any of them is made."""
        if self.topic_id is not None:
            many = len(self.offsets) * len(self.spans)
            remedy = "ask for a shorter period, of fewer versions, or name one with --version"
        else:
            many = sum(ceil((span.end - span.start).total_seconds() / self.chunk_s) for span in self.spans)
            remedy = "give a longer --chunk, or ask for a shorter period"
        if many > MAXIMUM_CHUNKS:
            raise ConfigurationError(
                f"backfill: {self.asked.period} makes {many:,} chunks, and {MAXIMUM_CHUNKS:,} is the most; {remedy}"
            )

    def encode(self) -> str:
        """The plan as JSON; equal plans are equal texts."""
        return msgspec.json.encode(self, order="deterministic").decode()


decodable(Plan)


def decode_plan(text: str) -> Plan:
    """Read a plan that ``Plan.encode`` wrote."""
    return msgspec.json.decode(text, type=Plan)


def _of_time(spans: Sequence[Span], chunk_s: int) -> Iterator[Chunk]:
    """Each span, cut at the multiples of ``chunk_s`` since 1970."""
    for span in spans:
        start = span.start
        while start < span.end:
            end = min(_next_multiple(start, chunk_s), span.end)
            yield Chunk(number=0, start=start, end=end, span=span)
            start = end


def _next_multiple(moment: datetime, chunk_s: int) -> datetime:
    elapsed = moment - EPOCH
    try:
        return from_epoch_s((elapsed.days * 86_400 + elapsed.seconds) // chunk_s * chunk_s + chunk_s)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)  # no span ends later


def _of_topic(plan: Plan) -> Iterator[Chunk]:
    """Event times come in any order: each part of a partition is read once for each span."""
    for offsets in plan.offsets:
        for span in plan.spans:
            yield Chunk(number=0, start=span.start, end=span.end, span=span, offsets=offsets)
