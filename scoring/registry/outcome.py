"""What the process that fetches says, and how the caller reads it; imports no registry's client."""

import sys
from pathlib import Path
from typing import Literal

import msgspec

from scoring.contract.decoding import decodable
from scoring.contract.errors import BundleRejected, Unavailable

DONE = 0
REFUSED = 1
USAGE = 2
UNAVAILABLE = 75


class FetchOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the process writes, and what its exit status says."""

    outcome: Literal["done", "unavailable", "refused"]
    kind: str = ""
    reason: str = ""


decodable(FetchOutcome)


def fetch_command(model: str, version: str, target: Path) -> list[str]:
    """The command line of the process that fetches, with this interpreter."""
    return [sys.executable, "-m", "scoring.registry.fetch", model, version, str(target)]


def check_outcome(status: int, output: bytes) -> None:
    """Raise what a finished process reports.

    Args:
        status: its exit status; negative where a signal ended it.
        output: all of its standard output.

    Raises:
        BundleRejected: the registry holds no such bundle, and asking again does not help.
        Unavailable: not now; also when the process was killed or died without a word.
    """
    if status == DONE:
        return
    try:
        said = msgspec.json.decode(output.strip().rpartition(b"\n")[2], type=FetchOutcome)
    except msgspec.MsgspecError:
        raise Unavailable(f"the process that fetches a bundle ended with status {status} and no reason") from None
    if status == REFUSED and said.outcome == "refused":
        raise BundleRejected(said.reason)
    raise Unavailable(said.reason or f"the process that fetches a bundle ended with status {status}")
