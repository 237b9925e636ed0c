"""What a worker counts and times. Plain numbers without I/O: one update per micro-batch, none per record.

Each number is changed by one thread only: flush and commit times by the committer's, everything else by the hot one.
Others read copies, which may be a micro-batch old.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import msgspec
from confluent_kafka import Message

from scoring.contract.dead_letter import PREFIX
from scoring.service.histogram import Histogram
from scoring.worker.emit import Output

CONSUME, DECODE, LOOK_UP, ENCODE, SCORE, EMIT = "consume", "decode", "look_up", "encode", "score", "emit"
PRODUCE, FLUSH, COMMIT = "produce", "flush", "commit"
STAGES = (CONSUME, DECODE, LOOK_UP, ENCODE, SCORE, EMIT, PRODUCE, FLUSH, COMMIT)

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_DELAYS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0)
_RECORDS = tuple(float(2**power) for power in range(0, 13, 2))
_REASON = f"{PREFIX}reason"
# So many micro-batches tell the delay of now.
_RECENT = 100


class Tally(msgspec.Struct, frozen=True):
    """What one micro-batch made of one model's records; it counts once its transaction is committed.

    Attributes:
        records: how many have an outcome in it.
        letters: how many of these are dead letters, by reason.
        newest_ms: the timestamp of the last record, in milliseconds since 1970; None where it has none.
    """

    model: str
    records: int
    letters: Mapping[str, int]
    newest_ms: int | None = None


class Metrics:
    """The numbers of one worker since its start.

    Args:
        clock_s: monotonic, for what takes time.
    """

    def __init__(self, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._clock_s = clock_s
        self._lap_at_s = 0.0
        self._laps: dict[str, float] = {}
        self.stages = {stage: Histogram(_SECONDS) for stage in STAGES}
        self.batch_records = Histogram(_RECORDS)
        self.swap_pause = Histogram(_SECONDS)
        self.delay = Histogram(_DELAYS_S)
        self.records: Counter[str] = Counter()  # by model, dead letters included
        self.dead_letters: Counter[tuple[str, str]] = Counter()  # by model and reason
        self.swap_pauses: dict[str, float] = {}  # the last one, in seconds, by model
        self._delays: dict[str, deque[float]] = {}  # of the last micro-batches, in seconds, by model
        self.put_back: Counter[tuple[str, str]] = Counter()  # by topic and why
        self.recoveries: Counter[str] = Counter()  # by why
        self.transactions: Counter[str] = Counter()  # by outcome: committed, aborted

    # --- the time of stages ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A turn of the loop begins."""
        self._laps.clear()
        self._lap_at_s = self._clock_s()

    def lap(self, stage: str) -> None:
        """The time since the last lap went into ``stage``."""
        now_s = self._clock_s()
        self._laps[stage] = self._laps.get(stage, 0.0) + now_s - self._lap_at_s
        self._lap_at_s = now_s

    def end(self, records: int) -> None:
        """A micro-batch of so many records was handed over: observe each of its stages once."""
        for stage, took_s in self._laps.items():
            self.stages[stage].observe(took_s)
        self._laps.clear()
        self.batch_records.observe(records)

    def timed(self, stage: str, took_s: float) -> None:
        """A stage of the committer's took so long."""
        self.stages[stage].observe(took_s)

    # --- what became of records -----------------------------------------------------------------------------------

    def committed(self, tallies: Sequence[Tally], at_s: float) -> None:
        """The transaction of these was committed at ``at_s``, in seconds since 1970."""
        self.transactions["committed"] += 1
        for tally in tallies:
            self.records[tally.model] += tally.records
            for reason, count in tally.letters.items():
                self.dead_letters[tally.model, reason] += count
            if tally.newest_ms is not None:
                self._delayed(tally.model, max(0.0, at_s - tally.newest_ms / 1_000))

    def swapped(self, model: str, took_s: float) -> None:
        """Taking in a bundle of a model took so long."""
        self.swap_pause.observe(took_s)
        self.swap_pauses[model] = took_s

    def delay_of(self, model: str) -> float | None:
        """The median delay of a model's last micro-batches, in seconds; None before the first."""
        recent = self._delays.get(model)
        return round(median(recent.copy()), 6) if recent else None

    def letters_of(self, model: str) -> dict[str, int]:
        """A model's dead letters, by reason."""
        return {reason: count for (name, reason), count in self.dead_letters.copy().items() if name == model}

    def _delayed(self, model: str, delay_s: float) -> None:
        self.delay.observe(delay_s)
        self._delays.setdefault(model, deque(maxlen=_RECENT)).append(delay_s)


def tally(model: str, messages: Sequence[Message], outputs: Sequence[Output], letters: int) -> Tally:
    """The tally of one model's part of a micro-batch, of whose outputs ``letters`` are dead letters."""
    reasons: Counter[str] = Counter()
    if letters:
        reasons.update(reason for output in outputs if (reason := _reason(output)) is not None)
    return Tally(model, len(outputs), reasons, timestamp_ms(messages[-1]) if messages else None)


def merged(tallies: Sequence[Tally]) -> list[Tally]:
    """One tally per model of a micro-batch that was scored in several goes."""
    found: dict[str, Tally] = {}
    for one in tallies:
        so_far = found.get(one.model)
        if so_far is not None:
            letters = Counter(so_far.letters) + Counter(one.letters)
            one = Tally(one.model, so_far.records + one.records, letters, one.newest_ms)  # noqa: PLW2901
        found[one.model] = one
    return [*found.values()]


def timestamp_ms(message: Message) -> int | None:
    """A record's timestamp, in milliseconds since 1970; None where it has none."""
    kind, moment_ms = message.timestamp()
    return None if kind == 0 or moment_ms < 0 else moment_ms


def _reason(output: Output) -> str | None:
    """Why an output is a dead letter; None where it is none. The last header of the name is Baton's own."""
    for name, value in reversed(output.headers or ()):
        if name == _REASON:
            return (value or b"").decode("utf-8", "replace")
    return None
