"""A sink's numbers in Prometheus's words.

``METRICS`` has every name with its meaning and labels; docs/reference/metrics.md repeats it, and a test compares them.
"""

from collections.abc import Callable, Iterator

import msgspec

from scoring.service.exposition import Histograms, Named, Numbers, Values, labelled, tupled
from scoring.service.exposition import exposition as answering
from scoring.sink.metrics import Metrics
from scoring.sink.readiness import View

_TOPIC, _PARTITION = ("topic",), ("topic", "partition")
METRICS: tuple[Named, ...] = (
    Named("gauge", "baton_sink_info", "Always 1.", ("sink", "baton")),
    Named("gauge", "baton_sink_live", "1 while the hot thread comes round, else 0."),
    Named("gauge", "baton_sink_ready", "1 while everything that comes is written, else 0."),
    Named("gauge", "baton_sink_database_up", "1 while the database can be written, else 0."),
    Named("counter", "baton_sink_records", "Records in the tables, committed.", _TOPIC),
    Named("counter", "baton_sink_unreadable", "Those of them that could not be read.", _TOPIC),
    Named("counter", "baton_sink_gone", "Offsets that retention removed before they were read.", _PARTITION),
    Named("counter", "baton_sink_batches", "Batches by outcome: written, overtaken or failed.", ("outcome",)),
    Named("histogram", "baton_sink_batch_records", "Records of a batch."),
    Named("histogram", "baton_sink_write_seconds", "What a batch's transaction took."),
    Named("histogram", "baton_sink_delay_seconds", "From a batch's last record's timestamp to its commit."),
    Named("gauge", "baton_sink_lag_records", "Records behind the end of a partition.", _PARTITION),
    Named("gauge", "baton_sink_lag_seconds", "How long a partition is behind its end; 0 at the end.", _PARTITION),
    Named("gauge", "baton_sink_partition_waiting", "1 while a partition is not being read, else 0.", _PARTITION),
)


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the numbers come from; the callable is asked at each scrape."""

    metrics: Metrics
    view: Callable[[], View]
    info: tuple[str, str]


def exposition(source: Source) -> Callable[[str], tuple[bytes, str]]:
    """What answers a scrape: from its ``Accept`` header to the text and its content type."""
    return answering(METRICS, Numbers(lambda: _numbers(source), lambda: _histograms(source.metrics)))


def _numbers(source: Source) -> Iterator[tuple[str, Values]]:
    metrics, view = source.metrics, source.view()
    places = view.report.partitions
    yield "baton_sink_info", [(source.info, 1.0)]
    yield "baton_sink_live", [((), float(view.live))]
    yield "baton_sink_ready", [((), float(view.ready))]
    yield "baton_sink_database_up", [((), float(view.report.problem is None))]
    # From the start, though nothing was counted yet: else the first of them would be no increase.
    topics = dict.fromkeys((p.topic for p in places), 0)
    yield "baton_sink_records", labelled({**topics, **metrics.records})
    yield "baton_sink_unreadable", labelled({**topics, **metrics.unreadable})
    yield "baton_sink_gone", tupled({**dict.fromkeys((p.labels for p in places), 0), **metrics.gone})
    yield "baton_sink_batches", labelled(metrics.batches)
    yield "baton_sink_lag_records", [(p.labels, float(p.lag)) for p in places if p.lag is not None]
    yield "baton_sink_lag_seconds", [(p.labels, p.lag_s) for p in places if p.lag_s is not None]
    yield "baton_sink_partition_waiting", [(p.labels, float(p.next_offset is None)) for p in places]


def _histograms(metrics: Metrics) -> Iterator[tuple[str, Histograms]]:
    yield "baton_sink_batch_records", [((), metrics.batch_records)]
    yield "baton_sink_write_seconds", [((), metrics.write_seconds)]
    yield "baton_sink_delay_seconds", [((), metrics.delay_seconds)]
