"""What a user may do with one model: plain values, for the page and its buttons."""

import msgspec


class Rights(msgspec.Struct, frozen=True):
    """What a user may do with one model. Each is None where it is allowed, and otherwise says why it is not."""

    read: str | None
    retrain: str | None
    answer: str | None
    decide: str | None
