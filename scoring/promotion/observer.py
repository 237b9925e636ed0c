"""Has a promotion converged? A pure observer of heartbeats and acknowledgements, with time as an argument (A.11).

Time is the observer's own monotonic clock, in seconds: clocks of different machines are never compared.
"""

from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

import msgspec

from scoring.contract.acknowledgement import Acknowledgement, Outcome
from scoring.contract.heartbeat import Heartbeat, ModelStatus, State
from scoring.contract.notice import Kind

# A worker is live while its counter advanced within this time.
LIVE_WITHIN_S = 15.0
LIMIT_S = 300.0


class Standing(StrEnum):
    """How a promotion stands. ``waiting`` is the only one that can still change."""

    CONVERGED = "converged"
    SUPERSEDED = "superseded"
    UNSERVED = "unserved"
    REFUSED = "refused"
    TIMED_OUT = "timed-out"
    WAITING = "waiting"


class Presence(StrEnum):
    """Whether a worker counts: only a live one does, and one that was not heard from yet is waited for."""

    LIVE = "live"
    UNHEARD = "unheard"
    SILENT = "silent"
    LEFT = "left"


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """One worker that serves the model, as the observer sees it."""

    worker: str
    instance: str
    presence: Presence
    state: State
    sequence: int | None
    pending: int | None
    arrived: bool
    sentence: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How a promotion stands, with a sentence for people.

    Attributes:
        refusals: why each refusing worker refused, by worker.
        workers: every worker that was seen to serve the model.
        unowned: partitions of the input topic that no worker owns that is live on the sequence.
    """

    model: str
    sequence: int
    standing: Standing
    sentence: str
    refusals: dict[str, str]
    workers: tuple[WorkerView, ...]
    unowned: tuple[int, ...]

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.standing is not Standing.WAITING

    @property
    def green(self) -> bool:
        """Whether the pipeline may go on: converged, superseded, or nobody was ever there to serve it."""
        return self.standing in {Standing.CONVERGED, Standing.SUPERSEDED, Standing.UNSERVED}


class _Seen:
    """What is known of one worker."""

    def __init__(self, beat: Heartbeat, advanced_at_s: float | None) -> None:
        self.beat = beat
        self.advanced_at_s = advanced_at_s
        self.instances = {beat.instance}

    def take(self, beat: Heartbeat, now_s: float | None) -> bool:
        """Take a heartbeat unless it is late, doubled or of an earlier instance; says whether it was taken."""
        if beat.instance == self.beat.instance:
            if beat.counter <= self.beat.counter:
                return False
        elif beat.instance in self.instances:
            return False
        self.instances.add(beat.instance)
        self.beat = beat
        self.advanced_at_s = now_s
        return True


class Observer:
    """Watches one sequence of one model.

    Args:
        ledger: the ledger of the sequence; what follows another one never counts.
        partitions: of the input topic.
        now_s: when the observation begins.
        limit_s: how long it may take.
        waited_s: how much of that earlier observers of the same wait used up, before a restart. One that comes late
            still listens for as long as a live worker may be silent before it gives up.
    """

    def __init__(
        self,
        *,
        ledger: UUID,
        model: str,
        sequence: int,
        kind: Kind,
        input_topic: str,
        partitions: int,
        now_s: float,
        limit_s: float = LIMIT_S,
        waited_s: float = 0.0,
    ) -> None:
        self._ledger = ledger
        self._model = model
        self._sequence = sequence
        self._kind = kind
        self._input_topic = input_topic
        self._partitions = partitions
        self._began_at_s = now_s
        self._limit_s = limit_s
        self._waited_before_s = waited_s
        self._workers: dict[str, _Seen] = {}
        self._refusals: dict[str, str] = {}
        self._newest = sequence
        self._ever_served = False

    def remember(self, beat: Heartbeat) -> None:
        """Take a heartbeat from before the observation: it tells who was ever there, not who is alive."""
        self._take(beat, None)

    def hear(self, beat: Heartbeat, now_s: float) -> None:
        """Take a heartbeat of now."""
        self._take(beat, now_s)

    def acknowledge(self, said: Acknowledgement) -> None:
        """Take an acknowledgement, of any time."""
        if said.ledger != self._ledger or said.model != self._model:
            return
        self._newest = max(self._newest, said.sequence)
        if said.outcome is Outcome.LIVE and said.sequence >= self._sequence:
            self._refusals.pop(said.worker, None)
        elif said.outcome is Outcome.REFUSED and said.sequence == self._sequence:
            self._refusals[said.worker] = said.reason or "no reason given"

    def decided(self, head: int) -> None:
        """Take the sequence of the ledger's head."""
        self._newest = max(self._newest, head)

    def answer(self, now_s: float) -> Answer:
        """How the promotion stands at ``now_s``."""
        views = tuple(self._view(seen, now_s) for _, seen in sorted(self._workers.items()) if self._serves(seen))
        unowned = self._unowned(views)
        standing, sentence = self._judge(views, unowned, now_s)
        return Answer(
            model=self._model,
            sequence=self._sequence,
            standing=standing,
            sentence=sentence,
            refusals=self._standing_refusals(now_s),
            workers=views,
            unowned=unowned,
        )

    def _take(self, beat: Heartbeat, now_s: float | None) -> None:
        known = self._workers.get(beat.worker)
        if known is None:
            self._workers[beat.worker] = _Seen(beat, now_s)
        elif not known.take(beat, now_s):
            return
        status = beat.models.get(self._model)
        if status is None:
            return
        self._ever_served = True
        if beat.ledger == self._ledger:
            self._learn(beat.worker, status)

    def _learn(self, worker: str, status: ModelStatus) -> None:
        self._newest = max(self._newest, status.sequence or 0, status.pending or 0)
        if self._arrived(status):
            self._refusals.pop(worker, None)
        elif status.state is State.REFUSED and status.pending == self._sequence:
            self._refusals[worker] = status.reason or "no reason given"

    def _judge(self, views: tuple[WorkerView, ...], unowned: tuple[int, ...], now_s: float) -> tuple[Standing, str]:
        name = f"sequence {self._sequence} of {self._model}"
        waited_s = now_s - self._began_at_s
        live = [view for view in views if view.presence is Presence.LIVE]
        pending = [view for view in views if view.presence is Presence.UNHEARD or (view in live and not view.arrived)]
        refusals = self._standing_refusals(now_s)
        if refusals:
            return Standing.REFUSED, f"{name} was refused by {_listed(refusals.items())}"
        if live and not pending and not unowned:
            return Standing.CONVERGED, f"{name} is {self._arrival()} on {_names(live)}"
        if self._newest > self._sequence:
            return Standing.SUPERSEDED, f"{name} was superseded by sequence {self._newest} before every worker had it"
        if not self._ever_served and waited_s > min(LIVE_WITHIN_S, self._limit_s):
            return Standing.UNSERVED, f"no worker was ever seen to serve {self._model}; {name} goes live with the first"
        reasons = self._reasons(views, live, pending, unowned)
        if self._waited_before_s + waited_s > self._limit_s and waited_s > min(LIVE_WITHIN_S, self._limit_s):
            return Standing.TIMED_OUT, f"{name} is not live everywhere after {self._limit_s:.0f} s: {reasons}"
        return Standing.WAITING, f"waiting for {name}: {reasons}"

    def _standing_refusals(self, now_s: float) -> dict[str, str]:
        """Those of workers that were there during the observation; what the topics only remember may be long mended."""
        return {worker: why for worker, why in self._refusals.items() if not self._long_gone(worker, now_s)}

    def _long_gone(self, worker: str, now_s: float) -> bool:
        seen = self._workers.get(worker)
        if seen is not None and (seen.advanced_at_s is not None or seen.beat.left):
            return seen.advanced_at_s is None
        return now_s - self._began_at_s > LIVE_WITHIN_S

    def _reasons(
        self, views: tuple[WorkerView, ...], live: list[WorkerView], pending: list[WorkerView], unowned: tuple[int, ...]
    ) -> str:
        found = [f"{view.worker} {view.sentence}" for view in pending]
        if not live and not pending:
            gone = [view.worker for view in views]
            found.append(f"no worker is alive (there were {', '.join(gone)})" if gone else "no worker was seen yet")
        elif unowned:
            found.append(
                f"no worker that is live on {self._sequence} owns partition {', '.join(map(str, unowned))} of "
                f"{self._input_topic}"
            )
        return "; ".join(found)

    def _view(self, seen: _Seen, now_s: float) -> WorkerView:
        beat, status = seen.beat, seen.beat.models[self._model]
        presence = self._presence(seen, now_s)
        arrived = beat.ledger == self._ledger and self._arrived(status)
        return WorkerView(
            worker=beat.worker,
            instance=beat.instance,
            presence=presence,
            state=status.state,
            sequence=status.sequence,
            pending=status.pending,
            arrived=arrived,
            sentence=self._sentence(beat, status, presence, arrived=arrived),
        )

    def _sentence(self, beat: Heartbeat, status: ModelStatus, presence: Presence, *, arrived: bool) -> str:
        if presence is Presence.UNHEARD:
            return "was not heard from yet"
        if presence is not Presence.LIVE:
            return f"is {presence.value}"
        if arrived:
            return f"is {self._arrival()}"
        if beat.ledger is not None and beat.ledger != self._ledger:
            return f"follows another ledger ({beat.ledger}; this one is {self._ledger}); see `baton adopt-ledger`"
        on = "no sequence" if status.sequence is None else f"sequence {status.sequence}"
        return f"is {status.state.value} on {on}" + (f" ({status.reason})" if status.reason else "")

    def _presence(self, seen: _Seen, now_s: float) -> Presence:
        if seen.beat.left:
            return Presence.LEFT
        if seen.advanced_at_s is not None:
            return Presence.LIVE if now_s - seen.advanced_at_s <= LIVE_WITHIN_S else Presence.SILENT
        # Until a live worker must have beaten, one that is only remembered may still be alive.
        return Presence.UNHEARD if now_s - self._began_at_s <= LIVE_WITHIN_S else Presence.SILENT

    def _serves(self, seen: _Seen) -> bool:
        return self._model in seen.beat.models

    def _arrived(self, status: ModelStatus) -> bool:
        if self._kind is Kind.RETIRE:
            return status.state is State.RETIRED and (status.pending or status.sequence or 0) >= self._sequence
        # Fetching, refusing or waiting for something newer, a worker still scores with what it has.
        return status.sequence is not None and status.sequence >= self._sequence

    def _arrival(self) -> str:
        return "retired" if self._kind is Kind.RETIRE else "live"

    def _unowned(self, views: Iterable[WorkerView]) -> tuple[int, ...]:
        if self._kind is Kind.RETIRE:
            return ()  # a retired model's topic is let go of
        able = {view.worker for view in views if view.presence is Presence.LIVE and view.arrived}
        owned = {
            position.partition
            for worker in able
            for position in self._workers[worker].beat.models[self._model].positions
            if position.topic == self._input_topic
        }
        return tuple(partition for partition in range(self._partitions) if partition not in owned)


def _names(views: Iterable[WorkerView]) -> str:
    names = [view.worker for view in views]
    return f"{len(names)} worker{'s' if len(names) > 1 else ''}: {', '.join(names)}"


def _listed(refusals: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"{worker} ({reason})" for worker, reason in sorted(refusals))
