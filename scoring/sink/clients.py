"""The Kafka client of a sink: what it is called and how it is set."""

from uuid import UUID

from scoring.service.options import ClientSettings, shared_options
from scoring.settings import Settings

# Of an answer of the broker's no more than this is held at a time, however much the queue may take.
_FETCH_MAXIMUM_BYTES = 50 * 2**20
# How soon new topics and partitions are noticed.
_METADATA_EVERY_MS = 10_000


def consumer_settings(settings: Settings, tables: UUID) -> ClientSettings:
    """The group member that reads predictions and dead letters.

    The sinks that fill the same tables are one group, and share the partitions; those of other tables read everything
    themselves. The group only shares out: which offset counts is said by the tables, and nothing is committed to Kafka.
    All partitions are handed out anew at each change, which takes a moment, but can leave none to nobody.
    """
    return {
        **shared_options(settings),
        "client.id": f"baton-sink-{settings.slot}",
        "group.id": f"baton-sink-{tables}",
        "group.instance.id": f"baton-sink-{settings.slot}",
        "partition.assignment.strategy": "roundrobin",
        "session.timeout.ms": settings.session_timeout_ms,
        "heartbeat.interval.ms": 300,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # the tables say where to start, and what is gone is put on record
        "isolation.level": "read_committed",
        "enable.partition.eof": True,  # it tells where a partition ends behind the markers of transactions
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 5,
        "queued.min.messages": 20_000,
        "queued.max.messages.kbytes": settings.queued_kbytes,
        "fetch.max.bytes": min(settings.queued_kbytes * 1_024, _FETCH_MAXIMUM_BYTES),
        "topic.metadata.refresh.interval.ms": _METADATA_EVERY_MS,
    }
