"""A worker's numbers in Prometheus's words. Everything is put together when it is asked for.

``METRICS`` has every name with its meaning and labels; docs/reference/metrics.md repeats it, and a test compares them.
"""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from scoring.service.exposition import Histograms, Named, Numbers, Values, labelled, tupled
from scoring.service.exposition import exposition as answering
from scoring.worker.metrics import Metrics
from scoring.worker.readiness import View

_MODEL = ("model",)
_PARTITION = ("topic", "partition")
METRICS: tuple[Named, ...] = (
    Named("gauge", "baton_worker_info", "Always 1.", ("worker", "instance", "delivery", "baton")),
    Named("gauge", "baton_worker_live", "1 while the hot thread comes round, else 0."),
    Named("gauge", "baton_worker_ready", "1 while each model scores here and no partition is held, else 0."),
    Named("counter", "baton_worker_restarts", "How often the supervisor started this slot again."),
    Named("counter", "baton_worker_records", "Records that got an outcome, committed.", _MODEL),
    Named("counter", "baton_worker_dead_letters", "Those of them that became dead letters.", ("model", "reason")),
    Named("counter", "baton_worker_transactions", "Micro-batches by outcome: committed or aborted.", ("outcome",)),
    Named("counter", "baton_worker_recoveries", "Returns to the committed offsets: rebalance or failure.", ("why",)),
    Named("counter", "baton_worker_put_back", "Micro-batches that were put back: lookup or breaker.", ("topic", "why")),
    Named("histogram", "baton_worker_batch_records", "Records of a micro-batch."),
    Named("histogram", "baton_worker_stage_seconds", "What a micro-batch spent in each stage.", ("stage",)),
    Named("histogram", "baton_worker_delay_seconds", "From a micro-batch's last record's timestamp to its commit."),
    Named("histogram", "baton_worker_swap_pause_seconds", "What taking in a bundle took between two micro-batches."),
    Named("gauge", "baton_worker_lag_records", "Records behind the end of a partition.", _PARTITION),
    Named("gauge", "baton_worker_lag_seconds", "How long a partition is behind its end; 0 at the end.", _PARTITION),
    Named("gauge", "baton_worker_partition_paused", "1 per reason why a partition waits.", (*_PARTITION, "reason")),
    Named("gauge", "baton_worker_partitions", "Assigned partitions.", _MODEL),
    Named("gauge", "baton_worker_breaker_open", "1 while nearly all records would become dead letters.", _MODEL),
    Named("gauge", "baton_worker_model_info", "Always 1: the version that scores.", ("model", "version", "sequence")),
    Named("gauge", "baton_worker_model_sequence", "The ledger's sequence that scores.", _MODEL),
    Named("gauge", "baton_worker_model_state", "1 for the state of a model, 0 for the others.", ("model", "state")),
    Named("counter", "baton_worker_notices_rejected", "Notices that were not believed.", ("reason",)),
    Named("gauge", "baton_worker_cache_bundles", "Verified bundles in the cache directory."),
    Named("gauge", "baton_worker_cache_bytes", "What they take."),
    Named("gauge", "baton_worker_cache_free_bytes", "What is free in the cache directory's file system."),
)
_STATES = ("waiting", "fetching", "live", "refused", "held", "retired")


class CacheState(msgspec.Struct, frozen=True):
    """What the cache directory holds."""

    bundles: int
    size_bytes: int
    free_bytes: int


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the numbers come from; the callables are asked at each scrape."""

    metrics: Metrics
    view: Callable[[], View]
    rejected: Callable[[], Mapping[str, int]]
    cache: Callable[[], CacheState | None]
    info: tuple[str, str, str, str]
    restarts: int = 0


def exposition(source: Source) -> Callable[[str], tuple[bytes, str]]:
    """What answers a scrape: from its ``Accept`` header to the text and its content type."""
    return answering(METRICS, Numbers(lambda: _numbers(source), lambda: _histograms(source.metrics)))


def _numbers(source: Source) -> Iterator[tuple[str, Values]]:
    metrics, view = source.metrics, source.view()
    yield "baton_worker_info", [(source.info, 1.0)]
    yield "baton_worker_live", [((), float(view.live))]
    yield "baton_worker_ready", [((), float(view.ready))]
    yield "baton_worker_restarts", [((), float(source.restarts))]
    yield "baton_worker_records", labelled(metrics.records)
    yield "baton_worker_dead_letters", tupled(metrics.dead_letters)
    yield "baton_worker_transactions", labelled(metrics.transactions)
    yield "baton_worker_recoveries", labelled(metrics.recoveries)
    yield "baton_worker_put_back", tupled(metrics.put_back)
    yield "baton_worker_notices_rejected", labelled(source.rejected())
    yield from _places(view)
    yield from _models(view)
    yield from _cache(source.cache())


def _places(view: View) -> Iterator[tuple[str, Values]]:
    places = view.partitions
    yield "baton_worker_lag_records", [(p.labels, float(p.lag)) for p in places if p.lag is not None]
    yield "baton_worker_lag_seconds", [(p.labels, p.lag_s) for p in places if p.lag_s is not None]
    yield "baton_worker_partition_paused", [((*p.labels, why), 1.0) for p in places for why in p.pauses]


def _models(view: View) -> Iterator[tuple[str, Values]]:
    models = view.models
    scoring = [(name, status) for name, status in models.items() if status.sequence is not None]
    own = {name: [p for p in view.partitions if p.model == name] for name in models}
    yield "baton_worker_partitions", [((name,), float(len(found))) for name, found in own.items()]
    opened = {name: any("breaker" in p.pauses for p in found) for name, found in own.items()}
    yield "baton_worker_breaker_open", [((name,), float(is_open)) for name, is_open in opened.items()]
    infos = [((name, status.version or "", str(status.sequence)), 1.0) for name, status in scoring]
    yield "baton_worker_model_info", infos
    yield "baton_worker_model_sequence", [((name,), float(status.sequence or 0)) for name, status in scoring]
    states = [((n, state), float(status.state.value == state)) for n, status in models.items() for state in _STATES]
    yield "baton_worker_model_state", states


def _cache(state: CacheState | None) -> Iterator[tuple[str, Values]]:
    if state is not None:
        yield "baton_worker_cache_bundles", [((), float(state.bundles))]
        yield "baton_worker_cache_bytes", [((), float(state.size_bytes))]
        yield "baton_worker_cache_free_bytes", [((), float(state.free_bytes))]


def _histograms(metrics: Metrics) -> Iterator[tuple[str, Histograms]]:
    yield "baton_worker_batch_records", [((), metrics.batch_records)]
    yield "baton_worker_stage_seconds", [((stage,), found) for stage, found in metrics.stages.items()]
    yield "baton_worker_delay_seconds", [((), metrics.delay)]
    yield "baton_worker_swap_pause_seconds", [((), metrics.swap_pause)]
