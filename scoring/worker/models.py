"""The table of active bundles, one per model, and what has yet to be acknowledged (protocol A.9, A.10)."""

from datetime import datetime
from uuid import UUID

import msgspec

from scoring.contract.acknowledgement import Outcome
from scoring.contract.manifest import Topics
from scoring.contract.notice import Notice
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

    notice: Notice
    noticed_at: datetime
    reason: str


class Retired(msgspec.Struct, frozen=True):
    """The ledger took the model out of service."""

    notice: Notice
    noticed_at: datetime


Arrival = Active | Refused | Retired


class Pending(msgspec.Struct, frozen=True, kw_only=True):
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
        self.pending: dict[str, Pending] = {}
        self.live: dict[str, int] = {}
        self.retired: dict[str, int] = {}
        self.given_up: set[str] = set()

    def apply(self, arrival: Arrival) -> None:
        """Take in what the fetching side brought; the acknowledgement becomes pending."""
        match arrival:
            case Active():
                self._activate(arrival)
            case Retired(notice=notice):
                self._forget(notice.model)
                self.retired[notice.model] = notice.sequence
        self.pending[_model(arrival)] = _pending(arrival)

    def of_topic(self, topic: str) -> Active | None:
        """The bundle that scores the input topic."""
        return self._by_topic.get(topic)

    def get(self, model: str) -> Active | None:
        """The bundle of a model."""
        return self._active.get(model)

    def topics(self) -> list[str]:
        """The input topics that this worker is able to score, sorted."""
        return sorted(topic for topic, active in self._by_topic.items() if active.model not in self.given_up)

    def _activate(self, active: Active) -> None:
        self._forget(active.model)
        self._active[active.model] = active
        self._by_topic[active.topics.input] = active
        self.retired.pop(active.model, None)
        self.given_up.discard(active.model)

    def _forget(self, model: str) -> None:
        old = self._active.pop(model, None)
        if old is not None:
            del self._by_topic[old.topics.input]


def _model(arrival: Arrival) -> str:
    return arrival.model if isinstance(arrival, Active) else arrival.notice.model


def _pending(arrival: Arrival) -> Pending:
    if isinstance(arrival, Active):
        return Pending(
            model=arrival.model,
            ledger=arrival.ledger,
            sequence=arrival.sequence,
            version=arrival.version,
            digest=arrival.digest,
            noticed_at=arrival.noticed_at,
            outcome=Outcome.LIVE,
        )
    notice, refused = arrival.notice, isinstance(arrival, Refused)
    return Pending(
        model=notice.model,
        ledger=notice.ledger,
        sequence=notice.sequence,
        version=notice.version,
        digest=notice.manifest_digest,
        noticed_at=arrival.noticed_at,
        outcome=Outcome.REFUSED if refused else Outcome.LIVE,
        reason=arrival.reason if isinstance(arrival, Refused) else None,
        retired=not refused,
    )
