"""What a bundle needs beside it: topics that are as they must be, and tables that answer its lookups."""

from collections.abc import Collection
from typing import Any

import msgspec
import structlog
from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicDescription

from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.contract.features import FeatureSchema, TopicLookup
from scoring.contract.lookup import OnOutage
from scoring.contract.manifest import Topics
from scoring.lookups.port import LookupSource
from scoring.scorer.scorer import Scorer
from scoring.topics import Deviation, check_topics
from scoring.worker.group_assignment import decode_assignment
from scoring.worker.orphans import Group
from scoring.worker.partitions import Place

TIMEOUT_S = 2.0
_STABLE = "Stable"
# A topic that is not there, or has no room for the largest record, aborts its micro-batch for ever (protocol B.8).
_GRAVE = {"", "max.message.bytes"}
log = structlog.get_logger()


class TopicDirectory:
    """Asks the broker; used by the hot thread (at assignment) and those of fetching (checks), ends and orphans.

    Args:
        group: the consumer group that this worker belongs to.
    """

    def __init__(self, options: dict[str, Any], group: str) -> None:
        self._options = options
        self._group = group
        self._admin = AdminClient(options)

    def topic_id(self, topic: str) -> str:
        """The topic's id: it tells a recreated topic from the one before it (protocol A.13).

        Raises:
            Unavailable: the broker does not answer now.
        """
        return str(self._described(topic).topic_id)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has.

        Raises:
            Unavailable: the broker does not answer now.
        """
        return len(self._described(topic).partitions)

    def ends(self, places: Collection[Place]) -> dict[Place, int]:
        """The offset behind the last record of each partition.

        Raises:
            Unavailable: the broker does not answer now.
        """
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = self._admin.list_offsets(
            {TopicPartition(*place): latest for place in places}, request_timeout=TIMEOUT_S
        )
        try:
            return {(at.topic, at.partition): answer.result(TIMEOUT_S).offset for at, answer in asked.items()}
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"the ends of partitions cannot be read: {error}") from error

    def group(self, topics: Collection[str]) -> Group:
        """The group's assignment, and how many partitions some topics have.

        Raises:
            Unavailable: the broker does not answer now.
        """
        try:
            found = self._admin.list_groups(self._group, timeout=TIMEOUT_S)
        except KafkaException as error:
            raise Unavailable(f"group {self._group}: it cannot be described: {error}") from error
        members: dict[str, frozenset[Place]] = {}
        for member in (member for group in found for member in group.members):
            name = str(member.client_id)
            members[name] = members.get(name, frozenset()) | _given(self._group, name, member.assignment)
        return Group(
            stable=[group.state for group in found] == [_STABLE],
            members=members,
            partitions={topic: self.partitions(topic) for topic in topics},
        )

    def _described(self, topic: str) -> TopicDescription:
        described = self._admin.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT_S)
        try:
            found: TopicDescription = described[topic].result(TIMEOUT_S)
        except (KafkaException, TimeoutError) as error:
            raise Unavailable(f"topic {topic}: it cannot be described: {error}") from error
        return found

    def check(self, topics: Topics) -> None:
        """Hold a model's topics and the control topics against what they must be (protocol B.8).

        Raises:
            ConfigurationError: a topic is missing or would break the worker; every such deviation is listed.
            Unavailable: the broker does not answer now.
        """
        deviations = check_topics(self._options, [topics]).deviations
        grave = [deviation.sentence for deviation in deviations if is_grave(deviation)]
        for deviation in deviations:
            if not is_grave(deviation):
                log.warning("topic.deviates", deviation=deviation.sentence)
        if grave:
            raise ConfigurationError("topics:\n" + "\n".join(f"  - {sentence}" for sentence in grave))


def _given(group: str, member: str, assignment: bytes | None) -> frozenset[Place]:
    try:
        return decode_assignment(assignment or b"")
    except ValueError as error:
        raise Unavailable(f"group {group}, member {member}: {error}") from error


def is_grave(deviation: Deviation) -> bool:
    """Whether a worker cannot score with it. More output partitions than input ones do no harm."""
    if deviation.setting == "partitions":
        return int(deviation.found) < int(deviation.wanted)
    return deviation.setting in _GRAVE


class Surroundings:
    """Checks, beside the bundle that scores, what a new one needs around it.

    Args:
        lookups: a source of the fetching thread's own.
    """

    def __init__(self, directory: TopicDirectory, lookups: LookupSource) -> None:
        self._directory = directory
        self._lookups = lookups

    def check(self, scorer: Scorer) -> None:
        """Look at the topics, and look up what the golden rows' messages need.

        Raises:
            ConfigurationError: a topic, connection, table or column is not as the bundle needs it.
            Unavailable: broker or database cannot be reached now.
        """
        self._directory.check(scorer.manifest.topics)
        check_lookups(scorer, self._lookups)


def check_lookups(scorer: Scorer, lookups: LookupSource) -> None:
    """Look up what the golden rows' messages need.

    Raises:
        ConfigurationError: a connection, table or column is not as the bundle needs it.
        Unavailable: database or broker cannot be reached now.
    """
    if scorer.schema.lookups:
        decoded = scorer.decode([row.message for row in scorer.bundle.golden])
        lookups.resolve(_patient(scorer.schema), decoded.columns, len(decoded.rows))


def _patient(schema: FeatureSchema) -> FeatureSchema:
    """Whatever is done while a topic is away, it is read to its end before the first record is scored."""
    lookups = (
        msgspec.structs.replace(lookup, on_outage=OnOutage.WAIT) if isinstance(lookup, TopicLookup) else lookup
        for lookup in schema.lookups
    )
    return msgspec.structs.replace(schema, lookups=tuple(lookups))
