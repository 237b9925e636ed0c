"""The versions of a model and what the ledger says of each: what ``baton versions`` says, in a process of its own.

The registry's client costs seconds and memory; it never enters the process that scores. What was told is told again
for a while, a failure too, and who asks about a model that is being asked about waits for the same answer: however many
ask, ledger and registry are asked once, and one that hangs holds up nothing but these answers.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence

import msgspec

from scoring.api.problems import Kind, Problem
from scoring.api.processes import NotStarted, Processes
from scoring.contract.errors import sentence

KEPT_S = 10.0
# A registry that is back is asked again soon; one that is away costs a process in so many seconds.
FAILURE_KEPT_S = 5.0
# A request waits so long at the most, and then the process that asks is ended.
WITHIN_S = 20.0
AT_A_TIME = 2
# Requests that wait for an answer; one more is answered with 429.
WAITING = 64


class _Untold(msgspec.Struct, frozen=True):
    """There is no answer, and why."""

    why: str


def versions_command(model: str) -> list[str]:
    """The command line of the process."""
    return [sys.executable, "-m", "scoring", "versions", model, "--json"]


class Versions:
    """Runs the processes that ask ledger and registry; the event loop alone asks it.

    Args:
        command: makes the command line that writes a model's versions as JSON.
        within_s: how long an answer may take.
    """

    def __init__(
        self,
        command: Callable[[str], Sequence[str]] = versions_command,
        clock_s: Callable[[], float] = time.monotonic,
        within_s: float = WITHIN_S,
    ) -> None:
        self._command = command
        self._clock_s = clock_s
        self._within_s = within_s
        self._processes = Processes("versions", AT_A_TIME, heard=True)
        self._waiting = 0
        self._under_way: dict[str, asyncio.Task[bytes | _Untold]] = {}
        self._told: dict[str, tuple[float, bytes | _Untold]] = {}

    async def of(self, model: str) -> bytes:
        """A JSON list of versions.

        Raises:
            Problem: ledger or registry cannot be asked now, or too many wait for an answer.
        """
        told = self._kept(model)
        if told is None:
            told = await self._wait(model)
        if isinstance(told, _Untold):
            raise Problem(Kind.UNAVAILABLE, told.why)
        return told

    def close(self) -> None:
        """End the processes and their threads."""
        self._processes.close()

    def _kept(self, model: str) -> bytes | _Untold | None:
        """What was told of it lately."""
        at_s, told = self._told.get(model, (0.0, None))
        kept_s = FAILURE_KEPT_S if isinstance(told, _Untold) else KEPT_S
        return told if self._clock_s() - at_s < kept_s else None

    async def _wait(self, model: str) -> bytes | _Untold:
        if self._waiting >= WAITING:
            told = f"{self._waiting} requests wait for ledger and registry, and no more may; ask again"
            raise Problem(Kind.QUEUE_FULL, told, limit="versions")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._within_s):  # also of a process that does not end when it is told to
                return await asyncio.shield(self._question(model))
        except TimeoutError:
            return _late(model, self._within_s)
        finally:
            self._waiting -= 1

    def _question(self, model: str) -> "asyncio.Task[bytes | _Untold]":
        """The one that is under way about a model."""
        if model not in self._under_way:
            self._under_way[model] = asyncio.create_task(self._ask(model))
        return self._under_way[model]

    async def _ask(self, model: str) -> bytes | _Untold:
        until_s = time.monotonic() + self._within_s
        try:
            told = await asyncio.get_running_loop().run_in_executor(
                self._processes.threads, self._answer, model, until_s
            )
            self._told[model] = self._clock_s(), told
            return told
        finally:
            del self._under_way[model]

    def _answer(self, model: str, until_s: float) -> bytes | _Untold:
        try:
            done = self._processes.run(self._command(model), b"", until_s)
        except NotStarted as error:
            return _Untold(str(error))
        return _late(model, self._within_s) if done is None else _read(model, done.status, done.output, done.said)


def _read(model: str, status: int, output: bytes, said: bytes) -> bytes | _Untold:
    """What a finished process says."""
    if status != 0:
        why = said.decode("utf-8", "replace").strip().rpartition("\n")[2].removeprefix("baton: ")
        return _Untold(sentence(why or f"it ended with status {status}; `baton versions {model}` tells more"))
    try:
        return bytes(msgspec.json.format(output, indent=0))
    except msgspec.DecodeError:
        return _Untold(f"what was said of the versions is no JSON; `baton versions {model}` tells more")


def _late(model: str, within_s: float) -> _Untold:
    return _Untold(
        f"ledger and registry did not answer within {within_s:g} s; "
        f"see whether BATON_LEDGER_URL and BATON_REGISTRY_URI can be reached (`baton versions {model}` asks them too), "
        "and ask again"
    )
