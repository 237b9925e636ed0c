"""What the process that explains is asked and says, and how its caller reads it; imports no client."""

import sys
from enum import StrEnum

import msgspec

from scoring.contract.decoding import decodable

DONE = 0
UNEXPLAINED = 3


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A record, by its place in the model's input topic or by the place of its outcome.

    Attributes:
        topic_id: of an input topic that was deleted and made again since; None is the one that there is now.
    """

    model: str
    topic: str
    partition: int
    offset: int
    topic_id: str | None = None


class Because(StrEnum):
    """Why there is no explanation."""

    NOTHING_THERE = "nothing-there"
    NO_OUTCOME = "no-outcome"
    UNAVAILABLE = "unavailable"


class Unexplained(msgspec.Struct, frozen=True, kw_only=True):
    """There is no explanation, and why."""

    because: Because
    detail: str


decodable(Question)
decodable(Unexplained)


def explain_command() -> list[str]:
    """The command line of the process; it reads a question as JSON, and writes an ``Explanation`` or the above."""
    return [sys.executable, "-m", "scoring.explain.process"]


def read_answer(status: int, output: bytes) -> bytes | Unexplained:
    """What a finished process says.

    Args:
        status: its exit status; negative where a signal ended it.
        output: all of its standard output.

    Returns:
        the explanation as JSON, or why there is none.
    """
    if status == DONE:
        return output
    try:
        return msgspec.json.decode(output, type=Unexplained)
    except msgspec.MsgspecError:
        detail = f"the process that explains ended with status {status} and no reason; the log says more"
        return Unexplained(because=Because.UNAVAILABLE, detail=detail)
