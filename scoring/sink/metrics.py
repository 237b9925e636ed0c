"""What a sink counts and times. Plain numbers without I/O: one update per batch, none per record."""

from collections import Counter

from scoring.service.histogram import Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DELAYS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0)
_RECORDS = tuple(float(4**power) for power in range(8))


class Metrics:
    """The numbers of one sink since its start; changed by its hot thread only."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()  # by topic
        self.unreadable: Counter[str] = Counter()  # by topic
        self.gone: Counter[tuple[str, str]] = Counter()  # offsets, by topic and partition
        self.batches: Counter[str] = Counter()  # by outcome: written, overtaken, failed
        self.batch_records = Histogram(_RECORDS)
        self.write_seconds = Histogram(_SECONDS)
        self.delay_seconds = Histogram(_DELAYS_S)
