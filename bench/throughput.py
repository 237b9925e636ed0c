"""Throughput of one core: a backlog is drained, and what a ``read_committed`` reader may see is counted.

All contestants take turns in one run, each on the first core, while the broker and this process have the second:

    baton        the real ``baton worker``, exactly once
    baton-2      two of them on the one core, for the processor time per record
    pass-through Baton's settings, producers and committer around nothing: an upper bound
    pyfunc       a well-written loop around mlflow.pyfunc, exactly once
    quix         Quix Streams, exactly once, around mlflow.pyfunc
    bytewax      Bytewax around mlflow.pyfunc (it has no exactly once)

A window begins when a part of the records is visible (a quarter: until then clients fill their queues) and ends when
all that are asked for are. Alone, without writing anything down:

    python -m bench.throughput --only baton --rounds 1 --no-record
    python -m bench.throughput --only baton,pass-through --rounds 3 --no-record
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench import options as shared
from bench.environments import NotInstalled, python_of
from bench.flights import Flights, prepare
from bench.ground import INPUT, Ground, Running, opened, unique
from bench.measurements import FOLDER, PLOTS, Line, Results, medians, table
from bench.visible import Ends, Sample, at, count, watch
from scoring.contract.manifest import Topics

KEYED_INPUT = "flights.keyed"
WARM_UP_SHARE = 0.25
TIMEOUT_S = 60.0
BATCH_RECORDS = 4096
# Kept short of what was fetched: at the end of a backlog everybody slows down.
BACKLOG_MARGIN = 150_000


@dataclass(frozen=True)
class Contestant:
    """Somebody who drains the input.

    Attributes:
        records: that must become visible; such that it takes some seconds.
        start: starts the processes for a model (a name, for topics and groups) whose output goes to a topic.
        scores: whether its answers are scores, which are checked.
    """

    name: str
    records: int
    start: Callable[[Ground, str, str], list[Running]]
    scores: bool = True
    keyed: bool = False


def _baton(processes: int, **settings: object) -> Callable[[Ground, str, str], list[Running]]:
    def start(ground: Ground, model: str, target: str) -> list[Running]:
        topics = Topics(input=INPUT, predictions=target, dead_letters=f"{model}.dead-letters")
        digest = ground.register(ground.flights.parts, model, topics, 1)
        ground.notify(model, 1, 1, digest)
        own = {"maximum_batch_records": BATCH_RECORDS, **settings}
        return [ground.baton(model, model, slot=slot, **own) for slot in range(processes)]

    return start


def _pass_through(ground: Ground, model: str, target: str) -> list[Running]:
    environment = ground.environment(model, model, maximum_batch_records=BATCH_RECORDS)
    command = [sys.executable, "-m", "bench.pass_through", INPUT, target]
    return [ground.start(command, environment, model)]


def _rival(name: str, source: str, **settings: str) -> Callable[[Ground, str, str], list[Running]]:
    modules = {"pyfunc": "pyfunc_loop", "quix": "quix_app", "bytewax": "bytewax_flow"}

    def start(ground: Ground, model: str, target: str) -> list[Running]:
        python = sys.executable if name == "pyfunc" else str(python_of(name))
        environment = ground.environment(model, model) | {
            "BENCH_BOOTSTRAP": ground.bootstrap,
            "BENCH_SOURCE": source,
            "BENCH_TARGET": target,
            "BENCH_GROUP": model,
            "BENCH_MODEL": str(ground.flights.pyfunc),
            "BENCH_STATE": str(ground.scratch / f"{model}-state"),
            **settings,
        }
        return [ground.start([python, "-m", f"bench.rivals.{modules[name]}"], environment, model)]

    return start


CONTESTANTS = {
    one.name: one
    for one in (
        Contestant("baton", 500_000, _baton(1)),
        Contestant("baton-2", 500_000, _baton(2)),
        Contestant("pass-through", 900_000, _pass_through, scores=False),
        Contestant("pyfunc", 120_000, _rival("pyfunc", INPUT, BENCH_BATCH_RECORDS="8192")),
        Contestant("quix", 60_000, _rival("quix", KEYED_INPUT, BENCH_BATCH_RECORDS="512"), keyed=True),
        Contestant("bytewax", 120_000, _rival("bytewax", INPUT, BENCH_BATCH_RECORDS="1024")),
    )
}


def measure(ground: Ground, contestant: Contestant, records: int) -> dict[str, Any]:
    """Let a contestant drain the input until so many records are visible; what it did in the window.

    Raises:
        RuntimeError: it ended, or did not get that far, or its scores are wrong.
    """
    model = unique("flights")
    target = f"{model}.predictions"
    ground.create_for(Topics(input=INPUT, predictions=target, dead_letters=f"{model}.dead-letters"))
    end = Ends(ground.bootstrap)
    before = Sample(time.monotonic(), end(target), 0.0)  # the first look takes longest, and may miss all of a quick one
    started = contestant.start(ground, model, target)

    def processor_s() -> float:
        return sum(running.processor_s() for running in started)

    def enough(visible: int) -> bool:
        return visible >= records or not all(running.alive for running in started)

    samples = [before, *watch(lambda: end(target), processor_s, enough, timeout_s=TIMEOUT_S)]
    memory = max(running.memory_bytes() for running in started)
    for running in started:
        running.stop()
    if samples[-1].end < records:
        raise RuntimeError(f"{contestant.name}: {samples[-1].end} visible\n{started[0].end_of_log()}")
    counted = count(ground.bootstrap, target, ground.flights.scores if contestant.scores else {})
    ground.delete(target, f"{model}.dead-letters")
    if counted.wrong:
        raise RuntimeError(f"{contestant.name}: {counted.wrong} of {counted.checked} scores are wrong")
    return {
        **window(samples, records, counted.share),
        "first_visible_s": round(at(samples, 1).at_s - started[0].started_s, 2),
        "memory_bytes": memory,
        "marker_share": round(1 - counted.share, 5),
        "scores_checked": counted.checked if contestant.scores else 0,
    }


def window(samples: list[Sample], records: int, share: float) -> dict[str, float]:
    """Records per second, and processor time per record, between the warm-up's end and the last record.

    Where one look already found everything, the window opens a look earlier: the rate is then a lower bound.

    Args:
        share: records per offset; the others are markers of transactions.

    Raises:
        ValueError: nobody looked before everything was there.
    """
    last = at(samples, records)
    first = at(samples, records * WARM_UP_SHARE)
    if first is last:
        if last is samples[0]:
            raise ValueError("everything was there before the first look")
        first = samples[samples.index(last) - 1]
    seen, took_s = (last.end - first.end) * share, last.at_s - first.at_s
    return {
        "records": round(seen),
        "window_s": round(took_s, 3),
        "records_per_s": round(seen / took_s),
        "processor_us_per_record": round((last.processor_s - first.processor_s) / seen * 1e6, 3),
    }


def run(options: argparse.Namespace, results: Results, flights: Flights) -> None:
    contestants = [CONTESTANTS[name] for name in shared.chosen(options.only, [*CONTESTANTS])]
    scale = 0.2 if options.short else options.scale
    with opened(flights) as ground:
        asked = {one.name: max(20_000, round(one.records * scale)) for one in contestants}
        ground.preload(INPUT, max(asked[one.name] for one in contestants) + BACKLOG_MARGIN)
        if any(one.keyed for one in contestants):
            ground.preload(KEYED_INPUT, max(asked[one.name] for one in contestants if one.keyed) * 2, keyed=True)
        absent: set[str] = set()
        for number in range(options.rounds):
            for one in random.Random(f"{options.seed}/{number}").sample(contestants, len(contestants)):
                if one.name in absent or results.has(contestant=one.name, round=number):
                    continue
                try:
                    found = measure(ground, one, asked[one.name])
                except NotInstalled as error:
                    print(f"{one.name}: cannot be installed here, left out: {error}", flush=True)
                    absent.add(one.name)
                    continue
                line = results.add(
                    bench="throughput",
                    contestant=one.name,
                    round=number,
                    seed=options.seed,
                    short=options.short,
                    **found,
                )
                print(_told(line), flush=True)
                time.sleep(0.5)  # the broker deletes what was there


def _told(line: Line) -> str:
    return (
        f"round {line['round']} {line['contestant']:12s} {line['records_per_s']:>9,} records/s"
        f" {line['processor_us_per_record']:7.2f} µs of processor a record, first visible after"
        f" {line['first_visible_s']:.1f} s, {line['memory_bytes'] / 2**20:.0f} MB"
    )


def summary(results: Results) -> str:
    """Medians and what Baton makes of each."""
    rates = medians(results.lines, "contestant", "records_per_s")
    processor = medians(results.lines, "contestant", "processor_us_per_record")
    rounds = {name: len(results.of(contestant=name)) for name in rates}
    rows = [
        (name, rounds[name], f"{rate:,.0f}", f"{processor[name]:.2f}", _ratio(rates, name))
        for name, rate in sorted(rates.items(), key=lambda item: -item[1])
    ]
    text = table(("contestant", "rounds", "records/s, median", "µs of processor a record", "Baton is"), rows)
    if {"baton", "baton-2"} <= processor.keys():
        text += f"\n\nTwo workers take {processor['baton-2'] / processor['baton']:.2f} times the processor time of one."
    return text


def _ratio(rates: Mapping[str, float], name: str) -> str:
    if "baton" not in rates or name.startswith("baton"):
        return ""
    return f"{rates['baton'] / rates[name]:.2f} times"


def main() -> None:
    shared.settle()
    parser = shared.parser("throughput", __doc__ or "", rounds=3)
    parser.add_argument("--only", help="comma-separated contestants")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of records")
    options = parser.parse_args()
    if options.short:
        options.rounds = 1
        options.only = options.only or "baton,pass-through,pyfunc"
    results = shared.results_of(options)
    if not options.summary:
        run(options, results, prepare(FOLDER / "flights", options.seed))
    print(summary(results))
    if not options.no_record and not options.short:
        from bench.plot import bars  # noqa: PLC0415  drawing takes a second to load

        print(f"\n{bars(results, PLOTS / 'throughput.svg')}")


if __name__ == "__main__":
    main()
