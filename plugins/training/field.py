"""The fields of an input record, as a model definition declares them: ``field.number("distance", required=True)``.

``known_after`` says how long after the event time a value is known. A field that is known later than the event is
there for the people who look for it: no message carries it and a feature that reads it is refused as a leak.
"""

from datetime import timedelta

from scoring.contract.features import Field, FieldType

AT_THE_EVENT = timedelta(0)


def number(name: str, *, required: bool = False, known_after: timedelta = AT_THE_EVENT) -> Field:
    """A JSON number."""
    return _field(name, FieldType.NUMBER, required, known_after)


def string(name: str, *, required: bool = False, known_after: timedelta = AT_THE_EVENT) -> Field:
    """A JSON string."""
    return _field(name, FieldType.STRING, required, known_after)


def boolean(name: str, *, required: bool = False, known_after: timedelta = AT_THE_EVENT) -> Field:
    """A JSON boolean."""
    return _field(name, FieldType.BOOLEAN, required, known_after)


def time(name: str, *, required: bool = False, known_after: timedelta = AT_THE_EVENT) -> Field:
    """An RFC 3339 string with an offset."""
    return _field(name, FieldType.TIME, required, known_after)


def _field(name: str, kind: FieldType, required: bool, known_after: timedelta) -> Field:  # noqa: FBT001  positional among ourselves
    return Field(name=name, type=kind, required=required, known_after_s=known_after.total_seconds())
