"""What the clients of Kafka's control topics share: options, errors by what the caller can do, topics' ids."""

# ruff: noqa: SLF001 - the names of the client's own error codes begin with an underscore

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from operator import methodcaller
from typing import Any, Self, TypeVar, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from scoring.contract.clock import epoch_ms
from scoring.contract.errors import BatonError, ConfigurationError, Unavailable

Options = Mapping[str, Any]
RecordHeaders = list[tuple[str, bytes | None]]
Answer = TypeVar("Answer")

# Stands for headers that the client cannot read, because a name is not UTF-8.
UNREADABLE = ("baton-unreadable-headers", None)
# Not ``message.headers()``: from hot code the interpreter calls that without checking for errors, and the client then
# hands out a null pointer in place of a name that is not UTF-8.
_read_headers = methodcaller("headers")

TIMEOUT_S = 30.0
# Describing is the first thing that every command does: a broker that is away shows here.
ADMIN_TIMEOUT_S = 10.0
# Every request has a timeout of its own; this only guards against an answer that is never delivered.
PATIENCE_S = 60.0
# librdkafka writes to standard error where nobody takes its log; commands answer with one line instead.
_log = logging.getLogger("baton.kafka")
_log.addHandler(logging.NullHandler())

_CONFIGURATION = {
    KafkaError._INVALID_ARG,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_REPLICATION_FACTOR,
    KafkaError.MSG_SIZE_TOO_LARGE,
}

# A partition whose leader is just being elected, or made known to all brokers.
_ELECTING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}
_ELECTION_PAUSE_S = 0.1


def client_options(options: Options, **more: Any) -> dict[str, Any]:
    """Options of a client: those that reach the broker, more of them (dots written as underscores), and a log."""
    named = {name.replace("_", "."): value for name, value in more.items()}
    # Warnings and worse: what is below, a client that goes away writes to standard error past its log.
    return {"log_level": 4, **options, **named, "logger": _log}


def admin_client(options: Options) -> AdminClient:
    """A client for topics and their settings."""
    with kafka_errors("opening a client"):
        return AdminClient(client_options(options))


def baton_error(doing: str, error: KafkaError) -> BatonError:
    """Kafka's error as one of Baton's: ConfigurationError where a person must act, otherwise Unavailable."""
    kind = ConfigurationError if error.code() in _CONFIGURATION else Unavailable
    return kind(f"Kafka, while {doing}: {error.str()} ({error.name()})")


@contextmanager
def kafka_errors(doing: str) -> Iterator[None]:
    """Turn Kafka's errors into Baton's; ``doing`` completes "Kafka, while …"."""
    try:
        yield
    except KafkaException as error:
        cause = error.args[0]
        if isinstance(cause, KafkaError):
            raise baton_error(doing, cause) from error
        raise Unavailable(f"Kafka, while {doing}: {cause}") from error
    except TimeoutError as error:
        raise Unavailable(f"Kafka, while {doing}: no answer within {PATIENCE_S:.0f} s") from error


def topic_ids(admin: AdminClient, topics: Iterable[str], timeout_s: float = ADMIN_TIMEOUT_S) -> dict[str, str | None]:
    """The id of each topic; None of one that is not there. A recreated topic has another id (protocol A.13).

    Describing, unlike asking for metadata, never creates a topic.

    Raises:
        Unavailable: the broker cannot be reached.
    """
    names = list(topics)
    found: dict[str, str | None] = {}
    with kafka_errors("describing topics"):
        futures = admin.describe_topics(TopicCollection(names), request_timeout=timeout_s)
        for name, future in futures.items():
            try:
                found[name] = str(future.result(PATIENCE_S).topic_id)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
                found[name] = None
    return found


def require_topics(options: Options, topics: Iterable[str]) -> dict[str, str]:
    """The ids of topics that must be there.

    Raises:
        ConfigurationError: names those that are not, and the command that creates them.
        Unavailable: the broker cannot be reached.
    """
    ids = topic_ids(admin_client(options), topics)
    missing = sorted(name for name, found in ids.items() if found is None)
    if missing:
        raise ConfigurationError(f"Kafka has no topic {', '.join(missing)}; run `baton topics create`")
    return {name: found for name, found in ids.items() if found is not None}


def partitions_of(options: Options, topic: str, timeout_s: float = ADMIN_TIMEOUT_S) -> int:
    """How many partitions a topic has.

    Raises:
        ConfigurationError: it is not there.
        Unavailable: the broker cannot be reached.
    """
    admin = admin_client(options)  # its requests end with it
    with kafka_errors(f"describing {topic}"):
        futures = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
        return len(futures[topic].result(PATIENCE_S).partitions)


