"""What a worker costs: the start, the memory, and a large bundle that arrives.

starts   from the process's start to its first scored record, less the time that the broker takes to let it join the
         group; with an empty cache (it fetches and tries the bundle), and with a full one after a kill and after a stop
memory   resident, of one worker over many records with swaps going on, at the client's fetch limit that is told
large    a bundle of 10,000 trees arrives under 2,000 records/s: the longest gap between two micro-batches meanwhile

python -m bench.cost --only starts --no-record
python -m bench.cost --only memory --records 20000000 --swaps 500 --minutes 40 --run NAME
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bench import options as shared
from bench.batches import LINEAGE, BatchReader, longest_gap_s, moments
from bench.flights import Flights, prepare
from bench.ground import INPUT, Ground, Running, opened, unique
from bench.measurements import FOLDER, Results, table
from bench.sender import Sender, Steady
from bench.swaps import SETTLE_S, Stream
from bench.visible import Ends, first_behind
from scoring.contract.manifest import Topics
from scoring.settings import Settings
from scoring.worker.clients import consumer_settings

BACKLOG = 50_000
STARTS = 5
RECORDS, SWAPS = 4_000_000, 100
AHEAD_SWAPS = 5
IN_FLIGHT = 200_000
BURST_RECORDS = 5_000
LARGE_TREES, LARGE_RATE = 10_000, 2_000
# How the worker before ended; without one the cache is empty. A killed one's last transaction has to be aborted first.
BEFORE = ("none", "killed", "stopped")
PATIENCE_S = 120.0
SAMPLE_S = 0.5


def starts(ground: Ground, number: int) -> list[dict[str, Any]]:
    """Start a worker on a backlog with an empty cache; again after it was killed, and after it was stopped in order."""
    model = unique("flights")
    topics = Topics(input=INPUT, predictions=f"{model}.predictions", dead_letters=f"{model}.dead-letters")
    ground.create_for(topics)
    ground.notify(model, 1, 1, ground.register(ground.flights.parts, model, topics, 1))
    found = []
    for before in BEFORE:
        ends = Ends(ground.bootstrap).of(topics.predictions)
        began_s = time.time()
        worker = ground.baton(model, model, maximum_batch_records=64)  # so that the backlog lasts

        def own(value: bytes, since_s: float = began_s) -> bool:  # its predecessor's last transaction may end later
            return scored_at_s(value) > since_s

        first_s = scored_at_s(first_behind(ground.bootstrap, topics.predictions, ends, own))
        _await_memory(ground, model)
        worker.stop() if before == "killed" else worker.kill()
        found.append({"before": before, "round": number, **_start_times(worker, began_s, first_s)})
    ground.delete(topics.predictions, topics.dead_letters)
    return found


def _await_memory(ground: Ground, model: str) -> None:
    """Until the worker's cache says what is live, so that the next start finds it."""
    deadline = time.monotonic() + PATIENCE_S
    while not any(
        "live" in path.read_text(errors="replace") for path in (ground.scratch / "cache" / model).rglob("*.json")
    ):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{model} never remembered what is live")
        time.sleep(0.05)


def _start_times(worker: Running, began_s: float, first_s: float) -> dict[str, float]:
    """In seconds: to the first scored record, and of these in the broker's hands."""
    subscribed, assigned = (
        event_s(worker.log.read_text(), name) for name in ("topics.subscribed", "partitions.assigned")
    )
    total_s, join_s = first_s - began_s, assigned - subscribed
    return {
        "first_scored_s": round(total_s, 3),
        "join_s": round(join_s, 3),
        "beside_the_join_s": round(total_s - join_s, 3),
        "until_subscribed_s": round(subscribed - began_s, 3),
    }


def scored_at_s(prediction: bytes) -> float:
    """When a prediction was scored, in seconds since 1970.

    Raises:
        ValueError: it is no prediction.
    """
    match = LINEAGE.search(prediction)
    if match is None:
        raise ValueError(f"this is no prediction: {prediction[:200]!r}")
    return datetime.fromisoformat(match[2].decode()).timestamp()


