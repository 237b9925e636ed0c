"""The table of active bundles, one per model, and what has yet to be acknowledged (protocol A.9, A.10)."""

from datetime import datetime
from uuid import UUID

import msgspec

from scoring.contract.acknowledgement import Outcome
from scoring.contract.features import TableLookup
from scoring.contract.manifest import Topics
from scoring.contract.progress import Progress
from scoring.scorer.scorer import Scorer
from scoring.worker.emit import Emitter


class Active(msgspec.Struct, frozen=True, eq=False):
    """A bundle that was verified, checked against its golden rows and warmed up: ready to score."""

    model: str
    ledger: UUID
    sequence: int
    version: str
    digest: str
    noticed_at: datetime
    scorer: Scorer
    emitter: Emitter

    @property
    def topics(self) -> Topics:
        """The model's three topics."""
        return self.scorer.manifest.topics

    @property
    def progress(self) -> Progress:
        """What is committed with the offsets that this bundle scores."""
        return Progress(self.ledger, self.sequence)


class Refused(msgspec.Struct, frozen=True):
    """A bundle that must not score here, and why."""

    model: str
    ledger: UUID
    sequence: int
    version: str
    digest: str
    noticed_at: datetime
    reason: str


class Retired(msgspec.Struct, frozen=True):
    """The ledger took the model out of service."""

    model: str
    ledger: UUID
    sequence: int
    version: str
    digest: str
    noticed_at: datetime


Arrival = Active | Refused | Retired


class Pending(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """An acknowledgement that is to be produced inside the next transaction.

    Attributes:
        retired: what went live is that the model is out of service.
    """

    model: str
    ledger: UUID
    sequence: int
    version: str
    digest: str
    noticed_at: datetime
    outcome: Outcome
    reason: str | None = None
    retired: bool = False


class ModelTable:
    """Which bundle scores which topic now. Only the hot thread changes it, between two micro-batches."""

    def __init__(self) -> None:
        self._active: dict[str, Active] = {}
        self._by_topic: dict[str, Active] = {}
        self.pending: list[Pending] = []
        self.live: dict[str, int] = {}
        self.retired: dict[str, int] = {}
        self.given_up: dict[str, int] = {}  # by model, the refused sequence that its partitions need

    def apply(self, arrival: Arrival) -> None:
        """Take in what the fetching side brought; the acknowledgement becomes pending.

        What it replaces scores nothing any more and is not acknowledged; a refusal is published in any case.
        """
        match arrival:
            case Active():
                self._activate(arrival)
            case Retired(model=model, sequence=sequence):
                self._forget(model)
                self.live.pop(model, None)
                self.retired[model] = sequence
        pending = acknowledgement_of(arrival)
        if pending.outcome is Outcome.LIVE:
            self.pending = [p for p in self.pending if p.model != pending.model or p.outcome is Outcome.REFUSED]
        self.pending.append(pending)

    def settle(self, pending: Pending) -> None:
        """The transaction with this acknowledgement was committed."""
        self.pending = [other for other in self.pending if other is not pending]
        if pending.outcome is Outcome.LIVE and pending.model in self._active:  # it may have been retired meanwhile
            self.live[pending.model] = pending.sequence

    def of_topic(self, topic: str) -> Active | None:
        """The bundle that scores the input topic."""
        return self._by_topic.get(topic)

    def get(self, model: str) -> Active | None:
        """The bundle of a model."""
        return self._active.get(model)

    @property
    def asks_databases(self) -> bool:
        """Whether scoring a record may have to wait for a database."""
        lookups = (lookup for active in self._active.values() for lookup in active.scorer.schema.lookups)
        return any(isinstance(lookup, TableLookup) for lookup in lookups)

    def topics(self) -> list[str]:
        """The input topics that this worker is able to score, sorted."""
        return sorted(topic for topic, active in self._by_topic.items() if active.model not in self.given_up)

    def _activate(self, active: Active) -> None:
        self._forget(active.model)
        self._active[active.model] = active
        self._by_topic[active.topics.input] = active
        self.retired.pop(active.model, None)
        self.given_up.pop(active.model, None)

    def _forget(self, model: str) -> None:
        old = self._active.pop(model, None)
        if old is not None:
            del self._by_topic[old.topics.input]


def acknowledgement_of(arrival: Arrival) -> Pending:
    """What has to be acknowledged once it has arrived."""
    return Pending(
        model=arrival.model,
        ledger=arrival.ledger,
        sequence=arrival.sequence,
        version=arrival.version,
        digest=arrival.digest,
        noticed_at=arrival.noticed_at,
        outcome=Outcome.REFUSED if isinstance(arrival, Refused) else Outcome.LIVE,
        reason=arrival.reason if isinstance(arrival, Refused) else None,
        retired=isinstance(arrival, Retired),
    )