class Tail:
    """Reads one-partition control topics from a start to their present end, then onwards.

    Args:
        topics: by name, the moment (by the records' timestamps) to start at; None is the beginning.

    Attributes:
        ends: by topic, the offset behind the last record that was there when this reader was opened.

    Raises:
        ConfigurationError: a topic is not there.
        Unavailable: the broker cannot be reached.
    """

    def __init__(self, options: Options, topics: Mapping[str, datetime | None], timeout_s: float = TIMEOUT_S) -> None:
        require_topics(options, topics)
        self._unfinished = set(topics)
        settings = client_options(
            options,
            group_id=f"baton-reader-{uuid.uuid4().hex}",  # asked for by the client; no group is ever joined
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            enable_partition_eof=True,
            fetch_wait_max_ms=50,  # the end of a quiet topic is told no sooner than this
        )
        with kafka_errors("opening a reader"):
            self._consumer = Consumer(settings)
            partitions = [TopicPartition(name, 0) for name in topics]
            deadline = time.monotonic() + timeout_s
            self.ends = {p.topic: self._patiently(deadline, partial(self._end, p, timeout_s)) for p in partitions}
            self._consumer.assign(self._patiently(deadline, partial(self._starts, topics, timeout_s)))

    def _end(self, place: TopicPartition, timeout_s: float) -> int:
        return self._consumer.get_watermark_offsets(place, timeout=timeout_s)[1]

    def _patiently(self, deadline: float, call: Callable[[], Answer]) -> Answer:
        """The call's answer; the client does not ask again by itself while a leader is being elected."""
        while True:
            try:
                return call()
            except KafkaException as error:
                if error.args[0].code() not in _ELECTING or time.monotonic() > deadline:
                    raise
                self._consumer.poll(_ELECTION_PAUSE_S)

    def _starts(self, topics: Mapping[str, datetime | None], timeout_s: float) -> list[TopicPartition]:
        starts = [TopicPartition(name, 0, OFFSET_BEGINNING) for name, since in topics.items() if since is None]
        wanted = [TopicPartition(name, 0, epoch_ms(since)) for name, since in topics.items() if since is not None]
        # Where every record is older, the answer is the end.
        return starts + (self._consumer.offsets_for_times(wanted, timeout=timeout_s) if wanted else [])

    def poll(self, timeout_s: float) -> Message | None:
        """The next record, waiting at most ``timeout_s`` for it."""
        message = self._consumer.poll(timeout_s)
        if message is None:
            return None
        error = message.error()
        if error is None:
            return message
        if error.code() == KafkaError._PARTITION_EOF:
            self._unfinished.discard(message.topic() or "")
            return None
        if error.retriable() or error.code() in {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}:
            return None  # the client reconnects by itself; the caller's limit bounds the wait
        raise baton_error("reading a control topic", error)

    @property
    def at_end(self) -> bool:
        """Whether every topic was read to an end at least once."""
        return not self._unfinished

    def to_end(self, timeout_s: float = TIMEOUT_S, clock: Callable[[], float] = time.monotonic) -> Iterator[Message]:
        """The records up to the present end of every topic.

        Raises:
            Unavailable: the end was not reached in time.
        """
        deadline = clock() + timeout_s
        while not self.at_end:
            message = self.poll(min(1.0, timeout_s))
            if message is not None:
                yield message
            elif clock() > deadline:
                raise Unavailable(
                    f"Kafka, while reading {', '.join(sorted(self._unfinished))}: no end within {timeout_s} s"
                )

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def headers_of_all(messages: Sequence[Message]) -> list[RecordHeaders | None]:
    """The headers of each record (see ``headers_of``); may be None where there are none."""
    found: list[RecordHeaders | None] = []
    waiting = iter(messages)
    while True:
        try:
            found.extend(map(_read_headers, waiting))  # what was read before one that fails stays
        except SystemError:
            found.append(_unreadable(messages[len(found)]))
        else:
            return found


def headers_of(message: Message) -> RecordHeaders:
    """A record's headers, verbatim; ``[UNREADABLE]`` where a name is not UTF-8.

    Nobody else may read them: after it failed, the client's second reading would end the process.
    """
    try:
        return cast("RecordHeaders", _read_headers(message) or [])  # from the broker they are pairs of str and bytes
    except SystemError:
        return _unreadable(message)


def _unreadable(message: Message) -> RecordHeaders:
    message.set_headers([UNREADABLE])
    return [UNREADABLE]