def event_s(log: str, event: str) -> float:
    """When a worker's log has an event first, in seconds since 1970.

    Raises:
        LookupError: it has none.
    """
    for line in log.splitlines():
        if f'"{event}"' in line:
            return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
    raise LookupError(f"the log has no {event}")


def memory(ground: Ground, records: int, swaps: int, until_s: float) -> dict[str, Any]:
    """Resident memory of one worker over so many records and so many swaps, each live before the next is announced.

    The records come in bursts at full speed, and never far ahead of the swaps, so that both are spread evenly.
    """
    stream = Stream(ground)
    worker = stream.start()
    sender, end = Sender(ground, stream.topics.input), Ends(ground.bootstrap)
    first_behind(ground.bootstrap, _fed(sender, stream).predictions, [0, 0, 0, 0])
    samples: list[tuple[int, int]] = []
    next_sample_s, visible, live = 0.0, 0, 0
    while (sender.sent < records or live < swaps) and time.monotonic() < until_s:
        if time.monotonic() > next_sample_s:
            visible, live = end(stream.topics.predictions), _swaps(worker)
            samples.append((visible, worker.memory_bytes()))
            next_sample_s = time.monotonic() + SAMPLE_S
        if live < swaps and live + 1 == stream.sequence:
            stream.prepare_next()
            stream.promote()
        ahead = swaps and sender.sent * swaps >= records * (live + AHEAD_SWAPS)
        if ahead or sender.sent - visible > IN_FLIGHT:
            time.sleep(0.02)
            visible = end(stream.topics.predictions)
        else:
            sender.at_once(BURST_RECORDS)
    _await_visible(end, stream, sender.sent)
    samples.append((end(stream.topics.predictions), worker.memory_bytes()))
    swapped = _swaps(worker)
    worker.stop()
    ground.delete(stream.topics.input, stream.topics.predictions, stream.topics.dead_letters)
    return {"records": sender.sent, "swaps": swapped, **memory_figures(samples)}


def _swaps(worker: Running) -> int:
    """How often a version has followed another one."""
    return max(0, worker.log.read_text().count('"model.acknowledged"') - 1)


def _fed(sender: Sender, stream: Stream) -> Topics:
    sender.at_once(BURST_RECORDS)
    return stream.topics


