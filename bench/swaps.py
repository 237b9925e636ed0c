"""What a swap costs the stream, and what a rebalance costs the partitions that stay.

A worker scores 20,000 records/s. Each swap has a window, and as long a window without one follows it; in each the
longest gap between two micro-batches is taken (``bench.batches`` tells from what). Then a second worker joins and
leaves, and the longest gap on the partitions that stay with the first is taken. Every prediction is checked: in order,
none missing, none by a sequence after its successor's first on that partition.

    python -m bench.swaps --swaps 20 --rebalances 0 --no-record
    python -m bench.swaps --run NAME            goes on where NAME stands, in chunks of at most --minutes
"""

import argparse
import json
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from bench import options as shared
from bench.batches import Batch, BatchReader, Faults, faults, longest_gap_s, moments
from bench.flights import Flights, prepare
from bench.ground import Ground, Running, opened, unique
from bench.measurements import FOLDER, Results, quantile, table
from bench.sender import Sender, Steady
from scoring.contract.manifest import Topics

RECORDS_PER_S = 20_000
LINGER_MS = 3.0
WINDOW_S = 1.5
# From the notice to the first record of the new version, at the most.
SWAP_TIMEOUT_S = 30.0
AFTER_S = 0.3
START_TIMEOUT_S = 60.0
SESSION_TIMEOUT_MS = 6_000
SETTLE_S = 2.0
# A chunk has one worker, and is written down when it has ended.
CHUNK_SWAPS = 25
# A broker that has just started compiles its code while it works.
WARM_UP_S = 15.0
# A window in which the sender did not keep its pace says nothing.
PACE_SHARE = 0.9


class Stream:
    """A worker under a steady stream, and the versions that it is told to take."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.model = unique("flights")
        self.topics = Topics.of(self.model)
        ground.create(self.topics.input, **{"retention.bytes": "500000000", "segment.bytes": "20000000"})
        ground.create_for(self.topics)
        self.sequence = 0
        self.worker: Running | None = None

    def start(self) -> Running:
        """Promote version 1 and start the worker."""
        self.prepare_next()
        self.promote()
        self.worker = self.join(0)
        return self.worker

    def join(self, slot: int) -> Running:
        """Start a worker in a slot."""
        return self.ground.baton(self.model, self.model, slot=slot, session_timeout_ms=SESSION_TIMEOUT_MS)

    def prepare_next(self) -> None:
        """Write the next version's bundle, which is none of the worker's time."""
        version = self.sequence + 1
        self.digest = self.ground.register(self.ground.flights.parts, self.model, self.topics, version)

    def promote(self) -> None:
        """Announce the version that was prepared."""
        self.sequence += 1
        self.ground.notify(self.model, self.sequence, self.sequence, self.digest)

    def await_sequence(self, reader: BatchReader, timeout_s: float) -> None:
        """Until the newest version has scored."""
        deadline = time.monotonic() + timeout_s
        while reader.sequence < self.sequence:
            if time.monotonic() > deadline or self.worker is None or not self.worker.alive:
                log = "" if self.worker is None else self.worker.end_of_log()
                raise RuntimeError(f"sequence {self.sequence} did not score within {timeout_s} s\n{log}")
            time.sleep(0.005)


class Pair:
    """A window with a swap and one without; moments in seconds since 1970."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        self.edges: list[float] = []
        self.sent: list[int] = []
        self.live_after_s = 0.0

    def mark(self, sender: Sender) -> None:
        """The edge of a window."""
        self.edges.append(time.time())
        self.sent.append(sender.sent)

    def measured(self, begun: Sequence[float], records_per_s: float) -> dict[str, Any]:
        """The longest gap in each window, in milliseconds."""
        for (since, until), (before, after) in zip(pairwise(self.edges), pairwise(self.sent), strict=True):
            if after - before < PACE_SHARE * records_per_s * (until - since):
                raise RuntimeError(f"the sender did not keep its pace: {after - before} in {until - since:.1f} s")
        with_swap, without = (longest_gap_s(begun, since, until) for since, until in pairwise(self.edges))
        return {
            "sequence": self.sequence,
            "gap_ms": round(with_swap * 1e3, 3),
            "without_ms": round(without * 1e3, 3),
            "live_after_s": round(self.live_after_s, 3),
            "window_s": round(self.edges[1] - self.edges[0], 2),
        }


