"""Items of JSON answers as columns of declared types. Nothing is guessed: a text is no number."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scoring.contract.encoder import Column
from scoring.contract.errors import ConfigurationError
from scoring.contract.features import FieldType
from scoring.sources.port import Pull
from scoring.sources.texts import rfc3339_s

MISSING = object()


def at_path(document: Any, path: str) -> Any:
    """What is at a dotted path of a document, all of it at an empty one; ``MISSING`` where there is nothing."""
    for step in path.split(".") if path else ():
        if not isinstance(document, Mapping) or step not in document:
            return MISSING
        document = document[step]
    return document


def items_at(document: Any, path: str, what: str) -> Sequence[Any]:
    """The list of items of an answer.

    Args:
        what: names source and page in messages.

    Raises:
        ConfigurationError: there is none at that path.
    """
    found = at_path(document, path)
    if isinstance(found, list):
        return found
    place = f"at {path!r}" if path else "as the whole of it"
    held = "nothing" if found is MISSING else _name_of(found)
    raise ConfigurationError(f"{what}: the answer has {held} {place}, where the list of items should be; mend the path")


def columns_of(pull: Pull, items: Sequence[Any], what: str) -> dict[str, Column]:
    """The fields of items; what an item does not have is missing there, but for its event time.

    Raises:
        ConfigurationError: an item is no object, lacks its event time, or has a value of another type.
    """
    for number, item in enumerate(items, 1):
        if not isinstance(item, Mapping):
            raise ConfigurationError(f"{what}, item {number}: it is {_name_of(item)}, not an object")
        if pull.time_column is not None and at_path(item, pull.time_column) is MISSING:
            raise ConfigurationError(f"{what}, item {number}: it has no {pull.time_column!r}, the event time")
    return {
        field: _column(kind, [at_path(item, path) for item in items], field, what)
        for (field, kind), (_, path) in zip(pull.fields.items(), pull.source.columns, strict=True)
    }


def _column(kind: FieldType, values: Sequence[Any], field: str, what: str) -> Column:
    read = _READ[kind]
    found = []
    for number, value in enumerate(values, 1):
        try:
            found.append(None if value is None or value is MISSING else read(value))
        except ValueError:
            held = f"{_name_of(value)}, where {_FORMS[kind]} is declared"
            raise ConfigurationError(f"{what}, item {number}: field {field!r} holds {held}") from None
    if kind is FieldType.STRING:
        return found
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError  # noqa: TRY004  one error for every wrong value
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError from error


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004
    return value


def _boolean(value: Any) -> float:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004
    return float(value)


def _time(value: Any) -> float:
    return rfc3339_s(value) if isinstance(value, str) else _number(value)


_READ: Mapping[FieldType, Callable[[Any], Any]] = {
    FieldType.NUMBER: _number,
    FieldType.STRING: _string,
    FieldType.BOOLEAN: _boolean,
    FieldType.TIME: _time,
}
_FORMS = {
    FieldType.NUMBER: "a number",
    FieldType.STRING: "a text",
    FieldType.BOOLEAN: "true or false",
    FieldType.TIME: "a time (2024-01-31T12:00:00Z, or seconds since 1970)",
}


def _name_of(value: Any) -> str:
    """What a value is; never the value itself, which is somebody's record."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
