"""Watches the predictions while they are written, for the demonstration's pace and progress, not for its proof."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

_BATCH = 5_000


class _Scored(msgspec.Struct):
    sequence: int
    version: str


class Watcher:
    """Counts committed predictions by sequence in a thread of its own. A context manager."""

    def __init__(self, kafka: Mapping[str, Any], topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {
                **kafka,
                "group.id": "baton-demo-watcher",  # never joined: partitions are assigned by hand
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
            }
        )
        self._consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
        self._counts: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    @property
    def sequence(self) -> int:
        """The highest sequence seen; 0 before the first prediction."""
        with self._changed:
            return max(self._counts, default=0)

    @property
    def total(self) -> int:
        """Predictions so far."""
        with self._changed:
            return self._counts.total()

    def count(self, sequence: int) -> int:
        """Predictions of ``sequence`` so far."""
        with self._changed:
            return self._counts[sequence]

    def wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``condition``, asked after every batch of predictions, holds; False when time is up."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def _run(self) -> None:
        decode = msgspec.json.Decoder(_Scored).decode
        while not self._stopped.is_set():
            messages = self._consumer.consume(_BATCH, 0.1)
            values = [message.value() for message in messages if message.error() is None]
            sequences = [decode(value).sequence for value in values if value is not None]
            if sequences:
                with self._changed:
                    self._counts.update(sequences)
                    self._changed.notify_all()

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching; harmless to repeat."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._thread.join()
            self._consumer.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
