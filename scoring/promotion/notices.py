"""The notices on Kafka: what the topic says now, and the head of the ledger published onto it (protocol A.7, A.8)."""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol
from uuid import UUID

import msgspec

from scoring.contract.envelope import Keyring
from scoring.contract.errors import EnvelopeRejected, Rejection
from scoring.contract.notice import Notice, unseal_notice
from scoring.contract.topics import NOTICES
from scoring.kafka import Options, Tail, headers_of
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.publisher import publish_head


class NoticeState(StrEnum):
    """The newest record of a model on the topic, held against the ledger's head. Only ``current`` is right."""

    CURRENT = "current"
    ABSENT = "absent"
    TOMBSTONE = "tombstone"
    REJECTED = "rejected"
    OTHER_LEDGER = "other-ledger"
    BEHIND = "behind"
    DIFFERENT = "different"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The newest record of one model.

    Attributes:
        notice: None where it must not be believed; ``rejection`` then says why.
    """

    offset: int
    notice: Notice | None = None
    rejection: Rejection | None = None

    def state(self, head: LedgerEntry, ledger: UUID) -> NoticeState:
        """Hold it against the head of ``ledger``."""
        if self.notice is None:
            return NoticeState.TOMBSTONE if self.rejection is Rejection.TOMBSTONE else NoticeState.REJECTED
        if self.notice.ledger != ledger:
            return NoticeState.OTHER_LEDGER
        if self.notice.sequence < head.sequence:
            return NoticeState.BEHIND
        return NoticeState.CURRENT if self.notice == head.notice(ledger) else NoticeState.DIFFERENT


class NoticeBoard(Protocol):
    """Where notices stand, for those who compare and repair."""

    def newest(self) -> dict[str, Seen]:
        """The newest record of each key."""
        ...

    def publish_head(self, model: str) -> LedgerEntry | None:
        """Publish the ledger's head of ``model``; None where it has none.

        Raises:
            Fenced: another publisher of the model took over; compare again.
        """
        ...


class KafkaNotices:
    """The notice board on ``baton.notices``."""

    def __init__(
        self,
        kafka: Options,
        keyring: Keyring,
        ledger: Ledger,
        *,
        topic: str = NOTICES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kafka = kafka
        self._keyring = keyring
        self._ledger = ledger
        self._topic = topic
        self._clock = clock

    def newest(self) -> dict[str, Seen]:
        """The newest committed record of each key, its signature checked."""
        found: dict[str, Seen] = {}
        with Tail(self._kafka, {self._topic: None}) as tail:
            for message in tail.to_end(clock=self._clock):
                key, offset = message.key(), message.offset()
                name = (key or b"").decode("utf-8", "replace")
                try:
                    notice = unseal_notice(key, message.value(), headers_of(message), self._keyring)
                    found[name] = Seen(offset=offset or 0, notice=notice)
                except EnvelopeRejected as error:
                    found[name] = Seen(offset=offset or 0, rejection=error.reason)
        return found

    def publish_head(self, model: str) -> LedgerEntry | None:
        """Publish the ledger's head in a transaction that fences every earlier publisher of the model."""
        return publish_head(model, self._ledger, self._keyring, self._kafka, topic=self._topic, clock=self._clock)
