"""A service's numbers in Prometheus's words. Everything is put together when it is asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from scoring.service.histogram import Histogram

Labels = tuple[str, ...]
Values = Iterable[tuple[Labels, float]]
Histograms = Iterable[tuple[Labels, Histogram]]


class Named(NamedTuple):
    """One metric: its kind, its name without the suffix that Prometheus's client adds, its meaning and its labels."""

    kind: str
    name: str
    meaning: str
    labels: Labels = ()


class Numbers(NamedTuple):
    """Where the numbers come from, by the names of their metrics; asked at each scrape."""

    values: Callable[[], Iterable[tuple[str, Values]]]
    histograms: Callable[[], Iterable[tuple[str, Histograms]]]


def exposition(metrics: Sequence[Named], numbers: Numbers) -> Callable[[str], tuple[bytes, str]]:
    """What answers a scrape: from its ``Accept`` header to the text and its content type."""
    from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector  # noqa: PLC0415 - at the first scrape
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(_Collector(metrics, numbers))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)

    def answer(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return bytes(encode(registry)), str(content_type)

    return answer


class _Collector:
    """What Prometheus's client asks for families of samples."""

    def __init__(self, metrics: Sequence[Named], numbers: Numbers) -> None:
        self._by_name = {metric.name: metric for metric in metrics}
        self._numbers = numbers

    def describe(self) -> Iterable[Any]:
        """Nothing at registration: nothing is counted yet."""
        return ()

    def collect(self) -> Iterator[Any]:
        """All families."""
        from prometheus_client import core  # noqa: PLC0415 - see ``exposition``

        kinds = {"gauge": core.GaugeMetricFamily, "counter": core.CounterMetricFamily}
        for name, values in self._numbers.values():
            metric = self._by_name[name]
            family = kinds[metric.kind](name, metric.meaning, labels=metric.labels)
            for labels, value in values:
                family.add_metric(labels, value)
            yield family
        for name, histograms in self._numbers.histograms():
            metric = self._by_name[name]
            found = core.HistogramMetricFamily(name, metric.meaning, labels=metric.labels)
            for labels, histogram in histograms:
                buckets, total = histogram.read()
                found.add_metric(labels, buckets, total)
            yield found


def labelled(counts: Mapping[str, int]) -> Values:
    """Counts by one label."""
    return [((label,), float(count)) for label, count in dict(counts).items()]


def tupled(counts: Mapping[tuple[str, str], int]) -> Values:
    """Counts by two labels."""
    return [(labels, float(count)) for labels, count in dict(counts).items()]
