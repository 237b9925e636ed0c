"""The Kafka clients of a worker: what they are called and how they are set."""

from collections.abc import Callable

import msgspec
from confluent_kafka import Consumer, Producer

from scoring.contract.topics import OUTPUT_MAXIMUM_BYTES
from scoring.service.options import ClientSettings, shared_options
from scoring.settings import Settings

# Of an answer of the broker's no more than this is held at a time, however much the queue may take.
_FETCH_MAXIMUM_BYTES = 50 * 2**20
# Outputs that wait to be sent: a micro-batch's worth of the largest records would else be a gigabyte.
_SEND_QUEUE_KBYTES = 65_536


class Clients(msgspec.Struct, frozen=True):
    """Makes Kafka clients; fault tests put clients in between that die at a named call."""

    consumer: Callable[[ClientSettings], Consumer] = Consumer
    producer: Callable[[ClientSettings], Producer] = Producer


def worker_id(settings: Settings) -> str:
    """``deployment/slot``: the worker's name for ever, whichever process fills the slot."""
    return f"{settings.deployment}/{settings.slot}"


def consumer_settings(settings: Settings) -> ClientSettings:
    """The group member that reads input topics.

    Classic group protocol, cooperative-sticky, static membership: a restarted slot takes its place back without a
    rebalance (protocol B, B.7).
    """
    return {
        **shared_options(settings),
        "client.id": f"baton-{worker_id(settings)}",
        "group.id": f"baton-{settings.deployment}",
        "group.instance.id": f"{settings.deployment}-{settings.slot}",  # the broker allows no slash in it
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": settings.session_timeout_ms,
        # A member hears of a rebalance with its next heartbeat, and who waits for its partitions waits so long.
        "heartbeat.interval.ms": 300,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # admission decides where to start, and says so where records are gone
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": settings.queued_kbytes,
        "fetch.max.bytes": min(settings.queued_kbytes * 1_024, _FETCH_MAXIMUM_BYTES),
    }


def producer_settings(settings: Settings, turn: int) -> ClientSettings:
    """One of the two producers that take turns; ``turn`` is 0 or 1 (protocol B).

    They are transactional for exactly once; for at least once they keep the order of what they send, and double nothing
    by themselves.
    """
    kind: ClientSettings = {"enable.idempotence": True}
    if settings.delivery == "exactly-once":
        kind = {
            "transactional.id": f"baton-{settings.deployment}-{settings.slot}-{turn}",
            "transaction.timeout.ms": settings.transaction_timeout_ms,
        }
    return {
        **{name: value for name, value in shared_options(settings).items() if not name.startswith("transaction")},
        "client.id": f"baton-{worker_id(settings)}-{turn}",
        **kind,
        "message.max.bytes": OUTPUT_MAXIMUM_BYTES,
        "linger.ms": 0.5,
        "batch.num.messages": 10_000,
        "batch.size": 1_000_000,
        "queue.buffering.max.messages": 1_000_000,
        "queue.buffering.max.kbytes": _SEND_QUEUE_KBYTES,
    }


def heartbeat_settings(settings: Settings) -> ClientSettings:
    """The producer of heartbeats: without transactions (an open one would hide everybody's later records)."""
    return {
        **shared_options(settings),
        "client.id": f"baton-{worker_id(settings)}-heartbeat",
        "enable.idempotence": False,
        "acks": "all",
        "queue.buffering.max.messages": 1_000,
        "message.timeout.ms": 10_000,
    }


def follower_settings(settings: Settings, name: str | None = None) -> ClientSettings:
    """The reader of notices: every worker reads all of them, so it commits nothing.

    Args:
        name: of who reads, where it is no worker.
    """
    own = name or worker_id(settings)
    return {
        **shared_options(settings),
        "client.id": f"baton-{own}-notices",
        "group.id": f"baton-notices-{own}",
        # It joins no group; but the client holds this against max.poll.interval.ms, which may be among the options.
        "session.timeout.ms": settings.session_timeout_ms,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 100,
    }


def offsets_settings(settings: Settings) -> ClientSettings:
    """Who asks what the group has committed, and is no member of it (``offsets``)."""
    return {
        **follower_settings(settings),
        "client.id": f"baton-{worker_id(settings)}-offsets",
        "group.id": consumer_settings(settings)["group.id"],
    }


def lookup_settings(settings: Settings, name: str | None = None) -> ClientSettings:
    """The reader of a topic that is kept in memory for lookups: it reads all of it at each start."""
    own = name or worker_id(settings)
    return {
        **follower_settings(settings, name),
        "client.id": f"baton-{own}-lookups",
        "group.id": f"baton-lookups-{own}",
        "queued.max.messages.kbytes": 8_192,
    }
