"""The form of a retrain, from what the DAG says of its runs: its fields, and what a post of them asks for."""

from collections.abc import Mapping
from typing import Any

import msgspec

from scoring.contract.errors import ConfigurationError

Json = Any
# They need more thought than a button: the form of Airflow itself has them.
NOT_HERE = frozenset({"effective_from", "force"})
REASON = "reason"
MAXIMUM_REASON_CHARACTERS = 500


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field.

    Attributes:
        kind: ``text``, ``number``, ``moment``, ``check`` or ``choice``.
        options: of a choice.
    """

    name: str
    label: str
    kind: str
    description: str = ""
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    whole: bool = False
    options: tuple[str, ...] = ()


def fields_of(params: Mapping[str, Json]) -> tuple[Field, ...]:
    """The fields of a DAG's params, but for the reason, which every form of the page asks for."""
    return tuple(_field(name, param) for name, param in params.items() if name not in {*NOT_HERE, REASON})


def conf_of(params: Mapping[str, Json], posted: Mapping[str, str]) -> dict[str, Json]:
    """What a run is to be started with; what was left empty is left out.

    Raises:
        ConfigurationError: lists every field that cannot be read.
    """
    conf: dict[str, Json] = {}
    mistakes: list[str] = []
    for field in fields_of(params):
        text = posted.get(field.name, "").strip()
        if field.kind == "check":
            conf[field.name] = bool(text)
        elif text:
            try:
                conf[field.name] = _value(field, params[field.name], text)
            except ValueError:
                mistakes.append(f"{field.label}: {text!r} cannot be read; {field.description}")
    if mistakes:
        raise ConfigurationError("; ".join(mistakes))
    return {**conf, REASON: reason_of(posted)}


def reason_of(posted: Mapping[str, str]) -> str:
    """The reason, on one line.

    Raises:
        ConfigurationError: there is none, or it is too long.
    """
    reason = " ".join(posted.get(REASON, "").replace("\x00", "").split())
    if not reason:
        raise ConfigurationError("a reason is missing; those who look at this later need it")
    if len(reason) > MAXIMUM_REASON_CHARACTERS:
        raise ConfigurationError(f"the reason has more than {MAXIMUM_REASON_CHARACTERS} characters; write it shorter")
    return reason


def _field(name: str, param: Json) -> Field:
    schema = param.get("schema") or {}
    return Field(
        name=name,
        label=str(schema.get("title") or name),
        kind=_kind(schema),
        description=str(param.get("description") or schema.get("description") or ""),
        pattern=schema.get("pattern"),
        minimum=schema.get("minimum"),
        maximum=schema.get("maximum"),
        whole="integer" in _types(schema),
        options=tuple(str(option) for option in schema.get("enum") or () if option is not None),
    )


def _kind(schema: Mapping[str, Json]) -> str:
    types = _types(schema)
    if "boolean" in types:
        return "check"
    if schema.get("enum"):
        return "choice"
    if types & {"integer", "number"}:
        return "number"
    return "moment" if schema.get("format") == "date-time" else "text"


def _types(schema: Mapping[str, Json]) -> set[str]:
    found = schema.get("type") or ()
    return {found} if isinstance(found, str) else set(found)


def _value(field: Field, param: Json, text: str) -> Json:
    if field.kind == "number":
        return int(text) if field.whole else float(text)
    if field.kind == "choice":  # the form carries text; the schema may hold numbers
        by_text = {str(option): option for option in param["schema"]["enum"] if option is not None}
        if text not in by_text:
            raise ValueError(text)
        return by_text[text]
    return text
