"""The thread that follows the workers' heartbeats and acknowledgements, as long as somebody looks at the page."""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import structlog
from confluent_kafka import Message

from scoring.contract.acknowledgement import Acknowledgement, unseal_acknowledgement
from scoring.contract.envelope import Keyring
from scoring.contract.errors import BatonError, EnvelopeRejected
from scoring.contract.heartbeat import unseal_heartbeat
from scoring.contract.topics import ACKNOWLEDGEMENTS, WORKERS
from scoring.kafka import Options, Tail, admin_client, headers_of, topic_ids
from scoring.settings import Settings, read_settings
from scoring.worker.fleet import Fleet, Row

log = structlog.get_logger(__name__)

# Whoever is there speaks every two seconds; older heartbeats tell only who was there.
LOOK_BACK = timedelta(minutes=10)
LOOK_BACK_AT_ACKNOWLEDGEMENTS = timedelta(days=30)
IDLE_S = 120.0
QUIET_S = 6.0
# Two heartbeats, so that there is a rate.
FIRST_LOOK_S = 2.5
_ASK_S = 3.0
_PAUSE_S = 3.0
_POLL_S = 0.5


class Crew(msgspec.Struct, frozen=True):
    """The workers of all models.

    Attributes:
        rows: a row per model and worker.
        answers: the newest acknowledgement of each sequence, by model, sequence and worker.
    """

    rows: tuple[Row, ...]
    answers: Mapping[tuple[str, int, str], Acknowledgement]

    def of(self, model: str) -> tuple[Row, ...]:
        """The rows of one model."""
        return tuple(row for row in self.rows if row.model == model)

    def answers_to(self, model: str, sequence: int) -> tuple[Acknowledgement, ...]:
        """What the workers said to one sequence, in the order of their names."""
        found = [
            (worker, said) for (of, number, worker), said in self.answers.items() if (of, number) == (model, sequence)
        ]
        return tuple(said for _, said in sorted(found, key=lambda each: each[0]))


class Listener:
    """Follows the two topics in a thread that starts with the first look and ends when nobody looked for a while."""

    def __init__(
        self, settings: Callable[[], Settings] = read_settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looked_at_s = clock()
        self._told = threading.Event()
        self._problem: str | None = None
        self._begin()

    def look(self, _: str = "") -> Crew:
        """What is known of the workers by now; the first look listens for a moment.

        Raises:
            BatonError: the broker cannot be reached, or a setting is missing.
        """
        with self._lock:
            self._looked_at_s = self._clock()
            if self._thread is None:
                self._begin()
                self._thread = threading.Thread(target=self._listen, name="baton-listener", daemon=True)
                self._thread.start()
        self._told.wait(FIRST_LOOK_S + _ASK_S)
        if self._problem is not None:
            raise BatonError(self._problem)
        return Crew(tuple(self._fleet.rows(self._clock())), dict(self._answers))

    def _begin(self) -> None:
        self._fleet = Fleet()
        self._answers: dict[tuple[str, int, str], Acknowledgement] = {}
        self._told.clear()
        self._problem = None

    def _listen(self) -> None:
        while not self._over():
            try:
                settings = self._settings()
                self._follow(settings.need_kafka(), settings.need_keyring())
            except BatonError as error:
                self._problem = str(error)
                self._told.set()
                time.sleep(_PAUSE_S)
            except Exception as error:  # the next look starts another thread
                log.exception("page.listening_failed")
                self._problem = f"the workers' topic: {type(error).__name__}; the API server's log says more"
                self._told.set()
                break
        with self._lock:
            self._thread = None

    def _over(self) -> bool:
        with self._lock:
            return self._clock() - self._looked_at_s > IDLE_S

    def _follow(self, kafka: Options, keyring: Keyring) -> None:
        """Hear until nobody looks any more, or the broker is away."""
        now = datetime.now(UTC)
        starts = {WORKERS: now - LOOK_BACK, ACKNOWLEDGEMENTS: now - LOOK_BACK_AT_ACKNOWLEDGEMENTS}
        began_s = heard_s = self._clock()
        with Tail(kafka, starts, _ASK_S) as tail:
            while not self._over():
                message = tail.poll(_POLL_S)
                if message is not None:
                    heard_s = self._clock()
                    self._take(message, tail, keyring)
                elif self._clock() - heard_s > QUIET_S:
                    topic_ids(admin_client(kafka), [WORKERS], _ASK_S)  # silence, or a broker that is away?
                    heard_s = self._clock()
                if tail.at_end and self._clock() - began_s >= FIRST_LOOK_S:
                    self._problem = None
                    self._told.set()

    def _take(self, message: Message, tail: Tail, keyring: Keyring) -> None:
        try:
            if message.topic() == WORKERS:
                beat = unseal_heartbeat(message.key(), message.value(), headers_of(message), keyring)
                of_before = (message.offset() or 0) < tail.ends[WORKERS]
                self._fleet.hear(beat, None if of_before else self._clock())
            else:
                said = unseal_acknowledgement(message.key(), message.value(), headers_of(message), keyring)
                self._answers[said.model, said.sequence, said.worker] = said
        except EnvelopeRejected:  # whoever runs the worker sees these in its metrics; here they are not believed
            pass
