"""Latency of one worker in open loop: from the producer's call to when a ``read_committed`` reader has the answer.

Records are sent at their times whatever the worker does, each with the moment of sending as its key, which every
contestant copies. Besides, 2,000 records are sent at once: the time to the last answer. In one run: Baton and the
bare pass-through, both exactly once and at least once. All share all cores: at these rates nobody who scores needs one,
while a broker that commits hundreds of small transactions a second would fill its own, and then only its queue were
measured. Its pauses are in everybody's figures: compare within a run.

    python -m bench.latency --only baton,pass-through --rates 2000 --seconds 5 --rounds 1 --no-record
"""

import argparse
import multiprocessing
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.synchronize import Event
from typing import Any

import numpy as np
import numpy.typing as npt
from confluent_kafka import Consumer, TopicPartition

from bench import options as shared
from bench.flights import Flights, prepare
from bench.ground import Ground, Running, opened, unique
from bench.measurements import FOLDER, Results, quantile, table
from bench.sender import Sender
from bench.visible import PARTITIONS
from scoring.contract.manifest import Topics

RATES = (500, 2_000, 10_000)
BURST_RECORDS = 2_000
BURSTS = 20
START_TIMEOUT_S = 60.0
# A broker that has just started compiles its code while it works, and falls behind at rates that it bears later: the
# pass-through keeps it busy first, for so long.
WARM_UP_RATE, WARM_UP_S = 2_000, 60.0
# Records of the first second after a change of the rate are not counted.
SETTLE_S = 1.0
TAIL_S = 1.0
Moments = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Contestant:
    name: str
    delivery: str
    scores: bool


CONTESTANTS = {
    one.name: one
    for one in (
        Contestant("baton", "exactly-once", scores=True),
        Contestant("pass-through", "exactly-once", scores=False),
        Contestant("baton-alo", "at-least-once", scores=True),
        Contestant("pass-through-alo", "at-least-once", scores=False),
    )
}


class Receiver:
    """Reads the answers in a process of its own, and notes when each could be read."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop, self.started = context.Event(), context.Event()
        self._answers: multiprocessing.Queue[tuple[bytes, bytes]] = context.Queue()
        self._counter = context.Value("q", 0)
        arguments = (bootstrap, topic, self._stop, self.started, self._counter, self._answers)
        self._process = context.Process(target=_receive, args=arguments, daemon=True)
        self._process.start()

    @property
    def received(self) -> int:
        """How many answers have come."""
        return int(self._counter.value)

    def finish(self) -> tuple[Moments, Moments]:
        """When each record was sent and when its answer came, in nanoseconds, in the order of coming."""
        self._stop.set()
        sent, came = self._answers.get(timeout=30)
        self._process.join(10)
        return np.frombuffer(sent, dtype=np.int64), np.frombuffer(came, dtype=np.int64)


def _receive(bootstrap: str, topic: str, stop: Event, started: Event, counter: Any, answers: Any) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-receiver",
            "log_level": 0,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 500,
            "fetch.queue.backoff.ms": 2,
        }
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    sent: list[int] = []
    came: list[int] = []
    started.set()
    while not stop.is_set():
        first = consumer.poll(0.1)
        if first is None:
            continue
        messages = [first, *consumer.consume(5_000, 0)]
        now_ns = time.time_ns()
        keys = [message.key() for message in messages if message.error() is None]
        sent.extend(int(key) for key in keys if key is not None)
        came.extend([now_ns] * (len(sent) - len(came)))
        counter.value = len(came)
    consumer.close()
    answers.put((np.array(sent, dtype=np.int64).tobytes(), np.array(came, dtype=np.int64).tobytes()))


def at_rate(sender: Sender, records_per_s: int, seconds: float) -> tuple[int, int]:
    """Send for some seconds; the window that counts, in nanoseconds of the clock."""
    counted_from, records = time.time_ns() + int(SETTLE_S * 1e9), int(records_per_s * (seconds + SETTLE_S))
    sender.pace(records_per_s, lambda sent: sent < records)
    return counted_from, time.time_ns()


def measure(ground: Ground, contestant: Contestant, rates: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """Start a contestant, and measure it at every rate and with bursts.

    Raises:
        RuntimeError: it does not answer, or not everything.
    """
    model = unique("flights")
    topics = Topics.of(model)
    ground.create(topics.input)
    ground.create_for(topics)
    running = _start(ground, contestant, model, topics)
    sender, receiver = Sender(ground, topics.input), Receiver(ground.bootstrap, topics.predictions)
    _warm(sender, receiver, running)
    windows = []
    for rate in rates:
        windows.append((rate, *at_rate(sender, rate, seconds)))
        _await(sender, receiver, running)
        time.sleep(TAIL_S)
    bursts = []
    for _ in range(BURSTS):
        bursts.append(sender.at_once(BURST_RECORDS))
        _await(sender, receiver, running)
        time.sleep(0.3)
    sent, came = receiver.finish()
    running.stop()
    ground.delete(topics.input, topics.predictions, topics.dead_letters)
    return [*(_steady(*window, sent, came) for window in windows), _burst(bursts, sent, came)]


def _start(ground: Ground, contestant: Contestant, model: str, topics: Topics) -> Running:
    settings = {"delivery": contestant.delivery}
    if contestant.scores:
        digest = ground.register(ground.flights.parts, model, topics, 1)
        ground.notify(model, 1, 1, digest)
        return ground.baton(model, model, **settings)
    command = [sys.executable, "-m", "bench.pass_through", topics.input, topics.predictions]
    return ground.start(command, ground.environment(model, model, **settings), model)


def _warm(sender: Sender, receiver: Receiver, running: Running) -> None:
    """Until everybody has joined and answers come."""
    receiver.started.wait(START_TIMEOUT_S)
    for _ in range(BURST_RECORDS):
        sender.one()
    sender.flush()
    _await(sender, receiver, running)


def _await(sender: Sender, receiver: Receiver, running: Running) -> None:
    """Until everything that was sent has its answer."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while receiver.received < sender.sent:
        if not running.alive or time.monotonic() > deadline:
            raise RuntimeError(f"{receiver.received} of {sender.sent} answers came\n{running.end_of_log()}")
        time.sleep(0.02)


