"""What a consumer group's coordinator keeps of a member: Kafka's ConsumerProtocolAssignment, versions 0 to 3.

Read here because only the client's older call to describe a group, which gives these bytes, can be made while a broker
is going away: its successor then ends the process (an assertion of librdkafka 2.16).
"""

from struct import Struct, error

from scoring.worker.partitions import Place

_VERSION, _COUNT, _LENGTH = Struct(">h"), Struct(">i"), Struct(">h")


def decode_assignment(content: bytes) -> frozenset[Place]:
    """The partitions; none where the coordinator keeps nothing yet.

    Raises:
        ValueError: these are other bytes.
    """
    if not content:
        return frozenset()
    try:
        return frozenset(_places(content))
    except (error, UnicodeDecodeError) as cause:
        raise ValueError(f"this is no assignment of a consumer: {content[:40]!r}") from cause


def _places(content: bytes) -> list[Place]:
    _VERSION.unpack_from(content)
    (topics,) = _COUNT.unpack_from(content, _VERSION.size)
    at, found = _VERSION.size + _COUNT.size, []
    for _ in range(topics):
        (length,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        topic = content[at : at + length].decode()
        (count,) = _COUNT.unpack_from(content, at + length)
        at += length + _COUNT.size
        numbers = Struct(f">{max(count, 0)}i")
        found += [(topic, number) for number in numbers.unpack_from(content, at)]
        at += numbers.size
    return found
