"""Scoring the past: records/s of a backfill beside what one would write without it, from and to Parquet files.

All read one file of flights (23 features, as everywhere in ``bench``), score each record with the same trees, and write
one row for each into another file. Not counted in records/s: loading the model, and starting Python and its libraries,
but for the second process of a backfill, which is started within the measured time: it costs a second or two of a core
once, so that two processes are the nearer to twice as fast the more years there are. Processor time counts all of the
processes, what MLflow and a backfill load of the model included. Memory is the most that was resident of the first
process at any time: that of 5 years and of 30 tells whether it is bounded.

* ``baton``, and ``baton-2`` on two processes: chunks of 84 days, each a durable file, with lineage and reasons
* ``baton-table``, ``baton-table-2``: the same into a table of SQLite
* ``pyfunc-loop``: ``mlflow.pyfunc`` on DataFrames of 1,000 rows, one after the other
* ``spark-udf-style``: what ``mlflow.pyfunc.spark_udf`` does in each partition: Arrow batches of 10,000 rows become
  DataFrames, are predicted, and become Arrow again

    python -m bench.backfill                            6 contestants, 3 rounds: some 10 minutes on two idle cores
    python -m bench.backfill --run tonight --years 30   again with the same --run: goes on where it was interrupted
    python -m bench.backfill --only baton --years 5 --rounds 1 --no-record
"""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bench import flights as data
from bench.flights import EVENT_TIME, KEY, NUMBERS, WORDS, Flights
from bench.measurements import FOLDER, PROJECT, Line, medians, table
from bench.options import chosen, parser, results_of, settle
from scoring.backfill.asked import asked_for
from scoring.backfill.chunks import Job, Place
from scoring.backfill.lookahead import Span
from scoring.backfill.plan import Plan, fitting_s
from scoring.backfill.run import run
from scoring.contract.manifest import GOLDEN_FILE, MODEL_FILE, Snapshot
from scoring.contract.source import Files, Source
from scoring.scorer.bundle import write_bundle

