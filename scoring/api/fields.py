"""Which field a failure is about: its sentence names it (``scoring.scorer.decode``)."""

import re

_FIELD = re.compile(r"missing required field `([^`]+)`|- at `\$\.([^`]+)`")


def field_of(detail: str) -> str | None:
    """The field that a sentence names; None where it is about the whole record."""
    found = _FIELD.search(detail)
    return (found[1] or found[2]) if found else None
