"""Records that cannot be scored, each for a reason of its own, made from one that can."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.replay import Message
from scoring.contract.features import FeatureSchema, FieldType


@dataclass(frozen=True, slots=True)
class Malformed:
    """A record that must become a dead letter.

    Attributes:
        name: what is wrong with it, for people.
        reasons: the reasons that a daemon may give for it.
    """

    name: str
    message: Message
    reasons: frozenset[str]


def malformed_records(sound: bytes, schema: FeatureSchema) -> tuple[Malformed, ...]:
    """Damage the valid input record ``sound`` of a model in every way that the demonstration knows.

    Raises:
        ValueError: the schema has no required number to damage.
    """
    document: dict[str, Any] = json.loads(sound)
    required = [field.name for field in schema.fields if field.required and field.name != schema.key]
    numbers = [field.name for field in schema.fields if field.type is FieldType.NUMBER and document.get(field.name)]
    if not numbers or not required:
        raise ValueError("the record has no required field and number that could be damaged")
    number, needed = numbers[0], required[0]
    syntax, finite = {"malformed-json"}, {"malformed-json", "non-finite", "wrong-type"}
    cases: list[tuple[str, bytes | None, set[str]]] = [
        ("cut off in the middle", sound[: len(sound) // 2], syntax),
        ("no JSON at all", b"ORD,JFK,2013-05-31", syntax),
        ("not even text", b"\xff\xfe\x00\x01", syntax),
        ("a list instead of an object", json.dumps(list(document)).encode(), {"wrong-type"}),
        (f"{number} is a word", _altered(document, {number: "far"}), {"wrong-type"}),
        (f"{number} is true", _altered(document, {number: True}), {"wrong-type"}),
        (f"{number} is NaN", _altered(document, {number: float("nan")}), finite),
        (f"{number} is 1e999", _altered(document, {number: float("inf")}).replace(b"Infinity", b"1e999"), finite),
        (f"{needed} is missing", _altered(_without(document, needed), {}), {"missing-field"}),
        (f"{needed} is null", _altered(document, {needed: None}), {"missing-field", "wrong-type"}),
        ("empty", b"", {"malformed-json", "null-value"}),
        ("null, a tombstone", None, {"null-value"}),
    ]
    return tuple(
        Malformed(name, Message(f"malformed-{index}".encode(), value), frozenset(reasons))
        for index, (name, value, reasons) in enumerate(cases)
    )


def _altered(document: Mapping[str, Any], changes: Mapping[str, Any]) -> bytes:
    return json.dumps({**document, **changes}).encode()


def _without(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {field: value for field, value in document.items() if field != name}
