"""What happened to a record: what ``baton explain`` tells, asked for in a process of its own.

It reads topics, asks ledger and registry and opens bundles of any version. None of that enters the process that
scores; how many such processes there are at a time, how many requests wait for one and how long are bounded.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from typing import Annotated

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from scoring.api.asking import asked_of, deadline_of
from scoring.api.body import JSON
from scoring.api.problems import Kind, Problem
from scoring.api.processes import NotStarted, Processes
from scoring.explain.answering import Because, Question, Unexplained, explain_command, read_answer
from scoring.predictions.reading import MAXIMUM_OFFSET, MAXIMUM_PARTITION

# Requests that wait for each that is being answered; one more is answered with 429.
WAITING = 8
_KINDS = {
    Because.NOTHING_THERE: Kind.NOT_FOUND,
    Because.NO_OUTCOME: Kind.NO_OUTCOME,
    Because.UNAVAILABLE: Kind.UNAVAILABLE,
}
_Topic = Annotated[str, Query(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
_Offset = Annotated[int, Query(ge=0, le=MAXIMUM_OFFSET)]
_Partition = Annotated[int, Query(ge=0, le=MAXIMUM_PARTITION)]


class Explanations:
    """Runs the processes that explain; the event loop alone asks it.

    Args:
        at_a_time: how many of them.
        command: of one of them.
    """

    def __init__(self, at_a_time: int, command: Callable[[], Sequence[str]] = explain_command) -> None:
        self._processes = Processes("explanations", at_a_time, heard=False)
        self._room = at_a_time * (1 + WAITING)
        self._command = command
        self._asked = 0

    async def of(self, question: Question, deadline_s: float) -> bytes:
        """The explanation as JSON.

        Args:
            deadline_s: when the answer has to be there, by the event loop's clock.

        Raises:
            Problem: there is none, and why.
        """
        if self._asked >= self._room:
            sentence = f"{self._asked} explanations are asked for, BATON_API_EXPLANATIONS lets no more wait; ask again"
            raise Problem(Kind.QUEUE_FULL, sentence, limit="explanations")
        self._asked += 1
        loop = asyncio.get_running_loop()
        until_s = time.monotonic() + deadline_s - loop.time()
        try:
            async with asyncio.timeout_at(deadline_s):
                found = await loop.run_in_executor(self._processes.threads, self._answer, question, until_s)
        except TimeoutError:
            found = None
        finally:
            self._asked -= 1
        if found is None:
            raise Problem(Kind.LATE, "it was not explained in time; allow more, or ask `baton explain`")
        if isinstance(found, Unexplained):
            raise Problem(_KINDS[found.because], found.detail)
        return found

    def close(self) -> None:
        """End the processes and their threads."""
        self._processes.close()

    def _answer(self, question: Question, until_s: float) -> bytes | Unexplained | None:
        """None where it takes too long."""
        try:
            done = self._processes.run(self._command(), msgspec.json.encode(question), until_s)
        except NotStarted as error:
            return _unavailable(str(error))
        return None if done is None else read_answer(done.status, done.output)


class ExplainRoutes:
    """The operation that explains.

    Args:
        models: those that are served here; of others nothing is told.
        within_ms: how long a request may take at the most.
    """

    def __init__(self, explanations: Explanations, models: Collection[str], within_ms: int) -> None:
        self._explanations = explanations
        self._models = models
        self._within_ms = within_ms

    async def explanation(
        self, request: Request, model: str, topic: _Topic, partition: _Partition, offset: _Offset
    ) -> Response:
        """What happened to a record, and what comes of scoring it again."""
        deadline_s = deadline_of(asked_of(request), self._within_ms, self._within_ms)
        if model not in self._models:
            raise Problem(Kind.UNKNOWN_MODEL, "BATON_MODELS does not name it; GET /v1/models names those it does")
        question = Question(model=model, topic=topic, partition=partition, offset=offset)
        return Response(await self._explanations.of(question, deadline_s), media_type=JSON)

    def close(self) -> None:
        """Let go of processes and threads."""
        self._explanations.close()


def _unavailable(detail: str) -> Unexplained:
    return Unexplained(because=Because.UNAVAILABLE, detail=detail)
