"""Watching the workers in steps, for a process that is not the task's own and may be restarted meanwhile.

A ``Watch`` says what is waited for and until when, in absolute times: whoever takes it up again, after a kill, waits
until the same deadline. Whether a worker is alive is still judged on the observer's own monotonic clock (A.11).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from scoring.contract.errors import ConfigurationError, Unavailable
from scoring.promotion.convergence import Follower
from scoring.promotion.entry import LedgerEntry
from scoring.promotion.ledger import Ledger
from scoring.promotion.observer import Answer
from scoring.settings import Settings, read_settings
from training.definition import ModelDefinition
from training.results import Promoted, Waited

log = structlog.get_logger(__name__)

STEP_S = 0.5
# Between attempts to reach a broker or database that is away.
PAUSE_S = 2.0


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What is waited for. It holds no secret: whoever watches reads its own settings.

    Attributes:
        began_at, deadline: by the clock of the machine that began to wait.
    """

    model: str
    sequence: int
    input_topic: str
    began_at: datetime
    deadline: datetime

    @property
    def limit_s(self) -> float:
        """How long may be waited in all."""
        return (self.deadline - self.began_at).total_seconds()

    def waited_s(self, now: datetime) -> float:
        """How much of the limit is used up; none where the clock was set back."""
        return max(0.0, (now - self.began_at).total_seconds())


def watch_for(definition: ModelDefinition, promoted: Promoted, began_at: datetime, limit: timedelta) -> Watch | None:
    """The watch for what a run promoted; None where it promoted nothing."""
    if promoted.sequence is None:
        return None
    return Watch(
        model=definition.name,
        sequence=promoted.sequence,
        input_topic=definition.all_topics.input,
        began_at=began_at,
        deadline=began_at + limit,
    )


def decided_entry(ledger: Ledger, model: str, sequence: int) -> LedgerEntry:
    """The entry that is waited for.

    Raises:
        ConfigurationError: the ledger has no such entry.
    """
    entry = ledger.entry(model, sequence)
    if entry is None:
        raise ConfigurationError(
            f"{model}: the ledger has no sequence {sequence}; was it promoted on another ledger? Check BATON_LEDGER_URL"
        )
    return entry


def waited_of(answer: Answer) -> Waited:
    """A settled answer as the pipeline hands it on."""
    return Waited(state=answer.standing.value, green=answer.green, sentence=answer.sentence)


def open_follower(watch: Watch, settings: Settings, now: datetime) -> Follower:
    """Begin, or begin again, to follow the workers.

    Raises:
        Unavailable: the ledger or the broker cannot be reached.
        ConfigurationError: a setting, a topic or the entry is missing.
    """
    ledger = Ledger.open(settings.need_ledger_url())
    return Follower(
        decided_entry(ledger, watch.model, watch.sequence),
        ledger=ledger,
        kafka=settings.need_kafka(),
        keyring=settings.need_keyring(),
        input_topic=watch.input_topic,
        limit_s=watch.limit_s,
        waited_s=watch.waited_s(now),
    )


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Watcher:
    """Watches in short steps; one that fails because a system is away is repeated until the deadline.

    Args:
        opening: makes the follower; it is made anew after a failure.
        now: the wall clock, which only the deadline is held against.
    """

    def __init__(
        self,
        watch: Watch,
        *,
        opening: Callable[[Watch, datetime], Follower] = lambda watch, now: open_follower(watch, read_settings(), now),
        now: Callable[[], datetime] = utc_now,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._watch = watch
        self._opening = opening
        self._now = now
        self._pause = pause
        self._follower: Follower | None = None
        self._said = ""

    def step(self) -> Waited | None:
        """Watch for a moment; None while there is still something to wait for.

        Raises:
            Unavailable: a system is still away after the deadline.
            ConfigurationError: see ``open_follower``.
        """
        try:
            if self._follower is None:
                self._follower = self._opening(self._watch, self._now())
            answer = self._follower.step(STEP_S)
        except Unavailable as error:
            self.close()
            if self._now() >= self._watch.deadline:
                raise
            self._tell(f"the workers cannot be watched now: {error}")
            self._pause(PAUSE_S)
            return None
        self._tell(answer.sentence)
        return waited_of(answer) if answer.settled else None

    def look(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> Waited | None:
        """Watch for so long; None where it is not enough. See ``step`` for the errors."""
        until = clock() + seconds
        try:
            while (waited := self.step()) is None and clock() < until:
                pass
        finally:
            self.close()
        return waited

    def close(self) -> None:
        """Let go of the connections; the next step opens them again."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()

    def _tell(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            log.info("promotion.waiting", model=self._watch.model, sequence=self._watch.sequence, stands=sentence)
