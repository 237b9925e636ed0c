"""The heartbeat thread: every two seconds, what this worker is doing with each of its models (protocol A.9)."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import structlog
from confluent_kafka import KafkaException, Producer

from scoring.contract.envelope import Keyring
from scoring.contract.heartbeat import Heartbeat, ModelStatus, State, seal_heartbeat
from scoring.contract.topics import WORKERS
from scoring.worker.fetching import Phase

INTERVAL_S = 2.0
log = structlog.get_logger()


def merge(scoring: ModelStatus | None, phase: Phase) -> ModelStatus:
    """One status from what the hot thread scores and what the fetching thread is doing.

    The hot thread's word counts for what is live; ``live`` is said only after the acknowledgement's commit, so a
    bundle that is ready but not yet acknowledged still counts as fetching.
    """
    status = scoring or ModelStatus(state=State.WAITING)
    newest = phase.pending or 0
    if status.state is State.HELD or (status.state is State.RETIRED and newest <= (status.pending or 0)):
        return status
    if phase.state is State.REFUSED:
        return _with(status, State.REFUSED, phase)
    if phase.state is State.FETCHING or newest > (status.sequence or 0):
        return _with(status, State.FETCHING, phase)
    return msgspec.structs.replace(status, reason=status.reason or phase.reason)


def _with(status: ModelStatus, state: State, phase: Phase) -> ModelStatus:
    return msgspec.structs.replace(status, state=state, pending=phase.pending, reason=phase.reason)


class HeartbeatSender:
    """Runs the heartbeat thread with a producer of its own, without transactions."""

    def __init__(
        self,
        *,
        producer: Producer,
        keyring: Keyring,
        worker: str,
        instance: str,
        status: Callable[[], Mapping[str, ModelStatus]],
        ledger: Callable[[], UUID | None],
        rejected: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._producer = producer
        self._keyring = keyring
        self._worker = worker
        self._instance = instance
        self._status = status
        self._ledger = ledger
        self._rejected = rejected
        self._counter = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, *, left: bool) -> None:
        """End the thread; after a clean exit the last heartbeat says that the worker left."""
        self._stop.set()
        self._thread.join()
        if left:
            self._send(left=True)
        self._producer.flush(2.0)

    def _run(self) -> None:
        while True:
            self._send(left=False)
            if self._stop.wait(INTERVAL_S):
                return

    def _send(self, *, left: bool) -> None:
        heartbeat = Heartbeat(
            worker=self._worker,
            instance=self._instance,
            counter=self._counter,
            at=datetime.now(UTC),
            left=left,
            ledger=self._ledger(),
            models=self._status(),
            rejected=self._rejected(),
        )
        self._counter += 1
        sealed = seal_heartbeat(heartbeat, event_id=str(uuid4()), keyring=self._keyring)
        try:
            self._producer.produce(WORKERS, sealed.value, sealed.key, headers=[*sealed.headers])
            self._producer.poll(0)
        except (BufferError, KafkaException) as error:  # the next one says the same and more
            log.warning("heartbeat.lost", error=str(error))
