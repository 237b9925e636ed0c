"""What the API counts and times, in Prometheus's words.

``METRICS`` has every name with its meaning and labels; docs/reference/metrics.md repeats it, and a test compares them.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from scoring import __version__
from scoring.api.answers import Result
from scoring.api.hand import Hand
from scoring.contract.heartbeat import ModelStatus
from scoring.scorer.decode import Failure
from scoring.service.exposition import Histograms, Named, Numbers, Values, labelled, tupled
from scoring.service.exposition import exposition as answering
from scoring.service.histogram import Histogram
from scoring.worker.exposition import CacheState
from scoring.worker.metrics import DECODE, EMIT, ENCODE, LOOK_UP, SCORE

READ, QUEUE = "read", "queue"
STAGES = (READ, QUEUE, DECODE, LOOK_UP, ENCODE, SCORE, EMIT)
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECORDS = tuple(float(2**power) for power in range(0, 13, 2))
_STATES = ("waiting", "fetching", "live", "refused", "retired")
_MODEL = ("model",)

METRICS: tuple[Named, ...] = (
    Named("gauge", "baton_api_info", "Always 1.", ("process", "instance", "baton")),
    Named("gauge", "baton_api_ready", "1 while each model scores here, else 0."),
    Named("counter", "baton_api_requests", "Requests by what was asked and the status.", ("operation", "status")),
    Named("counter", "baton_api_problems", "Those that were answered with a problem, by its code.", ("problem",)),
    Named("histogram", "baton_api_request_seconds", "From a request's head to its answer.", ("operation",)),
    Named("counter", "baton_api_records", "Records that got a score or a reason.", _MODEL),
    Named("counter", "baton_api_failures", "Those of them that have no score.", ("model", "reason")),
    Named("histogram", "baton_api_batch_records", "Records of a micro-batch."),
    Named("histogram", "baton_api_stage_seconds", "What requests and micro-batches spent in each stage.", ("stage",)),
    Named("gauge", "baton_api_requests_in_hand", "Requests to score that are not answered yet."),
    Named("gauge", "baton_api_records_in_hand", "Their records."),
    Named("gauge", "baton_api_bytes_in_hand", "Their bytes."),
    Named("counter", "baton_api_swaps", "Bundles that were taken in, by outcome.", ("model", "outcome")),
    Named("gauge", "baton_api_model_info", "Always 1: the version that scores.", ("model", "version", "sequence")),
    Named("gauge", "baton_api_model_sequence", "The ledger's sequence that scores.", _MODEL),
    Named("gauge", "baton_api_model_state", "1 for the state of a model, 0 for the others.", ("model", "state")),
    Named("counter", "baton_api_notices_rejected", "Notices that were not believed.", ("reason",)),
    Named("gauge", "baton_api_cache_bundles", "Verified bundles in the cache directory."),
    Named("gauge", "baton_api_cache_bytes", "What they take."),
    Named("gauge", "baton_api_cache_free_bytes", "What is free in the cache directory's file system."),
)


class ApiMetrics:
    """The numbers of one process since its start.

    The scoring thread changes those of micro-batches and swaps, the event loop all others.

    Args:
        clock_s: monotonic, for what takes time.
    """

    def __init__(self, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._clock_s = clock_s
        self._lap_at_s = 0.0
        self.stages = {stage: Histogram(_SECONDS) for stage in STAGES}
        self.batch_records = Histogram(_RECORDS)
        self.requests: Counter[tuple[str, str]] = Counter()  # by operation and status
        self.problems: Counter[str] = Counter()
        self.seconds: dict[str, Histogram] = {}  # by operation
        self.records: Counter[str] = Counter()  # by model
        self.failures: Counter[tuple[str, str]] = Counter()  # by model and reason
        self.swaps: Counter[tuple[str, str]] = Counter()  # by model and outcome

    def begin(self) -> None:
        """A micro-batch begins."""
        self._lap_at_s = self._clock_s()

    def lap(self, stage: str) -> None:
        """The time since the last lap went into ``stage``."""
        now_s = self._clock_s()
        self.stages[stage].observe(now_s - self._lap_at_s)
        self._lap_at_s = now_s

    def observe(self, stage: str, took_s: float) -> None:
        """A stage of a request's took so long."""
        self.stages[stage].observe(took_s)

    def scored(self, model: str, results: Sequence[Result]) -> None:
        """A micro-batch has its results."""
        self.batch_records.observe(len(results))
        self.records[model] += len(results)
        for result in results:
            if isinstance(result, Failure):
                self.failures[model, result.reason.value] += 1

    def answered(self, operation: str, status: int, took_s: float) -> None:
        """A request was answered."""
        self.requests[operation, str(status)] += 1
        if operation not in self.seconds:
            self.seconds[operation] = Histogram(_SECONDS)
        self.seconds[operation].observe(took_s)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the numbers come from; the callables are asked at each scrape."""

    metrics: ApiMetrics
    hand: Hand
    statuses: Callable[[], Mapping[str, ModelStatus]]
    ready: Callable[[], bool]
    rejected: Callable[[], Mapping[str, int]]
    cache: Callable[[], CacheState | None]
    process: str
    instance: str


def exposition(source: Source) -> Callable[[str], tuple[bytes, str]]:
    """What answers a scrape: from its ``Accept`` header to the text and its content type."""
    return answering(METRICS, Numbers(lambda: _numbers(source), lambda: _histograms(source.metrics)))


def _numbers(source: Source) -> Iterator[tuple[str, Values]]:
    metrics, hand = source.metrics, source.hand
    yield "baton_api_info", [((source.process, source.instance, __version__), 1.0)]
    yield "baton_api_ready", [((), float(source.ready()))]
    yield "baton_api_requests", tupled(metrics.requests)
    yield "baton_api_problems", labelled(metrics.problems)
    yield "baton_api_records", labelled(metrics.records)
    yield "baton_api_failures", tupled(metrics.failures)
    yield "baton_api_requests_in_hand", [((), float(hand.requests))]
    yield "baton_api_records_in_hand", [((), float(hand.records))]
    yield "baton_api_bytes_in_hand", [((), float(hand.size_bytes))]
    yield "baton_api_swaps", tupled(metrics.swaps)
    yield "baton_api_notices_rejected", labelled(source.rejected())
    yield from _models(source.statuses())
    state = source.cache()
    if state is not None:
        yield "baton_api_cache_bundles", [((), float(state.bundles))]
        yield "baton_api_cache_bytes", [((), float(state.size_bytes))]
        yield "baton_api_cache_free_bytes", [((), float(state.free_bytes))]


def _models(statuses: Mapping[str, ModelStatus]) -> Iterator[tuple[str, Values]]:
    scoring = [(name, status) for name, status in statuses.items() if status.sequence is not None]
    infos = [((name, status.version or "", str(status.sequence)), 1.0) for name, status in scoring]
    yield "baton_api_model_info", infos
    yield "baton_api_model_sequence", [((name,), float(status.sequence or 0)) for name, status in scoring]
    states = [((n, state), float(status.state.value == state)) for n, status in statuses.items() for state in _STATES]
    yield "baton_api_model_state", states


def _histograms(metrics: ApiMetrics) -> Iterator[tuple[str, Histograms]]:
    yield "baton_api_request_seconds", [((operation,), found) for operation, found in dict(metrics.seconds).items()]
    yield "baton_api_batch_records", [((), metrics.batch_records)]
    yield "baton_api_stage_seconds", [((stage,), found) for stage, found in metrics.stages.items()]
