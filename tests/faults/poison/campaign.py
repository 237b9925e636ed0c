"""Poison: hostile records of every kind among good ones, through the real worker on a real broker.

A campaign is run in chunks of hostile records, each on a stream of its own. What a chunk feeds follows from the seed
and the number of its first hostile record alone, so a campaign that was interrupted goes on where it was. Exit status
1 when a record has another outcome than it must have.
"""

import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from local.kafka.broker import Broker
from local.ports import free_ports
from tests.faults.poison import kinds  # noqa: F401  registers them
from tests.faults.poison.judge import add_distinct
from tests.faults.poison.records import KINDS, good, hostile, records
from tests.faults.poison.stage import breaker_round, examined, feed, poisoned, records_per_s
from tests.support.broker import KAFKA_JARS

# No chunk is begun later than that, so that a call ends within ten minutes.
BEGIN_WITHIN_S = 420.0
FED_AT_ONCE = 20_000
RATES = (0.0, 0.1, 0.5)
Line = Mapping[str, Any]


def run_chunk(broker: Broker, folder: Path, seed: int, first: int, count: int, share: float) -> dict[str, Any]:
    """Feed the chunk's records while a worker scores, and judge every outcome."""
    sent = list(records(seed, first, count, share))
    began_s = time.monotonic()
    with poisoned(broker, folder) as (ground, outcomes):
        ground.start()
        for start in range(0, len(sent), FED_AT_ONCE):
            feed(ground, sent[start : start + FED_AT_ONCE])
            outcomes.take(0.0)
        judged = examined(ground, outcomes, sent)
    return {
        "records": judged.records,
        "hostile": judged.hostile,
        "kinds": judged.kinds,
        "reasons": judged.reasons,
        "faults": judged.faults,
        "seconds": round(time.monotonic() - began_s, 1),
    }


def run_breaker(broker: Broker, folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Good records, then nothing but hostile ones: the breaker opens; all are accounted for in the end."""
    fine = [good(seed, number) for number in range(1_000)]
    bad = [hostile(seed, index, 1_000 + index) for index in range(count)]
    with poisoned(broker, folder, BATON_BREAKER_SHARE="0.5") as (ground, outcomes):
        feed(ground, fine)
        worker = ground.start()
        outcomes.wait_for(len(fine))
        assert ground.stop(worker) == 0
        found: dict[str, Any] = dict(breaker_round(ground, outcomes, bad))
        judged = examined(ground, outcomes, [*fine, *bad])
    return {**found, "faults": judged.faults}


def run_rate(broker: Broker, folder: Path, seed: int, share: float, count: int) -> dict[str, Any]:
    """How fast the worker scores a backlog of ``count`` records with this share of hostile ones."""
    hostile_count = int(count * share)
    sent = list(records(seed, 0, hostile_count or count, share))
    with poisoned(broker, folder, BATON_MAXIMUM_BATCH_RECORDS="2048") as (ground, outcomes):
        feed(ground, sent)
        ground.start()
        judged = examined(ground, outcomes, sent)
        rate = records_per_s(outcomes)
    size = sum(len(record.value or b"") for record in sent) / len(sent)
    return {"records": len(sent), "records_per_s": round(rate), "mean_bytes": round(size), "faults": judged.faults}


def read(path: Path, seed: int) -> list[Line]:
    """The lines of a campaign in the results file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if line["seed"] == seed]


