"""Simulated workers, many in one thread: they follow the notices, acknowledge, and say signed that they are live."""

import threading
import time
from datetime import UTC, datetime
from typing import Self
from uuid import UUID, uuid4

from confluent_kafka import Message, Producer

from scoring.contract.acknowledgement import Acknowledgement, Outcome, Position, seal_acknowledgement
from scoring.contract.envelope import Keyring, Sealed
from scoring.contract.errors import EnvelopeRejected
from scoring.contract.heartbeat import Heartbeat, ModelStatus, State, seal_heartbeat
from scoring.contract.manifest import Topics
from scoring.contract.notice import Notice, unseal_notice
from scoring.contract.topics import ACKNOWLEDGEMENTS, NOTICES, WORKERS
from scoring.kafka import Options, Tail, headers_of

SLOTS = 2
# Quicker than a real worker's, so that a thousand rounds take minutes.
BEAT_EVERY_S = 0.5
POLL_S = 0.02


class Member:
    """One worker: its slot owns the partition of the same number."""

    def __init__(self, model: str, slot: int) -> None:
        self.model = model
        self.slot = slot
        self.delay_s = 0.0
        self.worker = f"d-{model}/{slot}"
        self.instance = uuid4().hex
        self.counter = 0
        self.highest = 0
        self.live: Notice | None = None
        self.due: tuple[float, Notice] | None = None

    def notice(self, notice: Notice, now_s: float) -> None:
        """Take what is newer than everything taken before; late, doubled and reordered ones change nothing."""
        if notice.sequence > self.highest:
            self.highest = notice.sequence
            self.due = (now_s + self.delay_s, notice)


class Crew:
    """Two workers for each model. A context manager: entering starts the thread."""

    def __init__(self, kafka: Options, keyring: Keyring, ledger: UUID, models: list[str]) -> None:
        self._kafka = kafka
        self._keyring = keyring
        self._ledger = ledger
        self._members = [Member(model, slot) for model in models for slot in range(SLOTS)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._producer = Producer({**kafka, "linger.ms": 0})
        self.rejected = 0
        self.failure: BaseException | None = None

    def live(self, model: str) -> list[int]:
        """The sequence of each worker of a model; 0 where it has none yet."""
        assert self.failure is None, f"the simulated workers failed: {self.failure!r}"
        return [member.live.sequence if member.live else 0 for member in self._members if member.model == model]

    def hesitate(self, model: str, seconds: float) -> None:
        """Let the second worker of a model go live so much later than the first from now on."""
        for member in self._members:
            if member.model == model and member.slot:
                member.delay_s = seconds

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)
        self._producer.close()

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:
            self.failure = error
            raise

    def _follow(self) -> None:
        beaten_s = 0.0
        with Tail(self._kafka, {NOTICES: None}) as tail:
            while not self._stop.is_set():
                message = tail.poll(POLL_S)
                now_s = time.monotonic()
                if message is not None:
                    self._take(message, now_s)
                changed = [member for member in self._members if self._swap(member, now_s)]
                if now_s - beaten_s > BEAT_EVERY_S:
                    beaten_s, changed = now_s, self._members
                for member in changed:
                    self._beat(member)
                self._producer.poll(0)

    def _take(self, message: Message, now_s: float) -> None:
        try:
            notice = unseal_notice(message.key(), message.value(), headers_of(message), self._keyring)
        except EnvelopeRejected:
            self.rejected += 1
            return
        for member in self._members:
            if member.model == notice.model and notice.ledger == self._ledger:
                member.notice(notice, now_s)

    def _swap(self, member: Member, now_s: float) -> bool:
        if member.due is None or now_s < member.due[0]:
            return False
        notice, member.due = member.due[1], None
        self._send(ACKNOWLEDGEMENTS, self._acknowledgement(member, notice))
        assert self._producer.flush(20) == 0
        member.live = notice  # said only once the acknowledgement is there (protocol A.9)
        return True

    def _acknowledgement(self, member: Member, notice: Notice) -> Sealed:
        now = datetime.now(UTC)
        said = Acknowledgement(
            ledger=self._ledger,
            model=notice.model,
            sequence=notice.sequence,
            version=notice.version,
            worker=member.worker,
            instance=member.instance,
            outcome=Outcome.LIVE,
            noticed_at=now,
            at=now,
            positions=(_position(member),),
        )
        return seal_acknowledgement(said, event_id=str(uuid4()), keyring=self._keyring)

    def _beat(self, member: Member) -> None:
        member.counter += 1
        live, due = member.live, member.due
        status = ModelStatus(
            state=State.FETCHING if due else State.LIVE if live else State.WAITING,
            sequence=live.sequence if live else None,
            version=live.version if live else None,
            pending=due[1].sequence if due else None,
            positions=(_position(member),),
        )
        beat = Heartbeat(
            worker=member.worker,
            instance=member.instance,
            counter=member.counter,
            at=datetime.now(UTC),
            ledger=self._ledger,
            models={member.model: status},
        )
        self._send(WORKERS, seal_heartbeat(beat, event_id=str(uuid4()), keyring=self._keyring))

    def _send(self, topic: str, sealed: Sealed) -> None:
        self._producer.produce(topic, sealed.value, sealed.key, headers=list(sealed.headers))


def _position(member: Member) -> Position:
    return Position(topic=Topics.of(member.model).input, topic_id="simulated", partition=member.slot, offset=0)
