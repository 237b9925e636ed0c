"""What a record may be, beyond the types of its fields: a stated answer to everything that is odd about one."""

from collections.abc import Iterator
from enum import StrEnum

import msgspec


class Answer(StrEnum):
    """What is done about an oddity that does not keep a record from being read."""

    IGNORE = "ignore"
    DEAD_LETTER = "dead-letter"


class RecordRules(msgspec.Struct, frozen=True, kw_only=True):
    """Rules for records; one that breaks a rule becomes a dead letter. None is no limit.

    What is not stated is as it was before there were rules, so that a bundle without them scores as it always did; a
    new model definition starts from ``ORDINARY``.

    Attributes:
        unknown_fields: fields that the schema does not declare.
        repeated_keys: a key that an object has twice, at any depth and however it is escaped. Ignored, the last counts
            here, and the first elsewhere (RFC 8259, 4).
        null_characters: U+0000 in a declared string, which databases refuse.
        maximum_value_bytes: of the record's value.
        maximum_depth: objects and arrays within each other; the record itself is the first. Without a limit it depends
            on the interpreter whether ignored content that is nested some hundred times can be read.
        maximum_text_characters: of a declared string.
        maximum_key_bytes: of the record's Kafka key.
        maximum_headers, maximum_header_bytes: how many headers a record has, and their names and values together.
        ahead_s, behind_s: how far its event time may lie after and before the timestamp of its Kafka record.
    """

    unknown_fields: Answer = Answer.IGNORE
    repeated_keys: Answer = Answer.IGNORE
    null_characters: Answer = Answer.IGNORE
    maximum_value_bytes: int | None = None
    maximum_depth: int | None = None
    maximum_text_characters: int | None = None
    maximum_key_bytes: int | None = None
    maximum_headers: int | None = None
    maximum_header_bytes: int | None = None
    ahead_s: float | None = None
    behind_s: float | None = None

    def mistakes(self) -> Iterator[str]:
        """Every mistake, a sentence each."""
        for name in self.__struct_fields__:
            limit, least = getattr(self, name), 0 if name == "maximum_headers" else 1
            if name.startswith("maximum_") and limit is not None and limit < least:
                yield f"records: {name} is {limit}; no record could be scored"
        for name, limit in (("ahead_s", self.ahead_s), ("behind_s", self.behind_s)):
            if limit is not None and not limit >= 0:
                yield f"records: {name} is {limit:g}; it must not be negative"


# What a new model definition asks for: nothing that a table's row, written as JSON, would break.
ORDINARY = RecordRules(
    repeated_keys=Answer.DEAD_LETTER,
    null_characters=Answer.DEAD_LETTER,
    maximum_value_bytes=262_144,
    maximum_depth=64,
    maximum_text_characters=65_536,
)
