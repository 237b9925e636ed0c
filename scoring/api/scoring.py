"""The scoring thread: gathers tickets into micro-batches, scores them, and swaps to promoted bundles in between.

It waits for nothing when there is a ticket: what comes while a micro-batch is scored is the next one. So batches are
of one request when little comes, and grow with the load.
"""

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import NamedTuple

import structlog

from scoring.api.answers import results_of
from scoring.api.metrics import QUEUE, ApiMetrics
from scoring.api.problems import Kind, Problem
from scoring.api.tickets import Outcome, Ticket, settle_all
from scoring.contract.errors import ConfigurationError, Unavailable, sentence
from scoring.lookups.port import LookupSource
from scoring.worker.models import Active, Arrival, ModelTable, Pending

IDLE_WAIT_S = 0.05
STOP_PATIENCE_S = 10.0
# Where there is one core for both the event loop goes first: an answer, or a refusal, costs it a fraction of what its
# scores cost this thread, which would else have half of the core however many wait for a refusal.
NICENESS = 2
# How much of what the last micro-batch took goes into what one is expected to take.
_RECENT = 0.25
log = structlog.get_logger()


class Standing(NamedTuple):
    """Which bundles score, and which models were retired under which sequence. It is replaced whole, never changed."""

    live: Mapping[str, Active]
    retired: Mapping[str, int]


class Scoring:
    """Runs the scoring thread.

    Args:
        arrivals: bundles that are ready, refusals and retirements.
        settled: told what became of each, once it counts here.
        loop: where the outcomes are waited for.

    Attributes:
        standing: what scores; other threads look at it at any time.
    """

    def __init__(
        self,
        *,
        arrivals: SimpleQueue[Arrival],
        settled: Callable[[Pending], None],
        lookups: LookupSource,
        maximum_batch_records: int,
        metrics: ApiMetrics,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._arrivals = arrivals
        self._settled = settled
        self._lookups = lookups
        self._maximum_batch_records = maximum_batch_records
        self._metrics = metrics
        self._loop = loop
        self._coming: list[Ticket] = []  # until the event loop has come round
        self._tickets: SimpleQueue[list[Ticket]] = SimpleQueue()
        self._waiting: deque[Ticket] = deque()  # taken, but for the batch before it was too much
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)
        self._models = ModelTable()
        self.standing = Standing({}, {})
        self._beat_s = time.monotonic()
        self._batch_s = 0.0  # what a micro-batch took, of late, in seconds

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Score what is waiting, and end the thread."""
        self._stopped.set()
        self._thread.join(STOP_PATIENCE_S)

    def silent_s(self) -> float:
        """How long the thread has not come round, in seconds."""
        return time.monotonic() - self._beat_s

    def expected_s(self, records: int) -> float:
        """How long records wait that come now, where so many are in hand: for the batch under way, and their own."""
        return self._batch_s * (1.0 + records / self._maximum_batch_records)

    def put(self, ticket: Ticket) -> None:
        """Let a ticket be scored; how many there may be is its caller's business, which is in the event loop.

        Those of one turn of the event loop are handed over together: threads that wake each other for every single one
        spend more on that than on scoring.
        """
        self._coming.append(ticket)
        if len(self._coming) == 1:
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        self._tickets.put(self._coming)
        self._coming = []

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere a thread has no priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + NICENESS)
        while True:
            self._beat_s = time.monotonic()
            self._take_in()
            tickets = self._gather()
            if tickets:
                self._score(tickets)
            elif self._stopped.is_set():
                return

    def _take_in(self) -> None:
        """Swap to the bundles that are ready."""
        while not self._arrivals.empty():
            arrival = self._arrivals.get()
            if isinstance(arrival, Active):
                arrival.scorer.lap = self._metrics.lap
            self._models.apply(arrival)
            self.standing = self._standing_with(arrival.model)
            for pending in self._models.pending:
                self._models.settle(pending)
                self._settled(pending)
            self._metrics.swaps[arrival.model, type(arrival).__name__.lower()] += 1
            log.info(
                "version.taken_in",
                model=arrival.model,
                version=arrival.version,
                sequence=arrival.sequence,
                outcome=type(arrival).__name__.lower(),
            )

    def _standing_with(self, model: str) -> Standing:
        """For others than this thread: the table is without a model for a moment while that is replaced."""
        active, retired = self._models.get(model), self._models.retired.get(model)
        before = self.standing
        live = {name: other for name, other in before.live.items() if name != model}
        gone = {name: sequence for name, sequence in before.retired.items() if name != model}
        return Standing(
            live if active is None else {**live, model: active}, gone if retired is None else {**gone, model: retired}
        )

    def _gather(self) -> list[Ticket]:
        """What waits, up to a micro-batch; a ticket is never taken apart."""
        waiting, found, records = self._waiting, list[Ticket](), 0
        if not waiting:
            waiting.extend(self._next(IDLE_WAIT_S))
        while waiting:
            records += len(waiting[0].records)
            if found and records > self._maximum_batch_records:
                break
            found.append(waiting.popleft())
            waiting.extend(() if waiting else self._next())
        return found

    def _next(self, wait_s: float = 0.0) -> list[Ticket]:
        try:
            return self._tickets.get(timeout=wait_s) if wait_s else self._tickets.get_nowait()
        except Empty:
            return []

    def _score(self, tickets: Sequence[Ticket]) -> None:
        now_s = self._loop.time()
        by_model: dict[str, list[Ticket]] = {}
        for ticket in tickets:
            if not ticket.over and ticket.deadline_s > now_s:  # the event loop tells those that are late
                by_model.setdefault(ticket.model, []).append(ticket)
                self._metrics.observe(QUEUE, now_s - ticket.sent_at_s)
        for model, own in by_model.items():
            settled = self._scored(model, own)
            try:
                self._loop.call_soon_threadsafe(settle_all, settled)
            except RuntimeError:  # the event loop has ended
                return

    def _scored(self, model: str, tickets: Sequence[Ticket]) -> list[tuple[Ticket, Outcome | Problem]]:
        active = self._models.get(model)
        if active is None:
            return [(ticket, Problem(Kind.NOT_READY, f"{model} has just gone out of service")) for ticket in tickets]
        wrong = [ticket for ticket in tickets if ticket.version not in {None, active.version}]
        tickets = [ticket for ticket in tickets if ticket not in wrong]
        not_live = Problem(Kind.NOT_LIVE, f"version {active.version} of {model} scores now")
        outcomes = self._outcomes(active, tickets) if tickets else []
        return [*((ticket, not_live) for ticket in wrong), *zip(tickets, outcomes, strict=True)]

    def _outcomes(self, active: Active, tickets: Sequence[Ticket]) -> Sequence[Outcome | Problem]:
        began_s = time.perf_counter()
        records = [record for ticket in tickets for record in ticket.records]
        self._metrics.begin()
        try:
            results = results_of(active, records, self._lookups)
        except (Unavailable, ConfigurationError) as error:
            log.warning("requests.unanswered", model=active.model, requests=len(tickets), error=sentence(error))
            return [Problem(Kind.UNAVAILABLE, sentence(error))] * len(tickets)
        took_s = time.perf_counter() - began_s
        self._metrics.scored(active.model, results)
        self._batch_s += _RECENT * (took_s - self._batch_s)
        outcomes, start = [], 0
        for ticket in tickets:
            outcomes.append((active, results[start : start + len(ticket.records)]))
            start += len(ticket.records)
        return outcomes
