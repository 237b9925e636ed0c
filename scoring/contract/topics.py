"""The topics by name and the settings that they need; the command ``baton topics`` creates and checks them."""

from collections.abc import Mapping

import msgspec

from scoring.contract.dead_letter import MARGIN_BYTES
from scoring.contract.manifest import Topics

NOTICES = "baton.notices"
ACKNOWLEDGEMENTS = "baton.acknowledgements"
WORKERS = "baton.workers"
RETRAINS = "baton.retrains"
RETRAINS_REFUSED = "baton.retrains.dead-letters"
ALERTS = "baton.alerts"
REPLAYS = "baton.replays"

DAY_MS = 86_400_000
# Whoever starts to read heartbeats reads what is not yet compacted: every worker's of one segment, some 300 of them.
HEARTBEAT_SEGMENT_MS = 600_000
INPUT_MAXIMUM_BYTES = 1_048_576
# A prediction repeats pass-through fields and looked-up values beside the lineage.
OUTPUT_MAXIMUM_BYTES = INPUT_MAXIMUM_BYTES + 4 * MARGIN_BYTES
# A request is a few hundred bytes; one that is refused must fit among the dead letters with the reason.
REQUEST_MAXIMUM_BYTES = 2**18


class TopicSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as it must be.

    Attributes:
        partitions: exactly that many.
        settings: topic settings that must hold, by Kafka's names.
    """

    name: str
    partitions: int
    settings: Mapping[str, str]


def control_topics() -> tuple[TopicSpec, ...]:
    """The three topics that workers share with those who promote (protocol, "Topics")."""
    compacted = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.1",
        "segment.ms": str(DAY_MS // 24),
        "delete.retention.ms": str(DAY_MS),
    }
    retained = {"cleanup.policy": "delete", "retention.ms": str(90 * DAY_MS)}
    return (
        TopicSpec(name=NOTICES, partitions=1, settings=compacted),
        TopicSpec(name=ACKNOWLEDGEMENTS, partitions=1, settings=retained),
        TopicSpec(name=WORKERS, partitions=1, settings={**compacted, "segment.ms": str(HEARTBEAT_SEGMENT_MS)}),
    )


def pipeline_topics() -> tuple[TopicSpec, ...]:
    """The topics that no worker needs: requests for retrains, those refused, alerts, and notes of replays."""
    # Shorter than brokers keep a group's offsets (a week): what a run has covered does not come back.
    asked = {"cleanup.policy": "delete", "retention.ms": str(3 * DAY_MS), "segment.ms": str(DAY_MS)}
    small, large = ({"max.message.bytes": str(size)} for size in (REQUEST_MAXIMUM_BYTES, INPUT_MAXIMUM_BYTES))
    return (
        TopicSpec(name=RETRAINS, partitions=1, settings={**asked, **small}),
        TopicSpec(name=RETRAINS_REFUSED, partitions=1, settings={**asked, **large, "retention.ms": str(30 * DAY_MS)}),
        TopicSpec(name=ALERTS, partitions=1, settings={**asked, "retention.ms": str(90 * DAY_MS)}),
        # For ever, one for each dead letter: with a note gone, its dead letter could be replayed again.
        TopicSpec(name=REPLAYS, partitions=1, settings={"cleanup.policy": "compact"}),
    )


def model_topics(topics: Topics, partitions: int) -> tuple[TopicSpec, ...]:
    """A model's three topics: predictions go to the partition of their input, so the counts are equal."""
    week = {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)}
    month = {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)}
    return (
        TopicSpec(
            name=topics.input, partitions=partitions, settings={**week, "max.message.bytes": str(INPUT_MAXIMUM_BYTES)}
        ),
        TopicSpec(
            name=topics.predictions,
            partitions=partitions,
            settings={**week, "max.message.bytes": str(OUTPUT_MAXIMUM_BYTES)},
        ),
        TopicSpec(
            name=topics.dead_letters,
            partitions=partitions,
            settings={**month, "max.message.bytes": str(OUTPUT_MAXIMUM_BYTES)},
        ),
    )