def swaps(
    ground: Ground, wanted: int, records_per_s: int, until_s: float, warm_up_s: float
) -> tuple[list[dict[str, Any]], Faults, int]:
    """Swap so many times, or until a moment of the monotonic clock; gaps of each pair, faults, records."""
    stream = Stream(ground)
    stream.start()
    reader = BatchReader(ground.bootstrap, stream.topics.predictions)
    pairs: list[Pair] = []
    with Steady(Sender(ground, stream.topics.input, LINGER_MS), records_per_s) as sender:
        stream.await_sequence(reader, START_TIMEOUT_S)
        time.sleep(warm_up_s)
        while len(pairs) < wanted and time.monotonic() < until_s:
            pairs.append(_pair(stream, sender, reader))
    _await(reader, sender.sent)
    batches = reader.finish()
    stream.worker.stop() if stream.worker else None
    ground.delete(stream.topics.input, stream.topics.predictions, stream.topics.dead_letters)
    begun = moments(batches)
    found = faults(batches)
    if len({batch.sequence for batch in batches}) != stream.sequence:
        raise RuntimeError(f"{stream.sequence} sequences were promoted, not all of them scored")
    return [pair.measured(begun, records_per_s) for pair in pairs], found, sender.sent


def _pair(stream: Stream, sender: Sender, reader: BatchReader) -> Pair:
    stream.prepare_next()
    time.sleep(AFTER_S)
    pair = Pair(stream.sequence + 1)
    pair.mark(sender)
    stream.promote()
    stream.await_sequence(reader, SWAP_TIMEOUT_S)
    pair.live_after_s = time.time() - pair.edges[0]
    time.sleep(max(AFTER_S, WINDOW_S - pair.live_after_s))
    pair.mark(sender)
    time.sleep(pair.edges[1] - pair.edges[0])
    pair.mark(sender)
    return pair