def _await_visible(end: Ends, stream: Stream, records: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while end(stream.topics.predictions) < records:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{end(stream.topics.predictions)} of {records} records were scored")
        time.sleep(0.1)


def memory_figures(samples: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The highest, and the medians of the second and third tenth of the records and of the last; in MB (2**20)."""
    total = samples[-1][0]

    def between(low: float, high: float) -> float:
        found = [memory_bytes for records, memory_bytes in samples if low * total <= records <= high * total]
        return round(statistics.median(found) / 2**20, 1)

    return {
        "samples": len(samples),
        "highest_mb": round(max(memory_bytes for _, memory_bytes in samples) / 2**20, 1),
        "early_mb": between(0.1, 0.3),
        "late_mb": between(0.9, 1.0),
    }


def large(ground: Ground, trees: int) -> dict[str, Any]:
    """The longest gap while a large bundle arrives, and as long before."""
    huge = prepare(FOLDER / "flights", trees=trees)
    stream = Stream(ground)
    worker = stream.start()
    reader = BatchReader(ground.bootstrap, stream.topics.predictions)
    with Steady(Sender(ground, stream.topics.input), LARGE_RATE) as sender:
        stream.await_sequence(reader, PATIENCE_S)
        time.sleep(SETTLE_S)
        version = stream.sequence + 1
        stream.digest = ground.register(huge.parts, stream.model, stream.topics, version)
        promoted_s = time.time()
        stream.promote()
        stream.await_sequence(reader, PATIENCE_S)
        live_s = time.time()
        stream.prepare_next()
        stream.promote()
        stream.await_sequence(reader, PATIENCE_S)
        time.sleep(live_s - promoted_s + SETTLE_S)
    quiet_s, sent = time.time(), sender.sent
    while reader.records < sent:
        time.sleep(0.05)
    begun, swapped = moments(batches := reader.finish()), min(b.scored_at_s for b in batches if b.sequence == version)
    memory_mb = round(worker.memory_bytes() / 2**20, 1)
    worker.stop()
    return {
        "trees": trees,
        "live_after_s": round(swapped - promoted_s, 2),
        "gap_ms": round(longest_gap_s(begun, promoted_s, swapped) * 1e3, 2),
        "without_ms": round(longest_gap_s(begun, quiet_s - (swapped - promoted_s), quiet_s) * 1e3, 2),
        "memory_mb": memory_mb,
    }


def run(options: argparse.Namespace, results: Results, flights: Flights) -> None:
    wanted = shared.chosen(options.only, ["starts", "memory", "large"])
    until_s = time.monotonic() + options.minutes * 60
    with opened(flights) as ground:
        if "starts" in wanted:
            ground.preload(INPUT, BACKLOG)
            for number in range(len(results.of(what="starts")) // len(BEFORE), options.rounds):
                for found in starts(ground, number):
                    _tell(results, "starts", found)
        if "large" in wanted and not results.has(what="large"):
            _tell(results, "large", large(ground, options.trees))
        while "memory" in wanted and time.monotonic() < until_s - 30:
            records, swaps = (
                max(0, total - sum(line[name] for line in results.of(what="memory")))
                for total, name in ((options.records, "records"), (options.swaps, "swaps"))
            )
            if not records and not swaps:
                break
            limit = consumer_settings(_settings())["queued.max.messages.kbytes"]
            _tell(results, "memory", {"fetch_limit_kbytes": limit, **memory(ground, records, swaps, until_s)})


def _settings() -> Settings:
    return Settings(kafka_bootstrap="127.0.0.1:1")


def _tell(results: Results, what: str, found: dict[str, Any]) -> None:
    results.add(bench="cost", what=what, **found)
    print(what, *(f"{name}={value}" for name, value in found.items()), flush=True)


def summary(results: Results) -> str:
    """Medians of the starts, memory over all chunks, the large bundle."""
    rows: list[tuple[object, ...]] = []
    for before in BEFORE:
        found = results.of(what="starts", before=before)
        if found:
            own, join, whole = (
                statistics.median(line[name] for line in found)
                for name in ("beside_the_join_s", "join_s", "first_scored_s")
            )
            note = f"{whole:.2f} s in all, {join:.2f} s of them the broker's join; median of {len(found)}"
            rows.append(
                (f"start to first scored record, worker before: {before}", f"{own:.2f} s beside the join", note)
            )
    chunks = results.of(what="memory")
    if chunks:
        early, late, highest = (max(line[name] for line in chunks) for name in ("early_mb", "late_mb", "highest_mb"))
        records, swaps = (sum(line[name] for line in chunks) for name in ("records", "swaps"))
        note = f"early {early:.0f} MB, late {late:.0f} MB; {records:,} records, {swaps} swaps, of {len(chunks)} workers"
        limit = chunks[0]["fetch_limit_kbytes"]
        rows.append((f"resident memory, queued.max.messages.kbytes {limit}", f"at most {highest:.0f} MB", note))
    rows += [
        (
            f"{line['trees']:,} trees arrive",
            f"longest gap {line['gap_ms']:.1f} ms",
            f"{line['without_ms']:.1f} ms without; live after {line['live_after_s']:.1f} s",
        )
        for line in results.of(what="large")
    ]
    return table(("what", "cost", ""), rows)


def main() -> None:
    shared.settle()
    parser = shared.parser("cost", __doc__ or "", rounds=STARTS)
    parser.add_argument("--only", help="comma-separated: starts, memory, large")
    parser.add_argument("--records", type=int, default=RECORDS, help="for the memory, in all")
    parser.add_argument("--swaps", type=int, default=SWAPS, help="for the memory, in all")
    parser.add_argument("--trees", type=int, default=LARGE_TREES, help="of the large bundle")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this; start again to go on")
    options = parser.parse_args()
    if options.short:
        options.rounds, options.records, options.swaps = 1, 300_000, 3
        options.only = options.only or "starts,memory"
    results = shared.results_of(options)
    if not options.summary:
        run(options, results, prepare(FOLDER / "flights", options.seed))
    print(summary(results))


if __name__ == "__main__":
    main()
