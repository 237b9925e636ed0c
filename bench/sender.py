"""Sends records in open loop: at their times, whatever becomes of them."""

import threading
import time
from collections.abc import Callable

from confluent_kafka import Producer

from bench.ground import Ground
from bench.visible import PARTITIONS

NAP_S = 0.001
IN_A_ROW = 16


class Sender:
    """Sends flights with the moment of sending, in nanoseconds since 1970, as the key.

    Args:
        linger_ms: how long the client gathers records; where nobody looks at latency, more spares the broker's core.
    """

    def __init__(self, ground: Ground, topic: str, linger_ms: float = 1.0) -> None:
        self._topic = topic
        self._values = [value for _, value in ground.flights.messages]
        self._producer = Producer(
            {
                "bootstrap.servers": ground.bootstrap,
                "log_level": 0,
                "linger.ms": linger_ms,
                "acks": 1,
                "queue.buffering.max.messages": 500_000,
            }
        )
        self.sent = 0

    def one(self) -> None:
        """Send a record now; some in a row to the same partition."""
        number = self.sent
        value = self._values[number % len(self._values)]
        while True:
            try:
                self._producer.produce(self._topic, value, b"%d" % time.time_ns(), number // IN_A_ROW % PARTITIONS)
                break
            except BufferError:
                self._producer.poll(0.01)
        self.sent += 1

    def pace(self, records_per_s: float, go_on: Callable[[int], bool]) -> None:
        """Send at a rate while ``go_on``, which is asked with the number of records so far, says so."""
        begin_s, number = time.perf_counter(), 0
        while go_on(number):
            ahead_s = begin_s + number / records_per_s - time.perf_counter()
            if ahead_s > 0:
                time.sleep(min(ahead_s, NAP_S))
                continue
            self.one()
            number += 1
            if number % 64 == 0:
                self._producer.poll(0)
        self.flush()

    def at_once(self, records: int) -> int:
        """Send as fast as can be; when the first was sent, in nanoseconds."""
        first_ns = time.time_ns()
        for _ in range(records):
            self.one()
        self.flush()
        return first_ns

    def flush(self) -> None:
        """Until the broker has everything."""
        if self._producer.flush(20):
            raise RuntimeError("records were not delivered to the broker")


class Steady:
    """A sender at one rate in a thread, for the length of a ``with``."""

    def __init__(self, sender: Sender, records_per_s: float) -> None:
        self.sender = sender
        self._stop = threading.Event()
        self._thread = threading.Thread(target=sender.pace, args=(records_per_s, lambda _: not self._stop.is_set()))

    def __enter__(self) -> Sender:
        self._thread.start()
        return self.sender

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
