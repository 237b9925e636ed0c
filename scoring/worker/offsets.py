"""What the group has committed, asked for by a client that is no member of it.

The broker answers one call of a connection at a time. A member that joins waits for all others to join, a heartbeat
of theirs at the least, and its own question for committed offsets would wait behind that; the partitions that it keeps
could be scored on meanwhile. Kafka's admin client could ask too, but a broker that goes away while it is asked for a
group's offsets, or for its members, ends the process (an assertion of librdkafka 2.16).
"""

from collections.abc import Sequence

from confluent_kafka import Consumer, KafkaException, TopicPartition

from scoring.contract.errors import Unavailable


class GroupOffsets:
    """Reads a group's committed offsets; the hot thread calls it.

    Args:
        consumer: has the group's name, and never subscribes.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def committed(self, places: Sequence[TopicPartition], timeout_s: float) -> list[TopicPartition]:
        """Offsets and metadata, in the order of ``places``; -1001 where nothing was ever committed.

        Raises:
            Unavailable: the broker does not answer now, or somebody's open transaction may still change them.
        """
        try:
            return self._consumer.committed([*places], timeout_s)
        except KafkaException as error:
            raise Unavailable(f"committed offsets cannot be read: {error}") from error

    def close(self) -> None:
        """Close the client."""
        self._consumer.close()