def _steady(rate: int, since: int, until: int, sent: Moments, came: Moments) -> dict[str, Any]:
    counted = (sent >= since) & (sent <= until)
    found = ((came - sent)[counted] / 1e6).tolist()
    return {
        "what": f"{rate}/s",
        "records": len(found),
        "p50_ms": round(quantile(found, 0.5), 2),
        "p99_ms": round(quantile(found, 0.99), 2),
        "p999_ms": round(quantile(found, 0.999), 2),
        "longest_ms": round(max(found), 2),
    }


def _burst(starts: Sequence[int], sent: Moments, came: Moments) -> dict[str, Any]:
    """How long the last answer to each burst took."""
    edges = [*starts, int(sent.max()) + 1]
    last = [
        float(came[(sent >= first) & (sent < following)].max() - first) / 1e6 for first, following in pairwise(edges)
    ]
    return {
        "what": f"{BURST_RECORDS} at once",
        "records": BURST_RECORDS * len(starts),
        "p50_ms": round(quantile(last, 0.5), 2),
        "p99_ms": round(quantile(last, 0.99), 2),
        "p999_ms": None,
        "longest_ms": round(max(last), 2),
    }


def run(options: argparse.Namespace, results: Results, flights: Flights) -> None:
    contestants = [CONTESTANTS[name] for name in shared.chosen(options.only, [*CONTESTANTS])]
    rates = [int(rate) for rate in options.rates.split(",")]
    with opened(flights, pinned=False) as ground:
        measure(ground, CONTESTANTS["pass-through"], [WARM_UP_RATE], min(WARM_UP_S, 8 * options.seconds))
        for number in range(options.rounds):
            for one in random.Random(f"{options.seed}/{number}").sample(contestants, len(contestants)):
                if results.has(contestant=one.name, round=number):
                    continue
                for found in measure(ground, one, rates, options.seconds):
                    line = results.add(
                        bench="latency",
                        contestant=one.name,
                        round=number,
                        seed=options.seed,
                        short=options.short,
                        **found,
                    )
                    print(f"round {number} {one.name:17s}" + "".join(f" {k}={line[k]}" for k in found), flush=True)


def summary(results: Results) -> str:
    """Medians over the rounds, and what Baton takes of the pass-through's."""
    lines = list(results.lines)
    rows = []
    for what in dict.fromkeys(line["what"] for line in lines):
        for one in CONTESTANTS:
            own = results.of(what=what, contestant=one)
            if own:
                p50, p99 = (_median(own, name) for name in ("p50_ms", "p99_ms"))
                rows.append((what, one, len(own), f"{p50:.1f}", f"{p99:.1f}", *_against(results, what, one, p50, p99)))
    header = (
        "what",
        "contestant",
        "rounds",
        "p50, ms",
        "p99, ms",
        "p50: times pass-through",
        "p99: times pass-through",
    )
    return table(header, rows)


def _median(lines: Sequence[dict[str, Any]], name: str) -> float:
    return float(np.median([line[name] for line in lines]))


def _against(results: Results, what: str, one: str, p50: float, p99: float) -> tuple[str, str]:
    other = results.of(what=what, contestant=one.replace("baton", "pass-through"))
    if not one.startswith("baton") or not other:
        return "", ""
    return f"{p50 / _median(other, 'p50_ms'):.2f}", f"{p99 / _median(other, 'p99_ms'):.2f}"


def main() -> None:
    shared.settle()
    parser = shared.parser("latency", __doc__ or "", rounds=3)
    parser.add_argument("--only", help="comma-separated contestants")
    parser.add_argument("--rates", default=",".join(map(str, RATES)), help="comma-separated records/s")
    parser.add_argument("--seconds", type=float, default=8.0, help="at each rate")
    options = parser.parse_args()
    if options.short:
        options.rounds, options.seconds, options.rates = 1, 3.0, "2000"
        options.only = options.only or "baton,pass-through"
    results = shared.results_of(options)
    if not options.summary:
        run(options, results, prepare(FOLDER / "flights", options.seed))
    print(summary(results))


if __name__ == "__main__":
    main()