MODEL = "flights"
START = datetime(2013, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
SHORT_YEARS, YEARS = 1, 30
LOOP_ROWS, ARROW_ROWS = 1_000, 10_000
CHECKED = 500
_WORK, _SOURCE = "work", "source"


def write_source(flights: Flights, path: Path, years: int) -> int:
    """The flights once for each year; returns how many records there are."""
    records = [msgspec.json.decode(value) for _, value in flights.messages]
    frame = pd.DataFrame.from_records(records, columns=[KEY, EVENT_TIME, *NUMBERS, *WORDS])
    frame = frame.astype(dict.fromkeys(NUMBERS, "float64"))
    frame[EVENT_TIME] = pd.to_datetime(frame[EVENT_TIME], utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    frame = frame.sort_values(EVENT_TIME, kind="stable")
    schema = pa.Table.from_pandas(frame, preserve_index=False).schema
    with pq.ParquetWriter(path, schema) as writer:
        for year in range(years):
            moved = frame.assign(**{EVENT_TIME: frame[EVENT_TIME] + year * YEAR})
            writer.write_table(pa.Table.from_pandas(moved, schema, preserve_index=False), row_group_size=20_000)
    return years * len(frame)


def write_job(flights: Flights, folder: Path, years: int, *, kept_in: str) -> Job:
    """The bundle that reads the file, and a plan without a ledger."""
    fields = [field.name for field in flights.parts.manifest.schema.fields]
    source = Source(
        connection="",
        table="",
        columns=tuple((name, name) for name in fields),
        origin=Files(url=str(folder / "source.parquet")),
    )
    end = START + years * YEAR
    trained = Snapshot(
        sha256="0" * 64, start=START, end=START, holdout_start=START, training_rows=1, holdout_rows=1, known_by=START
    )
    manifest = msgspec.structs.replace(
        flights.parts.manifest, model=MODEL, sources=(source,), snapshot=trained, pass_through=(KEY,)
    )
    digest = write_bundle(
        folder / "bundle", manifest, {MODEL_FILE: flights.parts.graph, GOLDEN_FILE: flights.parts.golden}
    )
    span = Span(start=START, end=end, version="1", sequence=1, manifest_digest=digest, lookahead=False)
    url = f"sqlite:///{folder / 'predictions.db'}" if kept_in == "table" else None
    place = Place(model=MODEL, name="bench", url=url, folder=None if url else str(folder / "out"))
    chunk_s = fitting_s(years * data.RECORDS, (end - START).total_seconds())
    plan = Plan(asked=asked_for(MODEL, START, end), spans=(span,), chunk_s=chunk_s)
    return Job(plan=plan, place=place, bundles={"1": str(folder / "bundle")}, connections={}, run="bench")


def backfilled(flights: Flights, folder: Path, years: int, *, processes: int, kept_in: str) -> float:
    """Seconds that a backfill takes."""
    job = write_job(flights, folder, years, kept_in=kept_in)
    store = job.place.open()
    with store.lock():
        store.begin(job.plan, "bench", job.run)
        began_s = time.perf_counter()
        run(job, store, processes, lambda _number, _kept: None)
        return time.perf_counter() - began_s


def predicted(flights: Flights, folder: Path, _years: int, *, rows: int) -> float:
    """Seconds that batches through ``mlflow.pyfunc`` take, from the file to another one."""
    import mlflow.pyfunc  # noqa: PLC0415  it takes seconds, and only this needs it

    model = mlflow.pyfunc.load_model(str(flights.pyfunc))
    (folder / "out").mkdir()
    began_s = time.perf_counter()
    writer: pq.ParquetWriter | None = None
    for batch in pq.ParquetFile(folder / "source.parquet").iter_batches(batch_size=rows):
        frame = batch.to_pandas()
        scores = model.predict(frame[[*NUMBERS, *WORDS]])[:, 1]
        found = pa.table({"record_key": frame[KEY], "event_time": frame[EVENT_TIME], "score": scores})
        writer = writer or pq.ParquetWriter(folder / "out" / "part-0.parquet", found.schema)
        writer.write_table(found)
    if writer is not None:
        writer.close()
    return time.perf_counter() - began_s


CONTESTANTS: dict[str, Callable[[Flights, Path, int], float]] = {
    "baton": lambda *of: backfilled(*of, processes=1, kept_in="files"),
    "baton-2": lambda *of: backfilled(*of, processes=2, kept_in="files"),
    "baton-table": lambda *of: backfilled(*of, processes=1, kept_in="table"),
    "baton-table-2": lambda *of: backfilled(*of, processes=2, kept_in="table"),
    "pyfunc-loop": lambda *of: predicted(*of, rows=LOOP_ROWS),
    "spark-udf-style": lambda *of: predicted(*of, rows=ARROW_ROWS),
}


def check(flights: Flights, folder: Path) -> int:
    """Hold some of the scores that were written against scikit-learn's; returns how many."""
    if not (folder / "out").exists():
        return 0
    found = pq.read_table(folder / "out", columns=["record_key", "score"]).to_pylist()
    sample = random.Random(1).sample(found, min(CHECKED, len(found)))
    wrong = [row for row in sample if row["score"] != flights.scores[row["record_key"].encode()]]
    if wrong or not sample:
        raise SystemExit(f"bench: {len(wrong)} of {len(sample)} scores are wrong, such as {wrong[:1]}")
    return len(sample)


def work(name: str, seed: int, years: int) -> Line:
    """Measure one contestant, in this process."""
    flights = data.prepare(FOLDER / "flights", seed)
    folder = Path(tempfile.mkdtemp(prefix="baton-bench-backfill-"))
    try:
        records = _write_apart(folder / "source.parquet", seed, years)
        before_s = _processor_s()
        seconds = CONTESTANTS[name](flights, folder, years)
        processor_us = 1e6 * (_processor_s() - before_s) / records
        peak_mb = _peak_mb()
        checked = check(flights, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rates = {"records_per_s": records / seconds, "processor_us_per_record": processor_us, "peak_mb": peak_mb}
    return {"contestant": name, "records": records, **rates, "scores_checked": checked}


def _write_apart(path: Path, seed: int, years: int) -> int:
    """Write the source in a process of its own, whose memory is not the contestant's; returns how many records."""
    command = [sys.executable, "-m", "bench.backfill", _SOURCE, str(path), str(seed), str(years)]
    written = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    return int(written.stdout.strip().splitlines()[-1])


def _peak_mb() -> float:
    """The most that was resident of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _processor_s() -> float:
    """Processor time of this process and of those that it started, which have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def measure(name: str, seed: int, years: int) -> Line:
    """Measure one contestant, in a process of its own."""
    command = [sys.executable, "-m", "bench.backfill", _WORK, name, str(seed), str(years)]
    ran = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    found: Line = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def summary(lines: list[Line]) -> str:
    """The medians, and how they compare."""
    rates, processor, peak = (
        medians(lines, "contestant", value) for value in ("records_per_s", "processor_us_per_record", "peak_mb")
    )
    base = rates.get("pyfunc-loop", np.nan)
    rows = [
        (name, f"{rates[name]:,.0f}", f"{rates[name] / base:.2f}", f"{processor[name]:.1f}", f"{peak[name]:.0f}")
        for name in CONTESTANTS
        if name in rates
    ]
    return table(("contestant", "records/s", "of pyfunc-loop", "processor µs/record", "peak MB"), rows)


def _turns(names: list[str], rounds: int, seed: int) -> Iterator[tuple[int, str]]:
    """All contestants in each round, in an order that the seed decides."""
    chooser = random.Random(seed)
    for number in range(rounds):
        yield from ((number, name) for name in chooser.sample(names, len(names)))


def main(arguments: list[Any]) -> None:
    settle()
    if arguments[:1] == [_SOURCE]:
        print(write_source(data.prepare(FOLDER / "flights", int(arguments[2])), Path(arguments[1]), int(arguments[3])))
        return
    if arguments[:1] == [_WORK]:
        print(json.dumps(work(arguments[1], int(arguments[2]), int(arguments[3]))))
        return
    options = parser("backfill", __doc__ or "", rounds=3)
    options.add_argument("--years", type=int, default=YEARS, help="how often the 60,000 flights are there")
    options.add_argument("--only", help="comma-separated contestants")
    asked = options.parse_args(arguments)
    names = chosen(asked.only, [*CONTESTANTS])
    years, rounds = (SHORT_YEARS, 1) if asked.short else (asked.years, asked.rounds)
    results = results_of(asked)
    for number, name in _turns(names, 0 if asked.summary else rounds, asked.seed):
        if not results.has(round=number, contestant=name, years=years):
            line = results.add(round=number, years=years, **measure(name, asked.seed, years))
            print(f"{number}: {name}: {line['records_per_s']:,.0f} records/s", flush=True)
    print(summary(list(results.lines)))


if __name__ == "__main__":
    main(sys.argv[1:])
