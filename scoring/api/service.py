"""What the API serves, apart from HTTP: which version is live, and the scores of records within a deadline."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from scoring.api.answers import Sent
from scoring.api.hand import Hand, Limits
from scoring.api.metrics import ApiMetrics
from scoring.api.problems import Kind, Problem
from scoring.api.scoring import Scoring
from scoring.api.tickets import Outcome, Ticket
from scoring.contract.heartbeat import ModelStatus, State
from scoring.worker.fetching import Phase
from scoring.worker.heartbeat import merge
from scoring.worker.models import Active


class Service:
    """Scores records of requests.

    Args:
        phases: what is being done about the newest sequence of each model that is served.
        clock_s: seconds since 1970, for the rules about event times.
    """

    def __init__(
        self,
        *,
        scoring: Scoring,
        phases: Callable[[], Mapping[str, Phase]],
        limits: Limits,
        metrics: ApiMetrics,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._scoring = scoring
        self._phases = phases
        self._clock_s = clock_s
        self.hand = Hand(limits)
        self.metrics = metrics

    def live(self, model: str, version: str | None = None) -> Active:
        """The bundle that scores a model now.

        Args:
            version: the only one that will do.

        Raises:
            Problem: there is none, and why.
        """
        active = self._scoring.standing.live.get(model)
        if active is None:
            raise self._none(model)
        if version not in {None, active.version}:
            raise Problem(Kind.NOT_LIVE, f"version {active.version} of {model} scores now", live=active.version)
        return active

    def _none(self, model: str) -> Problem:
        phase = self._phases().get(model)
        if phase is None:
            return Problem(Kind.UNKNOWN_MODEL, "BATON_MODELS does not name it; GET /v1/models names those it does")
        if model in self._scoring.standing.retired:
            return Problem(Kind.RETIRED, f"{model} was taken out of service; promote a version to bring it back")
        why = f"{phase.state.value}: {phase.reason}" if phase.reason else phase.state.value
        return Problem(Kind.NOT_READY, f"{model} is {why}; ask again once a version was promoted and fetched")

    async def score(
        self, model: str, values: Sequence[bytes], deadline_s: float, version: str | None = None
    ) -> Outcome:
        """The results of records, all of them of one version.

        Args:
            values: each record's own JSON.
            deadline_s: when the answer has to be there, by the event loop's clock.

        Raises:
            Problem: there is no such version, no room, or no time.
        """
        self.live(model, version)
        loop = asyncio.get_running_loop()
        # Where nothing is in hand it is tried: what took long, such as a lookup, may be over.
        expected_s = self._scoring.expected_s(self.hand.records) if self.hand.records else 0.0
        if loop.time() + expected_s > deadline_s:
            raise Problem(
                Kind.OUT_OF_REACH,
                f"records wait for about {expected_s * 1_000:.0f} ms now; allow more, or ask another process",
            )
        now_s = self._clock_s()
        self.hand.take_records(len(values))
        try:
            ticket = Ticket(model, [Sent(value, now_s) for value in values], deadline_s, loop, version)
            self._scoring.put(ticket)
            return await ticket.outcome
        finally:
            self.hand.answered_records(len(values))

    def silent_s(self) -> float:
        """How long the scoring thread has not come round, in seconds."""
        return self._scoring.silent_s()

    def statuses(self) -> dict[str, ModelStatus]:
        """Every model that is served."""
        return {model: merge(self._scored(model), phase) for model, phase in self._phases().items()}

    def _scored(self, model: str) -> ModelStatus | None:
        standing = self._scoring.standing
        active = standing.live.get(model)
        if active is not None:
            return ModelStatus(state=State.LIVE, sequence=active.sequence, version=active.version)
        retired = standing.retired.get(model)
        return None if retired is None else ModelStatus(state=State.RETIRED, pending=retired)

    def why_not_ready(self) -> list[str]:
        """Sentences that say which models do not score, and why; a retired one is not asked for."""
        return [
            f"{model}: {status.state.value}{f': {status.reason}' if status.reason else ''}"
            for model, status in self.statuses().items()
            if status.sequence is None and status.state is not State.RETIRED
        ]