def append(path: Path, **line: object) -> None:
    """Add a line, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line, separators=(",", ":"), default=dict) + "\n")


def distinct_of(lines: Sequence[Line]) -> dict[str, int]:
    """How many distinct hostile records of each kind were fed in all: made again, for they follow from the seed."""
    found: dict[str, set[int]] = defaultdict(set)
    for line in lines:
        made = records(line["seed"], line["first"], line["hostile"], line["share"])
        add_distinct(found, (record for record in made if record.reason is not None))
    return {name: len(hashes) for name, hashes in found.items()}


def summary(lines: Sequence[Line], *, distinct: bool = False) -> str:
    """The results as the documentation quotes them; ``distinct`` counts anew, which takes a minute for a million."""
    chunks = [line for line in lines if "first" in line]
    fed: Counter[str] = Counter()
    different = distinct_of(chunks) if distinct else {}
    reasons: Counter[str] = Counter()
    for line in chunks:
        reasons.update(line["reasons"])
        for name, (count, _) in line["kinds"].items():
            fed[name] += count
    bad, all_ = (sum(line[what] for line in chunks) for what in ("hostile", "records"))
    fewest = f"fewest of a kind {min(fed.values(), default=0)}"
    fewest += f", fewest distinct ones {min(different.values(), default=0)}" if different else ""
    told = [
        f"{bad} hostile records of {len(fed)} kinds among {all_}; {fewest}",
        f"records with another outcome than they must have: {sum(len(line['faults']) for line in lines)}",
        *(f"| `{reason}` | {count} |" for reason, count in sorted(reasons.items())),
    ]
    told += [
        f"breaker: {line['taken_before_it_opened']} of {line['hostile']} hostile records were taken before it opened"
        for line in lines
        if "taken_before_it_opened" in line
    ]
    told += [
        f"{line['share']:.0%} bad: {line['records_per_s']} records/s of {line['mean_bytes']} bytes"
        for line in lines
        if "records_per_s" in line
    ]
    return "\n".join(told)


def run(path: Path, seed: int, wanted: int, chunk: int, share: float) -> list[str]:
    """Run the chunks that are missing, as many as there is time for; returns what is wrong."""
    done = {line["first"] for line in read(path, seed) if "first" in line}
    todo = [first for first in range(0, wanted, chunk) if first not in done]
    until_s = time.monotonic() + BEGIN_WITHIN_S
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="baton-poison-") as folder, _broker(Path(folder)) as broker:
        if not any("taken_before_it_opened" in line for line in read(path, seed)):
            found = run_breaker(broker, Path(folder) / "breaker", seed, max(1_000, min(chunk, 5_000)))
            append(path, seed=seed, **found)
            faults += found["faults"]
        for first in todo:
            if time.monotonic() > until_s or faults:
                break
            count = min(chunk, wanted - first)
            found = run_chunk(broker, Path(folder) / str(first), seed, first, count, share)
            append(path, seed=seed, first=first, share=share, **found)
            click.echo(f"hostile records {first} to {first + count}: {found['records']} in {found['seconds']} s")
            faults += found["faults"]
    return faults


def rates(path: Path, seed: int, count: int) -> list[str]:
    """Measure how fast the worker is with no, some and many hostile records, in one run."""
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="baton-poison-") as folder, _broker(Path(folder)) as broker:
        for number, share in enumerate(RATES):
            found = run_rate(broker, Path(folder) / str(number), seed, share, count)
            append(path, seed=seed, share=share, **found)
            faults += found["faults"]
    return faults


def _broker(folder: Path) -> Broker:
    port, controller_port = free_ports(2)
    return Broker.for_faults(folder / "kafka", ports=(port, controller_port), jars=KAFKA_JARS)


@click.command()
@click.option("--records", "wanted", default=10_000, show_default=True, help="Hostile records in all.")
@click.option("--seed", default=1, show_default=True)
@click.option("--share", default=0.5, show_default=True, help="Of hostile records in the stream; at most 0.8.")
@click.option("--chunk", default=25_000, show_default=True, help="Hostile records on one stream.")
@click.option("--rate-records", default=0, help="Instead: how fast a backlog of so many records is scored.")
@click.option("--distinct", is_flag=True, help="Count how many of each kind differ, over all that was run.")
@click.option("--results", "path", type=click.Path(path_type=Path), default=Path("bench/results/poison.jsonl"))
def main(wanted: int, seed: int, share: float, chunk: int, rate_records: int, distinct: bool, path: Path) -> None:
    """Feed a worker hostile records and judge what becomes of every one."""
    faults = rates(path, seed, rate_records) if rate_records else run(path, seed, wanted, chunk, share)
    for fault in faults:
        click.echo(f"FAULT {fault}", err=True)
    click.echo(f"{len(KINDS)} kinds\n{summary(read(path, seed), distinct=distinct)}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
