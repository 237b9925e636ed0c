"""Scoring on request, one record and 64 a request, beside MLflow's own server and MLServer; and under too much load.

Every server has one process on one core, the load generator the other, and the same model: MLflow's and MLServer's as
scikit-learn's pipeline on DataFrames. Before a server is measured its scores are held against scikit-learn's. What
cannot be installed here is left out, and told.

Too much load is three times what Baton carries, as measured right before. It is requests of 64 records for a forest of
1,000 trees, which cost the server's core far more than the generator's, and they come from three generators whose
connections keep to a pace instead of waiting for answers. What is too much has to be answered with 429 (or with 503,
where its deadline is out of reach), memory has to stay, a probe has to be answered all the while, and what is accepted
has to come within its deadline. Where the generators do not bring that load nothing is concluded, and it is told.

A round takes about five minutes, a run is gone on with by its name:

    python -m bench.serving --run 2026-12
    python -m bench.serving --only overload --rounds 1 --seconds 5 --no-record
"""

import argparse
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from bench import options as shared
from bench.environments import NotInstalled, python_of, python_that_serves
from bench.flights import NUMBERS, WORDS, Flights, prepare
from bench.ground import Ground, Running, opened, unique
from bench.load import MOST_CONNECTIONS, Answers, Question, generator, load
from bench.measurements import FOLDER, Results, medians, quantile, table
from local.ports import free_ports
from scoring.api.tokens import Scope, make_token
from scoring.contract.manifest import Topics

RECORDS = (1, 64)
CONNECTIONS = (1, 16)
OVERLOADED = "overload"
OVERLOAD = 3.0
OVERLOAD_RECORDS, OVERLOAD_TREES, GENERATORS = 64, 1_000, 3
# A generator that falls this far short of the load has not brought it.
ENOUGH = 0.9
PROBE_EVERY_S = 0.1
DEADLINE_MS = 1_000
START_TIMEOUT_S = 120.0
WARM_UP_S = 2.0
TOLERANCE = 1e-12
Record = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """A running server: how it is asked, and the scores in its answers."""

    running: Running
    question: Callable[[Sequence[Record]], Question]
    scores: Callable[[Any], list[float]]


# --- who is measured ----------------------------------------------------------------------------------------------


def baton(ground: Ground) -> Server:
    model = unique("flights")
    topics = Topics.of(model)
    ground.create_for(topics)
    ground.notify(model, 1, 1, ground.register(ground.flights.parts, model, topics, 1))
    tokens = ground.scratch / f"{model}.json"
    token = make_token(tokens, "bench", [Scope.SCORE])
    (port,) = free_ports(1)
    settings = {"api_tokens_file": tokens, "api_port": port, "api_deadline_ms": DEADLINE_MS}
    command = [str(python_that_serves()), "-m", "scoring", "api"]
    running = ground.start(command, ground.environment(model, model, **settings), model)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/models/{model}/score"
    return Server(
        running,
        lambda records: Question(url, json.dumps({"records": [*records]}).encode(), headers),
        lambda answer: [prediction["score"] for prediction in answer["predictions"]],
    )