def _await(reader: BatchReader, records: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while reader.records < records:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{reader.records} of {records} records were scored")
        time.sleep(0.05)


def rebalances(ground: Ground, wanted: int, records_per_s: int) -> tuple[list[dict[str, Any]], Faults]:
    """Let a second worker join and leave; the longest gap on the partitions that stay with the first, each time."""
    stream = Stream(ground)
    first = stream.start()
    reader = BatchReader(ground.bootstrap, stream.topics.predictions)
    windows: list[dict[str, Any]] = []
    with Steady(Sender(ground, stream.topics.input, LINGER_MS), records_per_s) as sender:
        stream.await_sequence(reader, START_TIMEOUT_S)
        time.sleep(WARM_UP_S)
        for number in range(wanted):
            windows.append({"what": "nothing", "since": time.time(), "until": time.time() + SETTLE_S})
            time.sleep(SETTLE_S)
            since, mark = time.time(), first.log.stat().st_size
            second = stream.join(1)
            _await_event(first, "partitions.revoked", mark)
            time.sleep(SETTLE_S)
            windows.append(
                {"what": "joins", "since": since, "until": time.time(), "gone": revoked(first.log.read_text()[mark:])}
            )
            since, mark = time.time(), first.log.stat().st_size
            second.stop()  # a static member: its partitions come back after the session timeout
            _await_event(first, "partitions.assigned", mark)
            time.sleep(SETTLE_S)
            windows.append({"what": "leaves", "since": since, "until": time.time(), "gone": windows[-1]["gone"]})
            print(f"rebalances: {number + 1} of {wanted}", flush=True)
    _await(reader, sender.sent)
    batches = reader.finish()
    first.stop()
    return [_staying(batches, **window) for window in windows], faults(batches)


def _await_event(running: Running, event: str, mark: int) -> None:
    """Until the log has an event behind a place."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while f'"{event}"' not in running.log.read_text()[mark:]:
        if time.monotonic() > deadline or not running.alive:
            raise RuntimeError(f"no {event} within {START_TIMEOUT_S} s\n{running.end_of_log()}")
        time.sleep(0.02)


def revoked(log: str) -> list[int]:
    """The partitions that a worker's log says were taken from it."""
    events = [json.loads(line) for line in log.splitlines() if '"partitions.revoked"' in line]
    return sorted({int(name.rpartition("/")[2]) for event in events for name in event["partitions"]})


def _staying(
    batches: Sequence[Batch], what: str, since: float, until: float, gone: Sequence[int] = ()
) -> dict[str, Any]:
    staying = sorted({batch.partition for batch in batches} - set(gone))
    gaps = [
        longest_gap_s([b.scored_at_s for b in batches if b.partition == partition], since, until)
        for partition in staying
    ]
    return {"what": what, "staying": staying, "gap_ms": round(max(gaps) * 1e3, 1)}


def run(options: argparse.Namespace, results: Results, flights: Flights) -> None:
    until_s = time.monotonic() + options.minutes * 60
    with opened(flights, group_min_session_timeout_ms="1000") as ground:
        warm_up_s = WARM_UP_S
        while (left := options.swaps - len(results.of(bench="swaps"))) > 0 and time.monotonic() < until_s:
            pairs, found, records = swaps(ground, min(left, CHUNK_SWAPS), options.rate, until_s, warm_up_s)
            warm_up_s = SETTLE_S
            for pair in pairs:
                results.add(bench="swaps", rate=options.rate, **pair)
            results.add(bench="swaps-checked", records=records, swaps=len(pairs), **_faults(found))
            print(f"swaps: {len(results.of(bench='swaps'))} of {options.swaps}", flush=True)
        done = len([line for line in results.of(bench="rebalances") if line["what"] == "joins"])
        if done < options.rebalances and time.monotonic() < until_s:
            windows, found = rebalances(ground, options.rebalances - done, options.rate)
            for window in windows:
                results.add(bench="rebalances", rate=options.rate, **window)
            results.add(bench="swaps-checked", records=0, swaps=0, **_faults(found))


def _faults(found: Faults) -> dict[str, int]:
    return {"backwards": found.backwards, "disordered": found.disordered, "skipped": found.skipped}


def summary(results: Results) -> str:
    """Quantiles of the longest gaps, and their growth."""
    pairs = results.of(bench="swaps")
    text = ""
    if pairs:
        rows = [
            _row(name, [line[key] for line in pairs]) for name, key in (("with", "gap_ms"), ("without", "without_ms"))
        ]
        growth = [f"{a - b:+.1f}" for a, b in zip(rows[0][2:], rows[1][2:], strict=True)]
        shown = [(name, count, *(f"{value:.1f}" for value in values)) for name, count, *values in rows]
        header = ("longest gap in a window, ms", "windows", "median", "p90", "p99", "longest")
        text = table(header, [*shown, ("growth", "", *growth)])
        live = [line["live_after_s"] for line in pairs]
        text += f"\n\nFrom notice to live: median {quantile(live, 0.5):.2f} s, longest {max(live):.2f} s."
    checked = results.of(bench="swaps-checked")
    if checked:
        counts = {name: sum(line[name] for line in checked) for name in ("backwards", "disordered", "skipped")}
        text += f"\nChecked {sum(line['records'] for line in checked):,} records: {counts}."
    for what in ("nothing", "joins", "leaves"):
        gaps = [line["gap_ms"] for line in results.of(bench="rebalances", what=what)]
        if gaps:
            text += (
                f"\nLongest gap on partitions that stay when a second worker does {what}: median"
                f" {quantile(gaps, 0.5):.0f} ms, longest {max(gaps):.0f} ms of {len(gaps)}."
            )
    return text


def _row(name: str, values: Sequence[float]) -> tuple[Any, ...]:
    return (name, len(values), *(quantile(values, share) for share in (0.5, 0.9, 0.99, 1.0)))


def main() -> None:
    shared.settle()
    parser = shared.parser("swaps", __doc__ or "", rounds=1)
    parser.add_argument("--swaps", type=int, default=200, help="in all")
    parser.add_argument("--rebalances", type=int, default=5, help="joins, and as many leaves")
    parser.add_argument("--rate", type=int, default=RECORDS_PER_S, help="records/s")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this; start again to go on")
    options = parser.parse_args()
    if options.short:
        options.swaps, options.rebalances = 5, 0
    results = shared.results_of(options)
    if not options.summary:
        run(options, results, prepare(FOLDER / "flights", options.seed))
    print(summary(results))


if __name__ == "__main__":
    main()
