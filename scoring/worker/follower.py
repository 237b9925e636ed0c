"""The follower thread: reads ``baton.notices`` and passes the newest believable notice of each model on (A.7, A.8)."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from uuid import UUID

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from scoring.contract.envelope import Keyring
from scoring.contract.errors import EnvelopeRejected, Rejection, sentence
from scoring.contract.notice import Notice, unseal_notice
from scoring.contract.topics import NOTICES
from scoring.kafka import headers_of

POLL_S = 0.2
STOP_PATIENCE_S = 5.0
log = structlog.get_logger()


class Follower:
    """Reads all notices from the beginning at every start: the topic is compacted, one partition and small.

    Nothing is passed on before the end was reached once, so that a worker that missed ten notices goes straight to
    the newest. Sequences of two ledgers mean different things and are never compared: of each ledger the newest
    counts, and without a ledger to follow the one that wrote last (protocol A.7).

    Args:
        followed: the ledger that this worker follows; None before its first notice.
        caught_up: called when all notices that there are were passed on.
    """

    def __init__(
        self,
        consumer: Callable[[], Consumer],
        keyring: Keyring,
        offer: Callable[[Notice], None],
        followed: Callable[[], UUID | None],
        caught_up: Callable[[], None],
    ) -> None:
        self._consumer = consumer
        self._keyring = keyring
        self._offer = offer
        self._followed = followed
        self._told_caught_up = caught_up
        self._newest: dict[tuple[str, UUID], Notice] = {}
        self._last: dict[str, UUID] = {}
        self._caught_up = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self.rejected: Counter[str] = Counter()  # what was not believed since the start, by reason

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(STOP_PATIENCE_S)

    def _run(self) -> None:
        consumer = self._consumer()
        # Zero and not "the beginning": where that is the client asks the leader, whom it does not know yet, and again
        # only half a second later. Where zero is gone it goes on with the oldest there is.
        consumer.assign([TopicPartition(NOTICES, 0, 0)])
        while not self._stop.is_set():
            message = consumer.poll(POLL_S)
            if message is not None:
                self._take(message)
        consumer.close()

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self._read(message)
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the client's public name for it
            self._caught_up = True
        else:
            log.warning("notices.unreadable", error=error.str())
        if self._caught_up:
            for notice in self._due():
                self._offer(notice)
            self._newest.clear()
            self._last.clear()
        if error is not None and self._caught_up:
            self._told_caught_up()

    def _due(self) -> Iterator[Notice]:
        """Per model the newest of the ledger that is followed, then the one of another ledger that wrote last."""
        followed = self._followed() or next(reversed(self._last.values()), None)
        for model, last in self._last.items():
            for ledger in dict.fromkeys((followed, last)):
                if ledger is not None and (model, ledger) in self._newest:
                    yield self._newest[model, ledger]

    def _read(self, message: Message) -> None:
        try:
            notice = unseal_notice(message.key(), message.value(), headers_of(message), self._keyring)
        except EnvelopeRejected as error:
            self._reject(error.reason, message, str(error))
            return
        except Exception as error:  # whatever somebody else's message makes a library raise must not end this thread
            self._reject(Rejection.MALFORMED, message, f"{type(error).__name__}: {error}")
            return
        self._last.pop(notice.model, None)  # the model whose notice came last stands last
        self._last[notice.model] = notice.ledger
        older = self._newest.get((notice.model, notice.ledger))
        if older is None or older.sequence < notice.sequence:
            self._newest[notice.model, notice.ledger] = notice

    def _reject(self, reason: Rejection, message: Message, why: str) -> None:
        """Count it; say it the first time and then ever more rarely, so that a flood of them does not fill the log."""
        self.rejected[reason.value] += 1
        count = self.rejected[reason.value]
        if count & (count - 1) == 0:
            log.warning("notice.rejected", reason=reason.value, count=count, offset=message.offset(), why=sentence(why))
