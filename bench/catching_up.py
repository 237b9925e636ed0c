"""How fast a sink catches up after an outage, beside a plain COPY of the same rows.

sink      a sink starts on a backlog of predictions and dead letters (from a quarter of it to its end)
plain     the rows that it wrote, written again into fresh tables with the same indexes, as fast as the database's own
          way allows: on PostgreSQL one COPY per table, on SQLite one executemany; no offsets, no latest prediction

PostgreSQL waits for its disk, as in production. Broker, database and sink share the machine.

python -m bench.catching_up --records 200000 --no-record
"""

# ruff: noqa: S608 - the tables are our own

import io
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from bench import options as shared
from bench.measurements import Results, table
from local.kafka.broker import Broker
from local.ports import free_ports
from scoring.database.migrations import migrate
from scoring.predictions.database import MIGRATIONS, open_database
from tests.support.arena import end_offsets
from tests.support.broker import KAFKA_JARS
from tests.support.postgres import PostgresServer, create_database
from tests.support.predicted_stream import PredictedStream

RECORDS, SHORT_RECORDS = 500_000, 20_000
TABLES = ("predictions", "dead_letters", "unreadable_records")
DATABASES = ("postgresql", "sqlite")
PATIENCE_S = 900.0


def fresh(url: str) -> str:
    """Make the tables; returns the URL."""
    database = open_database(url)
    migrate(database, MIGRATIONS)
    database.engine.dispose()
    return url


def url_of(kind: str, server: PostgresServer, folder: Path) -> str:
    """Fresh tables of that kind."""
    name = f"{time.monotonic_ns()}.db"
    return fresh(create_database(server.folder) if kind == "postgresql" else f"sqlite:///{folder / name}")


def connect(url: str) -> Any:
    """A connection of the database's own driver."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return sqlite3.connect(parsed.database or "", timeout=30)
    return psycopg.connect(parsed.set(drivername="postgresql").render_as_string(hide_password=False))


def sink(stream: PredictedStream, url: str, folder: Path) -> dict[str, float]:
    """Records a second of a sink that catches up, and what it took for itself."""
    records = sum(stream.committed.values())
    # Without the last transaction's marker, which is stepped over only after a second.
    ends = sum(sum(max(0, end - 1) for end in end_offsets(stream.bootstrap, name)) for name in stream.committed)
    environment = {
        **os.environ,
        "BATON_KAFKA_BOOTSTRAP": stream.bootstrap,
        "BATON_PREDICTIONS_URL": url,
        "BATON_MODELS": stream.model,
        "BATON_SINK_METRICS_PORT": "0",
    }
    with (folder / "sink.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "scoring", "sink"], env=environment, stdout=log, stderr=log)
    try:
        with closing(connect(url)) as connection:
            first, first_s = _wait(connection, ends // 4)
            last, last_s = _wait(connection, ends)
        peak_kbytes = _status(process.pid, "VmHWM")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    share = (last - first) / ends  # the rest of the offsets are markers of transactions
    return {"records_per_s": share * records / (last_s - first_s), "peak_mb": peak_kbytes / 1024}


def _wait(connection: Any, offsets: int) -> tuple[int, float]:
    """How far the tables are, and the moment, when they are that far."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        (found,) = connection.execute("select coalesce(sum(next_offset), 0) from sink_offsets").fetchone()
        now_s = time.monotonic()
        connection.rollback()
        if found >= offsets:
            return int(found), now_s
        if now_s > deadline:
            raise RuntimeError(f"the tables are only at {found} of {offsets}")
        time.sleep(0.05)


def _status(pid: int, name: str) -> int:
    (line,) = (x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith(f"{name}:"))
    return int(line.split()[1])


def plain(source: str, url: str) -> dict[str, float]:
    """Rows a second of the database's own way to write the rows of ``source``."""
    with closing(connect(source)) as old, closing(connect(url)) as new:
        if isinstance(old, sqlite3.Connection):
            return _executemany(old, new)
        return _copy(old, new)


def _copy(old: Any, new: Any) -> dict[str, float]:
    rows, took_s = 0, 0.0
    for name in TABLES:
        content = io.BytesIO()
        with old.cursor() as cursor, cursor.copy(f"copy {name} to stdout") as copy:
            for part in copy:
                content.write(part)
        began_s = time.monotonic()
        with new.cursor() as cursor:
            with cursor.copy(f"copy {name} from stdin") as copy:
                copy.write(content.getbuffer())
            rows += cursor.rowcount
        new.commit()
        took_s += time.monotonic() - began_s
    return {"records_per_s": rows / took_s}


def _executemany(old: sqlite3.Connection, new: sqlite3.Connection) -> dict[str, float]:
    rows, took_s = 0, 0.0
    new.execute("pragma synchronous = full")
    for name in TABLES:
        found = old.execute(f"select * from {name}").fetchall()
        marks = ", ".join("?" * len(found[0])) if found else "null"
        began_s = time.monotonic()
        new.executemany(f"insert into {name} values ({marks})", found)
        new.commit()
        took_s += time.monotonic() - began_s
        rows += len(found)
    return {"records_per_s": rows / took_s}


@contextmanager
def ground(records: int, seed: int) -> Iterator[tuple[PredictedStream, PostgresServer, Path]]:
    """A backlog on a broker, and a server."""
    folder = Path(tempfile.mkdtemp(prefix="baton-bench-"))
    socket = Path(tempfile.mkdtemp(prefix="baton-postgres-"))
    port, controller = free_ports(2)
    try:
        server = PostgresServer(socket, fsync=True)
        with Broker.for_faults(folder / "kafka", ports=(port, controller), jars=KAFKA_JARS) as broker:
            server.start()
            try:
                stream = PredictedStream(broker.bootstrap, seed, aborting=False)
                stream.feed(records)
                yield stream, server, folder
            finally:
                server.stop()
    finally:
        for made in (folder, socket):
            shutil.rmtree(made, ignore_errors=True)


def tell(results: Results) -> None:
    """Medians, and the sink's share of the plain way."""
    rows = []
    for kind in DATABASES:
        own = {way: [x["records_per_s"] for x in results.of(database=kind, way=way)] for way in ("sink", "plain")}
        if not all(own.values()):
            continue
        sunk, copied = (statistics.median(values) for values in own.values())
        peak = max(line["peak_mb"] for line in results.of(database=kind, way="sink"))
        rows.append([kind, len(own["sink"]), f"{sunk:,.0f}", f"{copied:,.0f}", f"{sunk / copied:.2f}", f"{peak:.0f}"])
    print(table(["database", "rounds", "sink, records/s", "plain, rows/s", "sink / plain", "sink's peak, MB"], rows))


def main() -> None:
    parser = shared.parser("catching_up", __doc__ or "", rounds=5)
    parser.add_argument("--records", type=int, default=RECORDS, help=f"the backlog (default {RECORDS})")
    options = parser.parse_args()
    results = shared.results_of(options)
    if not options.summary:
        records = SHORT_RECORDS if options.short else options.records
        with ground(records, options.seed) as (stream, server, folder):
            for number in range(1 if options.short else options.rounds):
                for kind in DATABASES:
                    if results.has(database=kind, round=number, way="plain"):
                        continue
                    url = url_of(kind, server, folder)
                    identity = {"database": kind, "round": number, "records": sum(stream.committed.values())}
                    results.add(**identity, way="sink", **sink(stream, url, folder))
                    results.add(**identity, way="plain", **plain(url, url_of(kind, server, folder)))
                    tell(results)
    tell(results)


if __name__ == "__main__":
    main()
