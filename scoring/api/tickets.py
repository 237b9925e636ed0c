"""A request's records on their way to the scoring thread, and what comes back."""

import asyncio
from collections.abc import Iterable, Sequence

from scoring.api.answers import Result, Sent
from scoring.api.problems import Kind, Problem
from scoring.worker.models import Active

Outcome = tuple[Active, list[Result]]


class Ticket:
    """The records of one request.

    Args:
        deadline_s: when it has to be answered, by the event loop's clock.
        version: the version that has to score them; None where any may.
    """

    def __init__(
        self,
        model: str,
        records: Sequence[Sent],
        deadline_s: float,
        loop: asyncio.AbstractEventLoop,
        version: str | None = None,
    ) -> None:
        self.model = model
        self.records = records
        self.deadline_s = deadline_s
        self.version = version
        self.sent_at_s = loop.time()
        self.outcome: asyncio.Future[Outcome] = loop.create_future()
        self._timer = loop.call_at(deadline_s, self._expire)

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.outcome.done()

    def _expire(self) -> None:
        self.settle(Problem(Kind.LATE, "its records were not scored in time; allow more, or send fewer"))

    def settle(self, outcome: Outcome | Problem) -> None:
        """Hand the outcome to who waits; the event loop alone calls this."""
        self._timer.cancel()
        if self.outcome.done():
            return
        if isinstance(outcome, Problem):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)


def settle_all(settled: Iterable[tuple[Ticket, Outcome | Problem]]) -> None:
    """Settle several at once."""
    for ticket, outcome in settled:
        ticket.settle(outcome)
