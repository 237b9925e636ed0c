"""Which field a record fails at: a failure says it; of a dead letter, which has only a sentence, the sentence does."""

import re

MAXIMUM_NAME_CHARACTERS = 100
_FIELD = re.compile(r"missing required field `([^`]+)`|- at `\$\.([^`\[]+)|\Alookup '([^']+)'")


def field_of(detail: str) -> str | None:
    """The field, or the lookup, that the sentence of a failure names; None where it names none."""
    found = _FIELD.search(detail)
    return None if found is None else next(name for name in found.groups() if name is not None)


def shown_name(key: str) -> str:
    """A key that the sender chose, which may be of any length, or hold what is no text."""
    return key[:MAXIMUM_NAME_CHARACTERS].encode("utf-8", "replace").decode()
