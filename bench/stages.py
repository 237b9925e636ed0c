"""Where a worker's time goes: a backlog is drained by the real worker, with a clock around each stage.

    python -m bench.stages --no-record

Wall time is what a stage took, waiting included; processor time is its thread's. The clocks cost a little: for
throughput see ``bench.throughput``.
"""

import argparse
import json
import sys
import time
from typing import Any

from bench import options as shared
from bench.flights import Flights, prepare
from bench.ground import INPUT, Ground, opened, unique
from bench.measurements import FOLDER, Results, table
from bench.throughput import BACKLOG_MARGIN, BATCH_RECORDS, TIMEOUT_S
from bench.visible import Ends
from scoring.contract.manifest import Topics

RECORDS = 500_000


def measure(ground: Ground, records: int) -> dict[str, Any]:
    """Drain so many records; microseconds a record by stage."""
    model = unique("flights")
    topics = Topics(input=INPUT, predictions=f"{model}.predictions", dead_letters=f"{model}.dead-letters")
    ground.create_for(topics)
    ground.notify(model, 1, 1, ground.register(ground.flights.parts, model, topics, 1))
    kept = ground.scratch / f"{model}-stages.json"
    environment = ground.environment(model, model, maximum_batch_records=BATCH_RECORDS)
    command = [sys.executable, "-m", "bench.staged_worker"]
    worker = ground.start(command, environment | {"BENCH_STAGES": str(kept)}, model)
    end, deadline = Ends(ground.bootstrap), time.monotonic() + TIMEOUT_S
    while end(topics.predictions) < records:
        if not worker.alive or time.monotonic() > deadline:
            raise RuntimeError(f"the worker did not get that far\n{worker.end_of_log()}")
        time.sleep(0.05)
    worker.stop()
    missing = [line for line in worker.log.read_text().splitlines() if line.startswith("stages:")]
    print(*missing, sep="\n")
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def run(options: argparse.Namespace, results: Results, flights: Flights) -> None:
    records = 150_000 if options.short else RECORDS
    with opened(flights) as ground:
        ground.preload(INPUT, records + BACKLOG_MARGIN)
        for number in range(options.rounds):
            results.add(bench="stages", round=number, **measure(ground, records))


def summary(results: Results) -> str:
    """The last measurement: microseconds a record."""
    line = results.lines[-1]
    records = line["records"]
    rows = [
        (
            stage,
            f"{wall / records * 1e6:.2f}",
            f"{line['processor_s'][stage] / records * 1e6:.2f}",
            f"{wall / line['calls'][stage] * 1e3:.2f}",
            f"{line['calls'][stage]:,}",
        )
        for stage, wall in sorted(line["wall_s"].items(), key=lambda item: -item[1])
    ]
    return f"{records:,} records\n" + table(
        ("stage", "wall, µs/record", "processor, µs/record", "ms/call", "calls"), rows
    )


def main() -> None:
    shared.settle()
    options = shared.parser("stages", __doc__ or "", rounds=1).parse_args()
    results = shared.results_of(options)
    if not options.summary:
        run(options, results, prepare(FOLDER / "flights", options.seed))
    print(summary(results))


if __name__ == "__main__":
    main()
