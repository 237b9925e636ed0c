"""The end of a dead-letter topic: what is known of each letter, and never its content."""

import msgspec

from scoring.contract.dead_letter import DeadLetter
from scoring.kafka import Options, admin_client, topic_ids
from scoring.letters.finding import Letters, Selection
from scoring.reading import Reader

_ASK_S = 3.0


class Letter(msgspec.Struct, frozen=True):
    """A dead letter without its content.

    Attributes:
        size_bytes: of its record's value.
    """

    letter: DeadLetter
    size_bytes: int


def newest_letters(kafka: Options, topic: str, count: int, within_s: float) -> tuple[int, list[Letter]] | None:
    """How many records a topic holds, markers of transactions included, and its newest dead letters, newest first.

    None where there is no such topic.

    Args:
        within_s: how long the broker may keep silent.

    Raises:
        Unavailable: the broker cannot be reached.
        ConfigurationError: access is refused.
    """
    if topic_ids(admin_client(kafka), [topic], _ASK_S)[topic] is None:
        return None
    with Reader(kafka, topic, within_s=within_s) as reader:
        letters = Letters(reader, Selection())
        return letters.offsets, [Letter(found.told, found.size_bytes) for found in letters.newest(count)]
