"""Fetch one bundle in a short-lived process: ``python -m scoring.registry.fetch MODEL VERSION TARGET``.

The hot process of a worker never imports mlflow; it starts this one and reads one JSON line from its standard output:
``{"outcome": "done" | "unavailable" | "refused", "kind": …, "reason": …}``.

Exit status 0: the bundle's files are in TARGET, which appeared complete. 75 (EX_TEMPFAIL): not now, retry with
back-off; also where a setting is wrong, since a person can mend it while the old model scores. 1: the registry holds
something else under that version, and asking again does not help. *Fetching is not refused* (protocol A.9).
"""

import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from scoring.contract.errors import BatonError, BundleRejected, ConfigurationError, Unavailable, sentence
from scoring.registry.open import open_registry
from scoring.registry.outcome import DONE, REFUSED, UNAVAILABLE, USAGE, FetchOutcome, check_outcome, fetch_command
from scoring.settings import read_settings

__all__ = [
    "DONE",
    "REFUSED",
    "UNAVAILABLE",
    "USAGE",
    "FetchOutcome",
    "check_outcome",
    "fetch",
    "fetch_command",
    "main",
]

# Less than the callers give the process, so that it can still say why.
TIMEOUT_S = 240


def fetch(uri: str, model: str, version: str, target: Path) -> FetchOutcome:
    """Fetch, and say how it went."""
    try:
        open_registry(uri).fetch(model, version, target)
    except BundleRejected as error:
        return FetchOutcome(outcome="refused", kind=type(error).__name__, reason=str(error))
    except (Unavailable, ConfigurationError) as error:
        return _not_now(error)
    return FetchOutcome(outcome="done")


def main(arguments: Sequence[str]) -> int:
    """Run the process; returns its exit status."""
    if len(arguments) != 3 or arguments[0].startswith("-"):
        sys.stderr.write(f"{__doc__}\n")
        return USAGE
    model, version, target = arguments
    try:
        with _limited(TIMEOUT_S):
            outcome = fetch(read_settings().need_registry_uri(), model, version, Path(target))
    except BatonError as error:
        outcome = _not_now(error)
    except Exception as error:
        # An uncaught exception would end with status 1 and be taken for a refusal, which is for ever.
        traceback.print_exc()
        outcome = _not_now(error)
    said = msgspec.structs.replace(outcome, reason=sentence(outcome.reason))  # it has to fit, and be Unicode
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    return {"done": DONE, "unavailable": UNAVAILABLE, "refused": REFUSED}[outcome.outcome]


def _not_now(error: Exception) -> FetchOutcome:
    return FetchOutcome(outcome="unavailable", kind=type(error).__name__, reason=str(error))


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _time_is_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _time_is_up(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Unavailable(f"the registry took longer than {TIMEOUT_S} s; is it overloaded, or the bundle very large?")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
