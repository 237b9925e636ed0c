"""What the broker says about topics: their ids, and whether they are as they must be."""

from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from scoring.contract.errors import Unavailable
from scoring.contract.manifest import Topics

TIMEOUT_S = 2.0


class TopicDirectory:
    """Asks the broker; used by the hot thread (ids, at assignment) and by the fetching thread (checks)."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._admin = AdminClient(options)

    def topic_id(self, topic: str) -> str:
        """The topic's id: it tells a recreated topic from the one before it (protocol A.13).

        Raises:
            Unavailable: the broker does not answer now.
        """
        described = self._admin.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT_S)
        try:
            return str(described[topic].result(TIMEOUT_S).topic_id)
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"topic {topic}: its id cannot be read: {error}") from error

    def check(self, topics: Topics) -> None:
        """Raises ConfigurationError or Unavailable where a model's topics are not as they must be (protocol B.8)."""
        for topic in (topics.input, topics.predictions, topics.dead_letters):
            self.topic_id(topic)