def mlflow(ground: Ground) -> Server:
    (port,) = free_ports(1)
    python = python_of("mlflow_serve")
    command = [str(python), "-m", "mlflow", "models", "serve", "--env-manager", "local", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--model-uri", str(ground.flights.pyfunc)]
    environment = {**ground.environment("none", "none"), "PATH": f"{python.parent}:/usr/bin:/bin"}
    running = ground.start(command, environment, "mlflow-serve")
    columns = [*NUMBERS, *WORDS]

    def question(records: Sequence[Record]) -> Question:
        rows = [[record[name] for name in columns] for record in records]
        body = json.dumps({"dataframe_split": {"columns": columns, "data": rows}}).encode()
        return Question(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"})

    return Server(running, question, lambda answer: [row[1] for row in answer["predictions"]])


def mlserver(ground: Ground) -> Server:
    http, grpc, metrics = free_ports(3)
    folder = ground.scratch / unique("mlserver")
    folder.mkdir()
    ports = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    (folder / "settings.json").write_text(json.dumps({**ports, "parallel_workers": 0, "debug": False}))
    model = {"name": "flights", "implementation": "mlserver_mlflow.MLflowRuntime"}
    (folder / "model-settings.json").write_text(
        json.dumps({**model, "parameters": {"uri": str(ground.flights.pyfunc)}})
    )
    program = "from mlserver.cli import main; main()"
    command = [str(python_of("mlserver")), "-c", program, "start", str(folder)]
    running = ground.start(command, ground.environment("none", "none"), "mlserver")

    def column(name: str, records: Sequence[Record]) -> dict[str, Any]:
        number = name in NUMBERS
        kind = {"datatype": "FP64"} if number else {"datatype": "BYTES", "parameters": {"content_type": "str"}}
        values = [float(record[name]) if number else record[name] for record in records]
        return {"name": name, "shape": [len(records), 1], **kind, "data": values}

    def question(records: Sequence[Record]) -> Question:
        inputs = [column(name, records) for name in (*NUMBERS, *WORDS)]
        body = json.dumps({"parameters": {"content_type": "pd"}, "inputs": inputs}).encode()
        url = f"http://127.0.0.1:{http}/v2/models/flights/infer"
        return Question(url, body, {"Content-Type": "application/json"})

    return Server(running, question, lambda answer: answer["outputs"][0]["data"][1::2])


CONTESTANTS: dict[str, Callable[[Ground], Server]] = {"baton": baton, "mlflow-serve": mlflow, "mlserver": mlserver}


# --- measuring ----------------------------------------------------------------------------------------------------


def records_of(flights: Flights, count: int) -> list[tuple[Record, float]]:
    """Records of which no field is missing, which not every rival can be sent, and their scores."""
    found = []
    for key, value in flights.messages:
        record = json.loads(value)
        if all(record.get(name) is not None for name in (*NUMBERS, *WORDS)):
            found.append((record, flights.scores[key]))
            if len(found) == count:
                break
    return found


def ask(question: Question) -> Any:
    """The answer to one request."""
    request = urllib.request.Request(question.url, question.body, dict(question.headers))  # noqa: S310  our own address
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read())


def await_right_scores(server: Server, flights: Flights) -> None:
    """Wait until it answers, and hold what it answers against scikit-learn.

    Raises:
        RuntimeError: it does not answer, or its scores are others.
    """
    chosen = records_of(flights, max(RECORDS))
    deadline_s, why = time.monotonic() + START_TIMEOUT_S, "it never answered"
    while time.monotonic() < deadline_s and server.running.alive:
        try:
            scores = server.scores(ask(server.question([record for record, _ in chosen])))
        except (OSError, urllib.error.HTTPError) as error:
            why = str(error)
            time.sleep(0.2)
            continue
        if max(abs(score - own) for score, (_, own) in zip(scores, chosen, strict=True)) > TOLERANCE:
            raise RuntimeError("its scores are not those of the model")
        return
    raise RuntimeError(f"{why}\n{server.running.end_of_log()}")


def measure(ground: Ground, name: str, seconds: float) -> list[dict[str, Any]]:
    """Start a contestant, and measure it at every size and number of connections."""
    server = CONTESTANTS[name](ground)
    try:
        await_right_scores(server, ground.flights)
        return [
            _steady(ground, server, name, records, connections, seconds)
            for records in RECORDS
            for connections in CONNECTIONS
        ]
    finally:
        server.running.stop()


def _steady(
    ground: Ground, server: Server, name: str, records: int, connections: int, seconds: float
) -> dict[str, Any]:
    question = server.question([record for record, _ in records_of(ground.flights, records)])
    load(question, ground.scratch, connections=connections, seconds=WARM_UP_S)
    before_s = server.running.processor_s()
    found = load(question, ground.scratch, connections=connections, seconds=seconds)
    if set(found.latencies_s) != {200}:
        raise RuntimeError(f"{name} answered with {sorted(found.latencies_s)}")
    return {
        "kind": "steady",
        "contestant": name,
        "records": records,
        "connections": connections,
        "requests_per_s": round(found.rate(), 1),
        "p50_ms": found.quantile_ms(0.5),
        "p99_ms": found.quantile_ms(0.99),
        "processor_us_per_request": round((server.running.processor_s() - before_s) / found.count * 1e6, 1),
        "memory_bytes": server.running.tree_memory_bytes(),
    }


def overload(ground: Ground, seconds: float) -> dict[str, Any]:
    """Three times what it carries: what is answered with what, how soon, and what that does to the process."""
    server = baton(ground)
    try:
        await_right_scores(server, ground.flights)
        question = server.question([record for record, _ in records_of(ground.flights, OVERLOAD_RECORDS)])
        load(question, ground.scratch, connections=64, seconds=WARM_UP_S)
        carried = load(question, ground.scratch, connections=64, seconds=max(WARM_UP_S, seconds / 3)).rate(200)
        before = load(question, ground.scratch, connections=1, seconds=WARM_UP_S)
        before_bytes = server.running.memory_bytes()
        with Watching(server.running, question.url) as watching:
            found = load(
                question,
                ground.scratch,
                connections=GENERATORS * MOST_CONNECTIONS,
                seconds=seconds,
                rate=OVERLOAD * carried,
                generators=GENERATORS,
            )
        after = load(question, ground.scratch, connections=1, seconds=WARM_UP_S)
        return {
            "kind": "overload",
            "records": OVERLOAD_RECORDS,
            "trees": OVERLOAD_TREES,
            "carried_per_s": round(carried, 1),
            "offered_times": round(found.rate() / carried, 2),
            **_told(found),
            **watching.told(before_bytes),
            "alone_before_p50_ms": before.quantile_ms(0.5),
            "alone_after_p50_ms": after.quantile_ms(0.5),
            "alone_after_statuses": sorted(after.latencies_s),
        }
    finally:
        server.running.stop()


def _told(found: Answers) -> dict[str, Any]:
    others = {str(status): len(all_) for status, all_ in found.latencies_s.items() if status not in {200, 429}}
    return {
        "deadline_ms": DEADLINE_MS,
        "answered_per_s": round(found.rate(), 1),
        "accepted_per_s": round(found.rate(200), 1),
        "refused_per_s": round(found.rate(429), 1),
        "others": others,
        "accepted_p50_ms": found.quantile_ms(0.5),
        "accepted_p99_ms": found.quantile_ms(0.99),
        "refused_p99_ms": found.quantile_ms(0.99, 429),
    }


class Watching:
    """Looks at a server's memory and asks its probe while something else goes on.

    Args:
        url: any of the server's.
    """

    def __init__(self, running: Running, url: str) -> None:
        self._running = running
        self._probe = f"{url.partition('/v1')[0]}/livez"
        self._over = threading.Event()
        self._seen = [running.memory_bytes()]
        self._probed_s: list[float] = []
        self._unanswered = 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(PROBE_EVERY_S):
            self._seen.append(self._running.memory_bytes())
            began_s = time.monotonic()
            try:
                with urllib.request.urlopen(self._probe, timeout=10) as answer:  # noqa: S310  our own address
                    answer.read()
            except OSError:
                self._unanswered += 1
            else:
                self._probed_s.append(time.monotonic() - began_s)

    def told(self, before_bytes: int) -> dict[str, Any]:
        """Memory before, at its largest, and at the end; how soon the probe was answered."""
        return {
            "before_bytes": before_bytes,
            "largest_bytes": max(self._seen),
            "after_bytes": self._seen[-1],
            "probes": len(self._probed_s),
            "probes_unanswered": self._unanswered,
            "probe_p99_ms": round(quantile(self._probed_s, 0.99) * 1_000, 1) if self._probed_s else None,
        }


# --- the bench ----------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace, results: Results, flights: Flights) -> None:
    chosen = shared.chosen(options.only, [*CONTESTANTS, OVERLOADED])
    names = [name for name in chosen if name in CONTESTANTS]
    for number in range(options.rounds):
        shuffled = random.Random(f"{options.seed} {number}").sample(names, len(names))
        for name in shuffled:
            if results.has(kind="steady", contestant=name, round=number):
                continue
            try:
                with opened(flights) as ground:
                    for line in measure(ground, name, options.seconds):
                        results.add(round=number, **line)
            except NotInstalled as error:
                print(f"{name} is left out: {error}", flush=True)
        if OVERLOADED in chosen and not results.has(kind="overload", round=number):
            with opened(prepare(FOLDER / "flights", options.seed, OVERLOAD_TREES)) as ground:
                results.add(round=number, **overload(ground, 2 * options.seconds))


def summary(results: Results) -> str:
    rows = []
    for records in RECORDS:
        for connections in CONNECTIONS:
            lines = results.of(kind="steady", records=records, connections=connections)
            found = {value: medians(lines, "contestant", value) for value in ("requests_per_s", "p50_ms", "p99_ms")}
            rows += [
                (name, records, connections, f"{rate:,.0f}", found["p50_ms"][name], found["p99_ms"][name])
                for name, rate in found["requests_per_s"].items()
            ]
    steady = table(("server", "records", "connections", "requests/s", "p50 ms", "p99 ms"), rows)
    return "\n\n".join([steady, *map(_overloaded, results.of(kind="overload"))])


def _overloaded(line: dict[str, Any]) -> str:
    told = [
        f"{line['offered_times']} times what it carries, {line['carried_per_s']:,.0f} requests/s",
        f"each of {line['records']} records, scored by {line['trees']:,} trees",
        f"{line['accepted_per_s']:,.0f}/s accepted, p99 {line['accepted_p99_ms']} of {line['deadline_ms']} ms allowed",
        f"{line['refused_per_s']:,.0f}/s answered 429, p99 {line['refused_p99_ms']} ms",
        f"answered otherwise: {line['others'] or 'none'}",
        f"memory {line['before_bytes'] / 1e6:.0f} MB before, {line['largest_bytes'] / 1e6:.0f} MB at the most",
        f"{line['probes']} probes answered, p99 {line['probe_p99_ms']} ms, {line['probes_unanswered']} not",
        f"alone {line['alone_before_p50_ms']} ms before and {line['alone_after_p50_ms']} ms after",
    ]
    if line["offered_times"] < ENOUGH * OVERLOAD:
        told.insert(0, "TOO LITTLE LOAD, nothing follows from this")
    return "\n  ".join(told)


def main() -> None:
    shared.settle()
    parser = shared.parser("serving", __doc__ or "", rounds=3)
    parser.add_argument("--only", help=f"comma-separated contestants, and {OVERLOADED}")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (default 10)")
    options = parser.parse_args()
    if options.short:
        options.rounds, options.seconds, options.only = 1, 2.0, options.only or f"baton,{OVERLOADED}"
    results = shared.results_of(options)
    if not options.summary:
        try:
            generator()
        except NotInstalled as error:
            print(f"serving is left out: {error}")
            return
        run(options, results, prepare(FOLDER / "flights", options.seed))
    print(summary(results))


if __name__ == "__main__":
    main()
